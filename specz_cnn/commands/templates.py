"""``specz-cnn templates``: fetch the public originals that the full simulation is made from."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

from specz_cnn.commands import FAILED, OK, PARTLY, UsageError, hide_progress

__all__ = ["add_arguments", "run"]

_log = logging.getLogger(__name__)

_EPILOG = """\
The directory is what `specz-cnn train --data` and `specz-cnn simulate --data` take. The same command again fetches only
what is missing or damaged. The files belong to others: `specz-cnn templates --list` says whose they are and under which
licence.
"""


def add_arguments(parser):
    """Add the arguments of the command.

    Parameters
    ----------
    parser : `argparse.ArgumentParser`
    """
    from argparse import RawDescriptionHelpFormatter

    parser.formatter_class = RawDescriptionHelpFormatter
    parser.epilog = _EPILOG
    parser.add_argument("directory", nargs="?", type=Path, metavar="DIRECTORY", help="where to")
    parser.add_argument("--list", action="store_true", help="list files, origins and licences; fetch nothing")
    parser.add_argument("--mirror", metavar="URL", help="a server that has the same paths as the originals")
    parser.add_argument(
        "--no-noise", action="store_true", help="leave out the spectra that real noise is taken from"
    )


def run(args):
    """Run the command.

    Parameters
    ----------
    args : `argparse.Namespace`

    Returns
    -------
    int
        0, 3 if something is missing, 1 if all is.
    """
    from tqdm import tqdm

    from specz_cnn.sdss.fetch import fetch_file
    from specz_cnn.simulate.originals import install_originals, originals

    files = originals(base=args.mirror)
    if args.list:
        for file in files:
            print(
                f"{file.path}\n  {file.source}, {file.licence}; {file.citation}\n  {file.url}\n  sha256 {file.sha256}"
            )
        return 0
    if args.directory is None:
        raise UsageError("where to? Give a directory, or --list")
    args.directory.mkdir(parents=True, exist_ok=True)
    sizes = {file.url: file.n_bytes for file in files}
    with tqdm(
        total=len(files), unit="file", desc="originals", disable=hide_progress(args), file=sys.stderr
    ) as bar:
        status = install_originals(
            args.directory,
            lambda url: fetch_file(url, n_bytes=sizes[url]),
            files=files,
            progress=lambda *_: bar.update(),
        )
    bad = [(file, outcome) for file, outcome in status if outcome not in ("ok", "present")]
    fetched = sum(outcome == "ok" for _, outcome in status)
    _log.info(
        "%s", f"{fetched} fetched, {len(status) - fetched - len(bad)} there already, {len(bad)} missing"
    )
    for file, outcome in bad:
        _log.warning("%s", f"{file.path}: {outcome}")
    noise = True if args.no_noise else _noise(args.directory)
    if noise and not bad:
        return OK
    return FAILED if len(bad) == len(status) else PARTLY


def _noise(directory):
    """The noise file, from SDSS spectra; whether it is there."""
    from specz_cnn.sdss import download_spectra
    from specz_cnn.simulate.originals import noise_spectra, write_noise_file

    path = directory / "dev_spectra.npz"
    if path.exists():
        _log.info("%s is there already", path)
        return True
    table = download_spectra(noise_spectra(), directory / "noise-spectra")
    good = [row["path"] for row in table if row["status"] in ("ok", "present")]
    if len(good) < len(table) / 2:
        error = next(text for text in table["error"].tolist() if text)
        _log.warning("%s", f"noise: only {len(good)} of {len(table)} spectra could be fetched: {error}")
        return False
    n = write_noise_file(good, path)
    _log.info("noise of %s spectra in %s", n, path)
    return True
