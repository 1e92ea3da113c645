"""The archive is a loopback server."""

from __future__ import annotations

from sdss_archive import archive_files, nowhere, sdss, spec_rows

__all__ = ["archive_files", "nowhere", "sdss", "spec_rows"]
