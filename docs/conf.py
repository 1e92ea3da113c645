"""Sphinx configuration: what astropy's affiliated packages share, and what is ours."""

from __future__ import annotations

import os

from sphinx_astropy.conf.v3 import *  # noqa: F403

import specz_cnn

project = "specz-cnn"
author = "The specz-cnn developers"
project_copyright = f"2026, {author}"
release = version = specz_cnn.__version__

html_title = f"specz-cnn {release}"
html_static_path = []
exclude_patterns = ["_build"]

# Without network the documentation is built without links to that of other packages.
if not os.environ.get("SPECZ_CNN_DOCS_INTERSPHINX"):
    intersphinx_mapping = {}

# Classes are documented on their own pages by automodapi.
numpydoc_show_class_members = False
autosummary_generate = True
