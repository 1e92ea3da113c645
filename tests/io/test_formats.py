"""Files of other surveys and instruments: what is in them, by which reader, and the same redshift as their arrays.

The files are made here in the layout of each format; real ones follow where there are any.
"""

from __future__ import annotations

import bz2
import gzip
import os
from pathlib import Path

import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits
from astropy.table import Table
from specutils import Spectrum, SpectrumList

import specz_cnn
from specz_cnn import SpecLiteError, SpectrumArrays, fit_redshift_cnn, fit_redshifts_cnn
from specz_cnn.io.formats import OWN_FORMATS, ReadOptions, format_labels, read_any, read_spectra
from specz_cnn.io.units import air_to_vacuum
from specz_cnn.simulate.parametric import example_spectrum
from specz_cnn.velocity import SPEED_OF_LIGHT as C

Z = 2.4
ARRAYS = example_spectrum(Z, snr=15, seed=4)
LOGLAM = ARRAYS.loglam
WAVE = 10**LOGLAM
FLUX, IVAR = ARRAYS.flux.astype(float), ARRAYS.ivar.astype(float)
SIGMA = IVAR**-0.5


def linear(step=1.0, low=3700.0, high=9800.0):
    """The spectrum on linear wavelengths."""
    wave = np.arange(low, high, step)
    return wave, np.interp(wave, WAVE, FLUX), np.interp(wave, WAVE, IVAR)


def lamost(path):
    header = fits.Header(
        {"TELESCOP": "LAMOST", "OBSID": 7, "RA": 10.5, "DEC": -2.0, "CLASS": "QSO", "Z": 2.39}
    )
    data = np.stack([FLUX, IVAR, WAVE, 0 * FLUX, 0 * FLUX]).astype("f4")
    fits.PrimaryHDU(data, header).writeto(path)


def lamost_table(path):
    table = fits.BinTableHDU(
        Table({name: [v] for name, v in (("FLUX", FLUX), ("IVAR", IVAR), ("WAVELENGTH", WAVE))}), name="COADD"
    )
    fits.HDUList([fits.PrimaryHDU(header=fits.Header({"TELESCOP": "LAMOST", "OBSID": 7})), table]).writeto(
        path
    )


def desi(path, rows=(2,), fibermap=True):
    """Arms that overlap, as many rows as asked; the spectrum is in those named."""
    n = max(rows) + 1
    hdus = [fits.PrimaryHDU()]
    for arm, low, high in (("B", 3600, 5800), ("R", 5760, 7620), ("Z", 7520, 9824)):
        wave = low + 0.8 * np.arange(round((high - low) / 0.8) + 1)
        flux = np.tile(np.interp(wave, WAVE, FLUX), (n, 1)).astype("f4")
        ivar = np.tile(np.interp(wave, WAVE, IVAR), (n, 1)).astype("f4")
        for row in set(range(n)) - set(rows):
            ivar[row] = 0
        hdus += [
            fits.ImageHDU(wave, name=f"{arm}_WAVELENGTH"),
            fits.ImageHDU(flux, name=f"{arm}_FLUX"),
            fits.ImageHDU(ivar, name=f"{arm}_IVAR"),
        ]
    if fibermap:
        ids = 39627658006168293 + np.arange(n)
        hdus.append(
            fits.BinTableHDU(
                Table({"TARGETID": ids, "TARGET_RA": 10.0 + np.arange(n), "TARGET_DEC": np.full(n, -2.0)}),
                name="FIBERMAP",
            )
        )
        table = Table(
            {"TARGETID": ids, "Z": np.full(n, 2.39), "ZWARN": np.zeros(n, int), "SPECTYPE": ["QSO"] * n}
        )
        hdus.append(fits.BinTableHDU(table, name="REDSHIFTS"))
    fits.HDUList(hdus).writeto(path)


