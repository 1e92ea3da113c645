"""What several commands are tried on."""

from __future__ import annotations

from made_up_survey import survey
from sdss_archive import archive_files, nowhere, sdss, spec_rows
from small_survey import files, networks, tree

__all__ = ["archive_files", "files", "networks", "nowhere", "sdss", "spec_rows", "survey", "tree"]
