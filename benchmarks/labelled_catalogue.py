"""A catalogue like DR16Q of the labelled real spectra of one half of the objects, for trainings on them.

    python benchmarks/labelled_catalogue.py --data DATA -o calibration.fits [--half calibration]

Spectra that ``DATA/spectra`` has a file of, labels of trust 2 and up; ``GROUP`` tells objects apart.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from astropy.table import Table

from specz_cnn.evaluate import split_half

_COLUMNS = {"PLATE": "plate", "MJD": "mjd", "FIBERID": "fiber", "Z": "z", "CLASS": "cls", "GROUP": "group"}


def main():
    """Write the catalogue."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", required=True, help="directory with dev_labels.csv")
    parser.add_argument("-o", "--output", required=True)
    parser.add_argument("--half", default="calibration", choices=("calibration", "validation"))
    args = parser.parse_args()
    labels = Table.read(Path(args.data) / "dev_labels.csv")
    has_file = ~np.ma.getmaskarray(np.ma.asarray(labels["file"])) & (np.ma.filled(labels["file"], "") != "")
    rows = has_file & (split_half(np.asarray(labels["group"])) == args.half) & (labels["trust"] >= 2)
    chosen = labels[rows]
    Table({name: chosen[column] for name, column in _COLUMNS.items()}).write(args.output, overwrite=True)
    print(f"{len(chosen)} spectra, {(chosen['cls'] == 'QSO').sum()} of quasars")


if __name__ == "__main__":
    main()