def spspec(path):
    header = fits.Header(
        {"TELESCOP": "SDSS 2.5-M", "PLATEID": 542, "MJD": 51993, "FIBERID": 631, "SPEC_CLN": 3}
    )
    header.update(
        {"COEFF0": LOGLAM[0], "COEFF1": 1e-4, "VACUUM": True, "BUNIT": "1.0E-17 erg/cm/s/Ang", "Z": 2.39}
    )
    header.update({"RAOBJ": 117.99, "DECOBJ": 34.5, "CRPIX1": 1, "CRVAL1": LOGLAM[0], "CD1_1": 1e-4})
    fits.PrimaryHDU(np.stack([FLUX, FLUX, SIGMA, 0 * FLUX, FLUX]).astype("f4"), header).writeto(path)


def sdss_images(path):
    header = fits.Header({"TELESCOP": "SDSS 2.5-M", "PLATEID": 5063, "MJD": 55831, "VACUUM": True})
    header["BUNIT"] = "1E-17 erg/cm^2/s/Ang"
    hdus = [
        fits.PrimaryHDU(FLUX.astype("f4"), header),
        *(fits.ImageHDU(x.astype("f4")) for x in (IVAR, LOGLAM)),
    ]
    fits.HDUList(hdus).writeto(path)


def pypeit(path):
    table = Table({"wave": WAVE, "flux": FLUX, "ivar": IVAR, "mask": np.ones(FLUX.size, int)})
    header = fits.Header(
        {"PYPELINE": "Echelle", "TARGET": "J1000-0212", "RA": "10:00:28.8", "DEC": "-02:12:36"}
    )
    spectrum = fits.BinTableHDU(table, name="SPECTRUM")
    fits.HDUList([fits.PrimaryHDU(header=header), spectrum]).writeto(path)


def aaomega(path):
    wave, flux, ivar = linear()
    wave, flux, ivar = in_air(wave, flux, ivar)
    header = fits.Header({"CRVAL1": wave[0], "CDELT1": 1.0, "CRPIX1": 1.0, "CUNIT1": "Angstroms"})
    fibres = Table({"NAME": ["sky", "Q7"], "TYPE": ["S", "P"], "RA": [0.1, 0.2], "DEC": [0.0, -0.1]})
    fits.HDUList(
        [
            fits.PrimaryHDU(np.stack([0 * flux, flux]), header),
            fits.ImageHDU(np.stack([1 / ivar] * 2), name="VARIANCE"),
            fits.BinTableHDU(fibres, name="FIBRES"),
        ]
    ).writeto(path)


def in_air(wave, flux, ivar):
    """The same spectrum on air wavelengths of the same numbers."""
    vacuum = air_to_vacuum(wave)
    return wave, np.interp(vacuum, WAVE, FLUX), np.interp(vacuum, WAVE, IVAR)


def sixdf(path):
    wave, flux, ivar = in_air(*linear())
    header = fits.Header({"CRVAL1": wave[0], "CDELT1": 1.0, "CRPIX1": 1.0, "OBSRA": 30.0, "OBSDEC": -2.0})
    header.update({"Z": 2.39, "Z_HELIO": 2.391, "QUALITY": 4, "TARGET": "g0200"})
    hdus = [fits.PrimaryHDU(), fits.ImageHDU(np.zeros((3, wave.size)), header, name="SPECTRUM V")]
    hdus.append(fits.ImageHDU(np.stack([flux, 1 / ivar, 0 * flux, wave]), header, name="SPECTRUM VR"))
    fits.HDUList(hdus).writeto(path)


def iraf(path):
    wave, flux, ivar = linear()
    bands = np.stack([flux, 0 * flux + 7, 0 * flux, ivar**-0.5])[:, None]
    header = fits.Header(
        {"CRVAL1": wave[0], "CD1_1": 1.0, "CRPIX1": 1.0, "CTYPE1": "LINEAR", "BUNIT": "erg/cm2/s/A"}
    )
    header.update({"BANDID1": "spectrum", "BANDID2": "raw", "BANDID3": "background", "BANDID4": "sigma - x"})
    header["WAT1_001"] = "wtype=linear label=Wavelength units=angstroms"
    fits.PrimaryHDU(bands, header).writeto(path)


