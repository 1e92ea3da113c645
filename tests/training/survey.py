"""A small survey of simulated quasars, with its catalogue, for tests of training on real spectra."""

from __future__ import annotations

from astropy.table import Table

from specz_cnn import write_spec_lite
from specz_cnn.io.names import spec_file_name
from specz_cnn.simulate.example import example_spectrum

PLATE, MJD = 7000, 57000

RECIPE = """
[model]
name = "small"
architecture = "RNetE"
bins = { n = 400, step = 5e-3 }
grid = { start = 35440, factor = 16, n_pixels = 303 }
[model.arguments]
n_pixels = 303
n_bins = 400
channels = [4]
kernels = [5]
n_templates = 2
[simulation]
z_max = 5.0
[training]
steps = 6
batch_size = 8
checkpoint_every = 2
rate = 1e-2
seed = 5
[validation]
n_simulated = 32
"""


def make_survey(directory, n=24, *, z_low=1.2, z_step=0.08):
    """Spectra in a new directory, and the path of their catalogue (with positions, two spectra of each object)."""
    directory.mkdir()
    rows = []
    for number in range(1, n + 1):
        z = z_low + z_step * ((number + 1) // 2)
        arrays = example_spectrum(z, snr=6, seed=number)
        path = directory / spec_file_name(PLATE, MJD, number)
        write_spec_lite(path, arrays.loglam, arrays.flux, arrays.ivar, plate=PLATE, mjd=MJD, fiber=number)
        rows.append((PLATE, MJD, number, z, 0.1 * ((number + 1) // 2), 0.0))
    catalogue = directory / "catalogue.fits"
    Table(rows=rows, names=["PLATE", "MJD", "FIBERID", "Z", "RA", "DEC"]).write(catalogue)
    return catalogue
