"""The public originals of the full bank: where each file of ``--data`` comes from, and how it is made.

``originals.json`` lists the address of each file at a fixed version, its size, its SHA-256 and its licence.  Files are fetched
whole or not at all, checked, and copied or converted to what `specz_cnn.simulate.templates.load_templates` reads; what is
there already is left alone.  None of the files is part of this package.
"""

from __future__ import annotations

import hashlib
import json
import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from astropy.io import fits

from specz_cnn.io.whole import write_whole

__all__ = [
    "CONVERTERS",
    "Original",
    "checked",
    "install_originals",
    "noise_spectra",
    "originals",
    "write_noise_file",
]

log = logging.getLogger(__name__)

_NOISE = {"loglam0": 3.54, "dloglam": 1e-4, "n_pixels": 4900}


@dataclass(frozen=True)
class Original:
    """A file of somebody else.

    Parameters
    ----------
    source : str
        The collection it belongs to.
    url : str
        Where it is, at a fixed version.
    path : str
        What becomes of it, below the directory of the bank.
    n_bytes : int
    sha256 : str
        Of the original.
    converter : str
        Name in ``CONVERTERS``; empty for a file that stays as it is.
    licence, citation : str
    """

    source: str
    url: str
    path: str
    n_bytes: int
    sha256: str
    converter: str = ""
    licence: str = ""
    citation: str = ""


def originals(*, base=None):
    """All files of the full bank but the noise file.

    Parameters
    ----------
    base : str, optional
        A mirror: takes the place of the scheme and host of every address.

    Returns
    -------
    list of Original
    """
    found = []
    for source in _document()["sources"]:
        address = source["address"]
        if base is not None:
            address = base.rstrip("/") + "/" + address.split("://", 1)[1].split("/", 1)[1]
        for file in source["files"]:
            found.append(
                Original(
                    source=source["name"],
                    url=f"{address}/{file['name']}",
                    path=file["path"],
                    n_bytes=file["n_bytes"],
                    sha256=file["sha256"],
                    converter=file.get("converter", ""),
                    licence=source["licence"],
                    citation=source["citation"],
                )
            )
    return found


def noise_spectra():
    """Names of SDSS spectra that the noise of the full bank is taken from; none of the validation half is among them."""
    return list(_document()["noise"])


def _document():
    return json.loads(Path(__file__).with_name("originals.json").read_text())


def install_originals(directory, fetch, *, files=None, progress=None):
    """Put the files of the bank into a directory.

    Parameters
    ----------
    directory : path-like
    fetch : callable
        From a URL to its content; raises `OSError` or `ValueError` if there is none.
    files : list of Original, optional
        All of them if not given.
    progress : callable, optional
        Called with each file and what became of it: ``"present"``, ``"ok"`` or the reason of its failure.

    Returns
    -------
    list of (Original, str)
        What became of each.
    """
    directory, status = Path(directory), []
    manifest = directory / "originals-installed.json"
    known = json.loads(manifest.read_text()) if manifest.exists() else {}
    for original in originals() if files is None else files:
        path = directory / original.path
        if _is_installed(path, original, known):
            outcome = "present"
        else:
            try:
                content = checked(fetch(original.url), original)
                converted = CONVERTERS[original.converter](content) if original.converter else content
            except (OSError, ValueError) as error:
                outcome = str(error)
                log.warning("%s: %s", original.url, error)
            else:
                path.parent.mkdir(parents=True, exist_ok=True)
                with write_whole(path) as part:
                    part.write_bytes(converted)
                known[original.path] = {
                    "original": original.sha256,
                    "file": hashlib.sha256(converted).hexdigest(),
                    "url": original.url,
                }
                with write_whole(manifest) as part:
                    part.write_text(json.dumps(known, indent=1, sort_keys=True))
                outcome = "ok"
        status.append((original, outcome))
        if progress:
            progress(original, outcome)
    return status


def _is_installed(path, original, known):
    """Whether a file is there and is what was made of this original."""
    if not path.is_file():
        return False
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if not original.converter:
        return digest == original.sha256
    entry = known.get(original.path, {})
    return entry.get("original") == original.sha256 and entry.get("file") == digest


def checked(content, original):
    """The content of an original, if it is the right one.

    Raises
    ------
    ValueError
        If it is not.
    """
    if len(content) != original.n_bytes:
        raise ValueError(f"{len(content)} bytes, not the {original.n_bytes} of the original")
    found = hashlib.sha256(content).hexdigest()
    if found != original.sha256:
        raise ValueError(f"another file than the original: SHA-256 {found}, expected {original.sha256}")
    return content


def _quasar_table(content):
    """GaSNet-III's results for 15,000 quasars: the columns and both wavelength grids as one ``.npz``."""
    from io import BytesIO

    with fits.open(BytesIO(content), memmap=False) as hdus:
        table, grids = hdus[1].data, hdus[2].data
        columns = {name: np.asarray(table[name]) for name in table.names if name != "CLASS"}
        columns = {
            name: np.char.decode(values, "ascii") if values.dtype.kind == "S" else values
            for name, values in columns.items()
        }
        columns["coefficients"] = columns["coefficients"].reshape(len(table), 1, -1)
        columns |= {name: np.asarray(grids[name][0]) for name in ("input_grid", "output_grid")}
    return _npz(columns)


def _state(content):
    """The tensors of a PyTorch checkpoint, as arrays; nothing of it is executed."""
    from io import BytesIO

    import torch

    try:
        state = torch.load(BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as error:
        raise ValueError(f"no checkpoint of tensors: {error}") from error
    return {name: value.numpy() for name, value in state.items()}


def _checkpoint(content):
    """GaSNet-III's encoder: its eigenvectors and layers as one ``.npz``."""
    return _npz(_state(content))


def _npz(arrays):
    from io import BytesIO

    buffer = BytesIO()
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()


#: What turns an original into a file of the bank.
CONVERTERS = {"quasar-table": _quasar_table, "checkpoint": _checkpoint}


def write_noise_file(paths, output):
    """A file of real inverse variances from spec-lite files, as `specz_cnn.simulate.observe.load_noise` reads it.

    Parameters
    ----------
    paths : sequence of path-like
    output : path-like
        An ``.npz`` file.

    Returns
    -------
    int
        How many spectra went into it; unreadable ones are left out.
    """
    from specz_cnn.io import SpecLiteError, read_arrays
    from specz_cnn.io.names import parse_file_name

    rows, groups = [], []
    for path in paths:
        try:
            spectrum = read_arrays(path, pipeline=False)
        except (SpecLiteError, OSError) as error:
            log.warning("%s", error)
            continue
        pixel = np.rint((spectrum.loglam - _NOISE["loglam0"]) / _NOISE["dloglam"]).astype(int)
        inside = (pixel >= 0) & (pixel < _NOISE["n_pixels"])
        row = np.zeros(_NOISE["n_pixels"], np.float32)
        row[pixel[inside]] = spectrum.ivar[inside]
        rows.append(row)
        numbers = parse_file_name(path)
        groups.append("-".join(map(str, numbers)) if numbers else Path(path).name)
    if not rows:
        raise ValueError("none of the spectra for the noise file can be read")
    with write_whole(output) as part:
        np.savez_compressed(
            part,
            ivar=np.array(rows),
            loglam0=_NOISE["loglam0"],
            dloglam=_NOISE["dloglam"],
            group=np.array(groups),
        )
    return len(rows)