def image(path):
    wave, flux, ivar = linear()
    header = fits.Header(
        {"CRVAL1": wave[0] / 10, "CDELT1": 0.1, "CRPIX1": 1.0, "CTYPE1": "WAVE", "CUNIT1": "nm"}
    )
    fits.HDUList([fits.PrimaryHDU(flux, header), fits.ImageHDU(ivar**-0.5, name="ERR")]).writeto(path)


def awav_image(path):
    wave, flux, ivar = in_air(*linear())
    header = fits.Header(
        {"CRVAL1": wave[0], "CDELT1": 1.0, "CRPIX1": 1.0, "CTYPE1": "AWAV", "CUNIT1": "Angstrom"}
    )
    fits.HDUList([fits.PrimaryHDU(flux, header), fits.ImageHDU(1 / ivar, name="STAT")]).writeto(path)


def fits_columns(path):
    Table({"LAMBDA": WAVE, "FLUX": FLUX, "ERR_FLUX": SIGMA}).write(path)


def fits_vectors(path):
    """As in spectra of ESO: one row with arrays, wavelengths in air by their descriptor."""
    wave, flux, ivar = in_air(*linear())
    hdu = fits.BinTableHDU(Table({"WAVE": [wave / 10], "FLUX": [flux], "ERR": [ivar**-0.5]}), name="SPECTRUM")
    hdu.columns["WAVE"].unit = "nm"
    hdu.header["TUCD1"] = "em.wl;obs.atmos"
    fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(path)


def text(path, lines):
    Path(path).write_text("\n".join(lines) + "\n")


def csv(path):
    rows = zip(WAVE, FLUX, SIGMA, strict=True)
    text(path, ["lam,flux,err", *(f"{a},{b},{c}" for a, b, c in rows), ",,"])


def blanks(path):
    text(
        path,
        [
            "# wave flux error",
            *(f" {a:.6f}  {b:.6e} {c:.6e}" for a, b, c in zip(WAVE, FLUX, SIGMA, strict=True)),
        ],
    )


def unnamed_with_bom(path):
    lines = ["\ufeff# made by hand", *(f"{a};{b};{c}" for a, b, c in zip(WAVE, FLUX, SIGMA, strict=True))]
    Path(path).write_text("\r\n".join(lines), encoding="utf-16")


def boss_ascii(path):
    """Eleven columns: wavelength, flux, error, ..."""
    rows = zip(WAVE, FLUX, SIGMA, LOGLAM, strict=True)
    text(path, [f"{a:.3f} {b:.6g} {c:.6g} {b:.6g} {d:.4f} 0.1 0 0 1.3 4.8 -0.6" for a, b, c, d in rows])


def ecsv(path):
    Table(
        {
            "loglam": LOGLAM,
            "f_nu": (FLUX * 1e-17 * u.Unit("erg/(s cm2 AA)")).to(u.mJy, u.spectral_density(WAVE * u.AA)),
        },
        meta={"who": "me"},
    ).write(path, format="ascii.ecsv")


