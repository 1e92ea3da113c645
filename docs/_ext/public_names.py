"""Stop the build if a public module of the package is in no reference page."""

from __future__ import annotations

import pkgutil
import re
from pathlib import Path

from sphinx.util import logging

import specz_cnn

log = logging.getLogger(__name__)

# The modules behind the command line, and those whose names a package above offers.
_INTERNAL = re.compile(
    r"specz_cnn\.(commands|cli|config|version|example|results|redshift|typing|on_import|parallel|progress|__main__)\b"
    r"|specz_cnn\.(io|sdss|survey|report|simulate|evaluate|models)\.\w+"
)


def check(app, env):
    """Compare the modules with the automodapi directives of all pages."""
    text = "\n".join(path.read_text() for path in Path(app.srcdir).glob("*.rst"))
    documented = set(re.findall(r"^\.\. automodapi:: (\S+)", text, re.MULTILINE))
    found = {info.name for info in pkgutil.walk_packages(specz_cnn.__path__, "specz_cnn.")} | {"specz_cnn"}
    for name in sorted(found - documented):
        if not _INTERNAL.match(name) and name != "specz_cnn.training":
            log.warning("module %s is in no reference page", name)
    for name in documented:
        if text.count(f".. automodapi:: {name}\n") > 1:
            log.warning("module %s is in the reference twice", name)


def setup(app):
    """Register the check."""
    app.connect("env-check-consistency", check)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
