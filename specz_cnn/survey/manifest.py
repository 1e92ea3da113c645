"""What a survey is: its settings and the list of its spectra, kept in the output directory beside the parts.

The list is written once.  A later run that continues works from it, and so does the same, whatever has happened to the
directories of spectra since.  Names begin with an underscore or a dot, which readers of Parquet datasets pass over.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path

from specz_cnn.io.whole import write_whole
from specz_cnn.survey.inputs import iter_paths, write_paths

__all__ = ["Manifest", "SurveyError", "open_manifest", "read_manifest"]

_SCHEMA = 1
_MANIFEST, _INPUTS = "_survey.json", "_inputs.txt"


class SurveyError(RuntimeError):
    """A survey that cannot be run, or not be continued; the message says why."""


@dataclass(frozen=True)
class Manifest:
    """A survey.

    Parameters
    ----------
    directory : `~pathlib.Path`
        The output.
    settings : dict
        Everything that the results depend on but the spectra: models with checksums, version, sizes, format.
    n_spectra : int
    inputs_sha256 : str
        SHA-256 of the list of spectra.
    """

    directory: Path
    settings: dict
    n_spectra: int
    inputs_sha256: str

    @property
    def inputs(self):
        """The file that lists the spectra."""
        return self.directory / _INPUTS

    @property
    def n_parts(self):
        """Number of parts when all is done."""
        return -(-self.n_spectra // self.settings["rows_per_part"])

    def rows_of(self, part):
        """Number of rows of a part."""
        size = self.settings["rows_per_part"]
        return min(size, self.n_spectra - part * size)


def open_manifest(directory, sources, settings, *, resume):
    """Begin a survey, or find out what an earlier run began.

    Parameters
    ----------
    directory : path-like
        The output; must exist.
    sources : path-like, iterable of path-like, or None
        See `fit_survey`.  None is only for continuing.
    settings : dict
        Values that JSON knows.
    resume : bool
        Whether to continue what is there.  If nothing is there, a survey begins all the same, so that a batch script
        can always say resume.

    Returns
    -------
    Manifest

    Raises
    ------
    SurveyError
        If there is a survey and ``resume`` is false, or it has other settings or spectra, or there are no spectra.
    """
    directory = Path(directory)
    path = directory / _MANIFEST
    if path.exists():
        if not resume:
            raise SurveyError(f"{directory} holds a survey already: resume it, or write elsewhere")
        manifest = read_manifest(directory)
        _check_settings(manifest, settings)
        _check_inputs(manifest, sources)
        return manifest
    if next(directory.glob("part-*"), None) is not None:
        raise SurveyError(f"{directory} holds parts of something else: write elsewhere")
    if sources is None:
        raise SurveyError(f"{directory} holds no survey to resume, and no spectra are given")
    inputs = directory / _INPUTS
    n, sha256 = _list_inputs(sources, inputs)
    if n == 0:
        inputs.unlink()
        raise SurveyError("no spectra are given")
    manifest = Manifest(directory, settings, n, sha256)
    _write(path, manifest)
    return manifest


def _list_inputs(sources, path):
    if isinstance(sources, str | os.PathLike | list | tuple):
        sources = iter_paths(sources)
    with write_whole(path) as part:
        return write_paths(sources, part)


def _write(path, manifest):
    text = json.dumps(
        {
            "schema": _SCHEMA,
            "settings": manifest.settings,
            "n_spectra": manifest.n_spectra,
            "inputs_sha256": manifest.inputs_sha256,
        },
        indent=2,
    )
    with write_whole(path) as part:
        part.write_text(text + "\n", encoding="utf-8")


def read_manifest(directory):
    """The manifest in a directory.

    Raises
    ------
    SurveyError
        If there is none, or it is damaged.
    """
    path = Path(directory) / _MANIFEST
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        if values["schema"] != _SCHEMA:
            raise SurveyError(f"{path} has schema {values['schema']!r}, not {_SCHEMA}")
        return Manifest(path.parent, values["settings"], values["n_spectra"], values["inputs_sha256"])
    except FileNotFoundError:
        raise SurveyError(f"{directory} holds no survey") from None
    except (ValueError, KeyError, TypeError) as error:
        raise SurveyError(f"{path} is damaged ({error})") from None


def _check_settings(manifest, settings):
    """Refuse to continue with anything that would make the later rows differ from the earlier ones."""
    names = sorted({*manifest.settings, *settings})
    changed = [
        f"{name} was {manifest.settings.get(name)!r}, now {settings.get(name)!r}"
        for name in names
        if manifest.settings.get(name) != settings.get(name)
    ]
    if changed:
        raise SurveyError(
            f"{manifest.directory} was begun with other settings: {'; '.join(changed)}. "
            "Resume with the old ones, or write elsewhere."
        )


def _check_inputs(manifest, sources):
    try:
        with open(manifest.inputs, "rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        found = None
    if found != manifest.inputs_sha256:
        raise SurveyError(f"{manifest.inputs}, the list of spectra, is missing or was changed")
    if sources is None:
        return
    listed = manifest.directory / f".{_INPUTS}.given"
    try:
        n, sha256 = _list_inputs(sources, listed)
    finally:
        listed.unlink(missing_ok=True)
    if sha256 != manifest.inputs_sha256:
        raise SurveyError(
            f"{manifest.directory} was begun with another list of spectra ({manifest.n_spectra}, now {n}); "
            "to continue with that list, give none"
        )