#: Name of the file: what writes it, label of the format, air, id in the table.
FILES = {
    "spec-lamost.fits.gz": (lamost, "LAMOST", False, "7"),
    "lamost-table.fits": (lamost_table, "LAMOST", False, "7"),
    "coadd-main-dark-1.fits": (desi, "DESI", False, "39627658006168295"),
    "old.fit": (spspec, "SDSS spSpec", False, "0542-51993-0631"),
    "images.FITS": (sdss_images, "SDSS images", False, "images"),
    "coadd.fits": (pypeit, "PypeIt", False, "J1000-0212"),
    "2df.fits": (aaomega, "AAOmega", True, "Q7"),
    "6df.fits": (sixdf, "6dFGS", True, "g0200"),
    "iraf.fit": (iraf, "IRAF bands", False, "iraf"),
    "image.fits": (image, "FITS image", False, "image"),
    "awav.fits": (awav_image, "FITS image", True, "awav"),
    "columns.fits": (fits_columns, "FITS columns", False, "columns"),
    "eso.fits": (fits_vectors, "FITS columns", True, "eso"),
    "lines.csv": (csv, "columns", False, "lines"),
    "blanks.dat": (blanks, "columns", False, "blanks"),
    "bom.txt": (unnamed_with_bom, "columns", False, "bom"),
    "boss.dr9": (boss_ascii, "columns", False, "boss.dr9"),
    "table.ecsv": (ecsv, "columns", False, "table"),
}


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    directory = tmp_path_factory.mktemp("formats")
    for name, (write, *_) in FILES.items():
        plain = directory / name.removesuffix(".gz")
        write(plain)
        if name.endswith(".gz"):
            (directory / name).write_bytes(gzip.compress(plain.read_bytes()))
            plain.unlink()
    return directory


@pytest.fixture(scope="module")
def table(directory):
    return fit_redshifts_cnn([directory / name for name in FILES], device="cpu", measure=False)


@pytest.fixture(scope="module")
def expected():
    return fit_redshift_cnn(ARRAYS, device="cpu", measure=False).z


def test_each_format_gives_the_redshift_of_the_arrays(table, expected):
    wrong = {}
    rows = {row["id"]: row for row in table if row["error"] == ""}
    for name, (*_, identifier) in FILES.items():
        row = rows.get(identifier)
        dv = np.inf if row is None else C * abs(row["z"] - expected) / (1 + Z)
        # Interpolated onto other pixels here; the errors of f_nu are estimated.
        if dv > (60 if name == "table.ecsv" else 25):
            wrong[name] = dv
    assert not wrong


@pytest.mark.parametrize("name", ["image.fits", "awav.fits"])
def test_errors_beside_the_flux_are_read(directory, name):
    """Also where a reader of specutils takes the file that knows nothing of them."""
    (arrays,) = read_any(directory / name)
    _, _, ivar = in_air(*linear()) if name == "awav.fits" else linear()
    np.testing.assert_allclose(arrays.ivar, ivar, rtol=1e-5)


def test_air_is_noted_in_the_provenance(table):
    n_air = sum(air for _, _, air, _ in FILES.values())
    assert table.meta["input"] == f"wavelengths converted from air to vacuum ({n_air})"


def test_rows_and_identity_of_a_desi_file(table):
    rows = [row for row in table if row["file"].endswith("coadd-main-dark-1.fits")]
    assert [row["id"] for row in rows] == [str(39627658006168293 + i) for i in range(3)]
    assert [row["error"] != "" for row in rows] == [True, True, False]
    assert rows[2]["ra"].value == 12.0 and rows[2]["z_pipe"] == pytest.approx(2.39)
    assert rows[2]["class_pipe"] == "QSO" and rows[2]["plate"] == -1


@pytest.mark.parametrize("name", FILES)
def test_named_format_reads_the_same(directory, name):
    label = FILES[name][1]
    found, named = (read_spectra(directory / name, format=chosen)[-1] for chosen in (None, label.upper()))
    np.testing.assert_array_equal(found.flux.value, named.flux.value)
    assert found.meta["id"] == named.meta["id"] == FILES[name][3]


def test_a_named_format_that_the_file_does_not_have(directory):
    with pytest.raises(SpecLiteError, match="6df.fits: not of the format DESI"):
        read_spectra(directory / "6df.fits", format="DESI")
    with pytest.raises(ValueError, match="no format 'FOO'; there are SDSS spec-lite, LAMOST, DESI"):
        ReadOptions(format="FOO")
    assert {entry.label for entry in OWN_FORMATS} < set(format_labels())


