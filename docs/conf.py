"""Sphinx configuration: what astropy's affiliated packages share, and what is ours."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import matplotlib
from sphinx_astropy.conf.v3 import *
from sphinx_astropy.conf.v3 import extensions, intersphinx_mapping, numpydoc_xref_ignore

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

import specz_cnn

matplotlib.use("agg")

project = "specz-cnn"
author = "The specz-cnn developers"
project_copyright = f"2026, {author}"
release = version = specz_cnn.__version__

html_title = f"specz-cnn {release}"
html_static_path = ["_static"]
html_css_files = ["specz-cnn.css"]
templates_path = ["_templates"]

# The plain theme below that of astropy.org, without its menus and its counter of visitors: pages fetch nothing.
html_theme = "pydata_sphinx_theme"
html_theme_options = {
    "logo": {"text": "specz-cnn"},
    "navbar_center": [],
    "navbar_end": ["theme-switcher"],
    "navbar_persistent": ["search-button-field"],
    "footer_start": ["copyright"],
    "footer_end": [],
    "show_prev_next": True,
    "secondary_sidebar_items": ["page-toc"],
}
html_sidebars = {"**": ["site-contents.html"]}
html_show_sourcelink = False

# Formulae become MathML, which browsers draw without fetching a script; drawings of classes need graphviz.
extensions = [e for e in extensions if e not in ("sphinx.ext.mathjax", "sphinx.ext.inheritance_diagram")]
extensions += ["matplotlib.sphinxext.plot_directive", "mathml", "model_card", "flag_list", "public_names"]
html_math_renderer = "mathml"

# Without network the documentation is built without links to that of other packages.
if not os.environ.get("SPECZ_CNN_DOCS_INTERSPHINX"):
    intersphinx_mapping.clear()

# Classes are documented on their own pages by automodapi.
numpydoc_show_class_members = False
numpydoc_xref_ignore |= {"path-like", "shape", "units"}
autosummary_generate = True
toc_object_entries_show_parents = "hide"
autodoc_typehints = "none"

plot_formats = [("png", 150)]  # pictures of spectra as SVG would have a megabyte each
plot_html_show_formats = False
plot_html_show_source_link = False
plot_rcparams = {"font.size": 10}
plot_apply_rcparams = True
