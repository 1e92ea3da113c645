"""Redshifts of quasar spectra with convolutional neural networks.

Importing the package registers the "SDSS spec-lite" loader with specutils, as soon as specutils itself is imported.
Everything else, the networks (torch), access to SDSS (astroquery), figures (matplotlib), is imported when it is first used.
"""

from __future__ import annotations

import logging
from importlib import import_module
from typing import TYPE_CHECKING

from specz_cnn.on_import import when_imported
from specz_cnn.version import __version__

if TYPE_CHECKING:
    from specz_cnn import (
        evaluate,
        io,
        models,
        report,
        sdss,
        simulate,
        survey,
        training,
    )
    from specz_cnn.config import conf
    from specz_cnn.example import example_path
    from specz_cnn.io import SpecLiteError, SpectrumArrays, read_arrays, read_spec_lite, write_spec_lite
    from specz_cnn.io.grid import ModelGrid
    from specz_cnn.models import list_models, load_model
    from specz_cnn.redshift import fit_redshift_cnn, fit_redshifts_cnn
    from specz_cnn.results import RedshiftResult, plotting
    from specz_cnn.results.flags import RedshiftFlag, decode_flags

# Public name: the module that defines it, imported at first use.
_LAZY = {
    "ModelGrid": "io.grid",
    "RedshiftFlag": "results.flags",
    "RedshiftResult": "results.result",
    "SpecLiteError": "io.layout",
    "SpectrumArrays": "io.arrays",
    "conf": "config",
    "decode_flags": "results.flags",
    "example_path": "example",
    "fit_redshift_cnn": "redshift.fit",
    "fit_redshifts_cnn": "redshift.fit",
    "list_models": "models",
    "load_model": "models",
    "read_arrays": "io.bulk",
    "read_spec_lite": "io.spec_lite",
    "write_spec_lite": "io.writer",
}
_SUBPACKAGES = (
    "evaluate",
    "io",
    "models",
    "plotting",
    "report",
    "sdss",
    "simulate",
    "survey",
    "training",
)

_MOVED = {"plotting": "results.plotting"}  # the name it has always had

__all__ = [
    "ModelGrid",
    "RedshiftFlag",
    "RedshiftResult",
    "SpecLiteError",
    "SpectrumArrays",
    "__version__",
    "conf",
    "decode_flags",
    "evaluate",
    "example_path",
    "fit_redshift_cnn",
    "fit_redshifts_cnn",
    "io",
    "list_models",
    "load_model",
    "models",
    "plotting",
    "read_arrays",
    "read_spec_lite",
    "report",
    "sdss",
    "simulate",
    "survey",
    "training",
    "write_spec_lite",
]


if not TYPE_CHECKING:  # or every name would be one

    def __getattr__(name):
        if name in _LAZY:
            value = getattr(import_module(f"{__name__}.{_LAZY[name]}"), name)
            globals()[name] = value
            return value
        if name in _SUBPACKAGES:
            return import_module(f"{__name__}.{_MOVED.get(name, name)}")
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__():
    return sorted({*globals(), *__all__})


# The loader and the writer "SDSS spec-lite". Importing specutils takes seconds, which commands that read nothing shall not cost.
when_imported(
    "specutils",
    [f"specz_cnn.io.{name}" for name in ("spec_lite", "formats.registration", "writer")],
)

# A program that does not care about our messages does not see them (the advice to libraries in the documentation of logging).
logging.getLogger(__name__).addHandler(logging.NullHandler())