@pytest.mark.parametrize(
    "entry", [entry for entry in OWN_FORMATS if not entry.general], ids=lambda e: e.label
)
def test_formats_are_registered_with_specutils(directory, entry):
    name = next(name for name, (_, label, *_) in FILES.items() if label == entry.label)
    assert isinstance(SpectrumList.read(directory / name, format=entry.label)[0], Spectrum)
    if entry.label not in ("DESI", "AAOmega", "6dFGS", "SDSS spSpec", "SDSS images", "PypeIt", "IRAF bands"):
        assert isinstance(Spectrum.read(directory / name), Spectrum)  # nobody else claims it


def test_several_spectra_are_not_one(directory):
    with pytest.raises(ValueError, match="3 spectra in this file; see fit_redshifts_cnn"):
        fit_redshift_cnn(directory / "coadd-main-dark-1.fits")
    with pytest.raises(ValueError, match="3 spectra in this file: SpectrumList.read"):
        Spectrum.read(directory / "coadd-main-dark-1.fits", format="DESI")


def test_compressed_files_and_addresses(directory, tmp_path):
    plain = directory / "columns.fits"
    packed = tmp_path / "columns.fits.bz2"
    packed.write_bytes(bz2.compress(plain.read_bytes()))
    lines = tmp_path / "lines.csv.gz"
    lines.write_bytes(gzip.compress((directory / "lines.csv").read_bytes()))
    assert read_any(packed)[0].id == "columns" and read_any(lines)[0].id == "lines"
    (arrays,) = read_any(f"file://{plain}")
    assert arrays.file == f"file://{plain}" and arrays.id == "columns"
    with pytest.raises(OSError, match="nosuchprotocol"):
        read_any("nosuchprotocol://somewhere/x.fits")


def test_addresses_by_fsspec(directory):
    fsspec = pytest.importorskip("fsspec")
    with fsspec.open("memory://bucket/lines.csv", "wb") as file:
        file.write((directory / "lines.csv").read_bytes())
    (arrays,) = read_any("memory://bucket/lines.csv")
    assert arrays.file == "memory://bucket/lines.csv" and arrays.id == "lines"


def test_a_directory_of_any_of_these(directory, tmp_path):
    from specz_cnn.survey.inputs import iter_paths

    names = [Path(path).name for path in iter_paths(directory)]
    assert names == ["coadd-main-dark-1.fits", "spec-lamost.fits.gz"]  # the names that surveys give
    for name in ("iraf.fit", "images.FITS", "lines.csv"):
        os.symlink(directory / name, tmp_path / name)
    assert [Path(path).name for path in iter_paths(tmp_path)] == ["images.FITS", "iraf.fit", "lines.csv"]
    assert list(iter_paths("https://example.org/spec.fits")) == ["https://example.org/spec.fits"]


@pytest.mark.parametrize(
    ("lines", "unit", "message"),
    [
        (["wave flux", "0.4 1", "0.5 2", "0.6 1"], (), "wavelengths from 0.4 to 0.6 without a unit"),
        (["a b", "4000 1", "4001 2"], (), "no column that is a wavelength among a, b"),
        (["wave,flux,err", "4000,1,1", "hello,2,3"], (), "line 3 is no row of numbers"),
        (["wave flux", "4000 1", "4001 2 3"], (), "line 3 has 3 numbers, the lines before 2"),
        (["4000", "4001"], (), "one column of numbers is no spectrum"),
        (["4000 1 -3 4", "4001 1 -3 4"], (), "the third does not look like the error"),
        (["just", "words"], (), "no row of numbers|no table of numbers"),
        (["wave flux", "4000 1", "4001 2"], ("nm", "um"), "two units of the axis"),
        (["wave flux", "4000 1", "4001 2"], ("furlong",), "no unit of a flux"),
    ],
)
def test_texts_in_doubt_are_refused(tmp_path, lines, unit, message):
    text(tmp_path / "x.csv", lines)
    with pytest.raises(ValueError, match=message):
        read_any(tmp_path / "x.csv", ReadOptions(unit=unit))


def test_units_and_air_that_the_caller_states(tmp_path, expected):
    text(
        tmp_path / "um.txt",
        [f"{a / 1e4:.8f} {b:.6e} {c:.6e}" for a, b, c in zip(WAVE, FLUX, SIGMA, strict=True)],
    )
    result = fit_redshift_cnn(tmp_path / "um.txt", unit="um", device="cpu", measure=False)
    assert C * abs(result.z - expected) / (1 + Z) < 2
    air = fit_redshift_cnn(tmp_path / "um.txt", unit="um", air=True, device="cpu", measure=False)
    assert 60 < C * (air.z - result.z) / (1 + Z) < 110
    assert air.provenance["input"] == "wavelengths converted from air to vacuum"
    assert "input" not in result.provenance


def test_spec_lite_files_stay_with_their_reader(tmp_path):
    specz_cnn.write_spec_lite(tmp_path / "spec-0266-51602-0013.fits", LOGLAM, ARRAYS.flux, ARRAYS.ivar)
    (arrays,) = read_any(tmp_path / "spec-0266-51602-0013.fits")
    other = specz_cnn.read_arrays(tmp_path / "spec-0266-51602-0013.fits")
    np.testing.assert_array_equal(arrays.flux, other.flux)
    assert arrays.id == "0266-51602-0013"


def test_damaged_and_foreign_files_say_why(tmp_path, directory):
    data = (directory / "6df.fits").read_bytes()
    (tmp_path / "cut.fits").write_bytes(data[: len(data) // 2])
    (tmp_path / "noise.bin").write_bytes(bytes(range(256)) * 20)
    (tmp_path / "picture.fits").write_bytes(b"")
    fits.PrimaryHDU(np.zeros((30, 40))).writeto(tmp_path / "empty.fits")
    names = ("cut.fits", "noise.bin", "picture.fits", "empty.fits", "none.fits")
    rows = fit_redshifts_cnn([tmp_path / name for name in names], device="cpu", measure=False)
    assert all(rows["error"] != "") and (rows["flags"] == int(specz_cnn.RedshiftFlag.READ_ERROR)).all()
    assert "no other format that is known" in rows["error"][3] and "No such file" in rows["error"][4]


# Real files.

#: Redshift, whether it is a quasar, and how close the redshift has to be in km/s (where the truth is as good).
REAL = {
    "spSpec-51993-0542-631.fit": (2.2319, 600),
    "linetools_SDSSJ220248.31+123656.3.fits": (2.51, 1000),
    "identify_qso_ly_a__spec-4229-55501-0337.dr9": (4.08, 1500),
    "QuasarLifetimes__J0226+0302_XSHOOTER_VIS.fits": (6.5412, 3000),
    "sculptor__J2125-1719_OPT_A.fits": (3.90, 1000),
    "Marz__quasarLinearSkyAirNoHelio.fits": (2.003, 600),
    "PyQSOFit_SBL__g1639001-012857.fits": (0.0911, 600),
    "qsofitmore__spec_J001554.18+560257.5_LJT.csv": (0.1684, 600),
}


@pytest.fixture(scope="module")
def real_files(data_dir):
    return data_dir / "formats"


@pytest.mark.parametrize("name", REAL)
def test_real_files(real_files, name):
    z, limit = REAL[name]
    result = fit_redshift_cnn(real_files / name, device="cpu")
    assert C * abs(result.z - z) / (1 + z) < limit
    # The same spectrum as arrays.
    spectrum = result.spectrum
    arrays = SpectrumArrays(spectrum.loglam, spectrum.flux, spectrum.ivar)
    again = fit_redshift_cnn(arrays, device="cpu")
    assert C * abs(again.z - result.z) / (1 + z) < 1


def plain_arrays(path):
    """Real files read by hand, as a user would: wavelength (vacuum, Angstrom), flux, ivar."""
    name = Path(path).name
    if name.endswith((".csv", ".dr9")):
        data = np.genfromtxt(
            path, delimiter="," if name.endswith("csv") else None, skip_header=name.endswith("csv")
        )
        return data[:, 0], data[:, 1], data[:, 2] ** -2.0
    with fits.open(path) as hdus:
        if name.startswith("spSpec"):
            data = hdus[0].data.astype(float)
            wave = 10 ** (hdus[0].header["COEFF0"] + hdus[0].header["COEFF1"] * np.arange(data.shape[1]))
            with np.errstate(divide="ignore"):
                return wave, data[0], np.where(data[2] > 0, data[2] ** -2.0, 0)
        if name.startswith("linetools"):
            return 10 ** hdus[2].data.astype(float), hdus[0].data, hdus[1].data
        if name.startswith("Quasar"):
            return tuple(hdus[1].data[n].astype(float) for n in ("OPT_WAVE", "OPT_FLAM", "OPT_FLAM_IVAR"))
        if name.startswith("sculptor"):
            header, data = hdus[0].header, hdus[0].data[:, 0].astype(float)
            return header["CRVAL1"] + header["CD1_1"] * np.arange(data.shape[1]), data[0], data[3] ** -2.0
        if name.startswith("Marz"):
            header = hdus[0].header
            wave = header["CRVAL1"] + header["CDELT1"] * (np.arange(hdus[0].data.size) + 1 - header["CRPIX1"])
            return air_to_vacuum(wave), hdus[0].data, 1 / hdus["VARIANCE"].data
        header, data = hdus[7].header, hdus[7].data.astype(float)
        wave = header["CRVAL1"] + header["CDELT1"] * (np.arange(data.shape[1]) + 1 - header["CRPIX1"])
        return air_to_vacuum(wave), data[0], 1 / data[1]


@pytest.mark.parametrize("name", REAL)
def test_real_files_agree_with_their_arrays(real_files, name):
    with np.errstate(all="ignore"):
        wave, flux, ivar = plain_arrays(real_files / name)
    ivar = np.where(np.isfinite(ivar) & np.isfinite(flux), ivar, 0)
    flux = np.where(ivar > 0, flux, 0)
    scale = np.median(np.abs(flux[ivar > 0]))
    arrays = SpectrumArrays(np.log10(wave), (flux / scale).astype("f4"), (ivar * scale**2).astype("f4"))
    ours, theirs = (fit_redshift_cnn(item, device="cpu").z for item in (real_files / name, arrays))
    assert C * abs(ours - theirs) / (1 + theirs) < 1


def test_real_desi_coadds(real_files):
    table = fit_redshifts_cnn(real_files / "QuasarNP__test_coadd.fits", device="cpu")
    assert len(table) == 25
    quasars = {4: 3.952, 8: 0.4777, 23: 2.887}
    # What is bright may be flagged for its outliers alone; nothing else passes.
    outliers = int(specz_cnn.RedshiftFlag.MANY_OUTLIERS)
    assert set(np.flatnonzero((table["flags"] & ~outliers) == 0)) == set(quasars)
    for row, z in quasars.items():
        assert C * abs(table["z"][row] - z) / (1 + z) < 1000


def test_real_stars_of_lamost_are_flagged(real_files):
    table = fit_redshifts_cnn(sorted(real_files.glob("lamost*")), device="cpu")
    assert len(table) == 3 and (table["flags"] != 0).all() and (table["error"] == "").all()
    assert (table["class_pipe"] == "STAR").all() and (table["id"] == ["103232", "205163", "360416217"]).all()


def test_rows_of_one_file_are_told_apart_on_the_page(table, directory):
    from specz_cnn.report.finder import SpectrumFinder, read_rows

    rows = [i for i, row in enumerate(table) if row["file"].endswith("coadd-main-dark-1.fits")]
    spectra = [spectrum for spectrum, _ in read_rows(table[rows], SpectrumFinder())]
    assert [spectrum.id for spectrum in spectra] == list(table["id"][rows])
