"""The bulk reader gives what astropy gives, for good files and for bad ones."""

from __future__ import annotations

import gzip
import pickle
import shutil

import numpy as np
import pytest
from astropy.io import fits
from hypothesis import given
from hypothesis import strategies as st

from specz_cnn.io import MASK_POLICIES, SpecLiteError, bulk, read_arrays, read_arrays_astropy, write_spec_lite

ARRAYS = ("loglam", "flux", "ivar")


def assert_same(first, second):
    for name in ARRAYS:
        a, b = getattr(first, name), getattr(second, name)
        assert a.dtype == b.dtype and a.dtype.isnative
        assert a.tobytes() == b.tobytes(), name
    assert repr(first.identity) == repr(second.identity)


def outcome(read, path):
    try:
        return read(path)
    except SpecLiteError:
        return None


def assert_same_outcome(path):
    """Both readers give the same, except that astropy may stumble over damage that the other need not look at."""
    fast, reference = outcome(read_arrays, path), outcome(read_arrays_astropy, path)
    if reference is not None:
        assert_same(fast, reference)


def rewrite(path, change):
    """Rewrite a file after a change of its HDU list."""
    with fits.open(path, memmap=False) as hdulist:
        hdulist = fits.HDUList([hdu.copy() for hdu in hdulist])
    hdulist = change(hdulist) or hdulist
    hdulist.writeto(path, overwrite=True)


@pytest.fixture(scope="module")
def scratch_file(tmp_path_factory):
    return tmp_path_factory.mktemp("scratch") / "spec-7276-57061-0470.fits"


def was_fast(path):
    try:
        bulk._read_bytes(path, True)
    except bulk._Unusual:
        return False
    return True


def test_real_files_are_bit_identical_to_astropy_and_none_needs_it(spectrum_paths):
    assert spectrum_paths
    for path in spectrum_paths:
        assert was_fast(path), path
        assert_same(read_arrays(path, pipeline=False), read_arrays_astropy(path, pipeline=False))


def test_catalogue_rows_of_real_files(spectrum_paths):
    for path in spectrum_paths[::8]:  # astropy takes 30 ms for each
        assert_same(read_arrays(path), read_arrays_astropy(path))


def test_real_files_hold_what_they_say(spectrum_paths):
    for path in spectrum_paths:
        arrays = read_arrays(path)
        assert path.name == f"spec-{arrays.plate:04d}-{arrays.mjd}-{arrays.fiber:04d}.fits"
        assert 0 <= arrays.ra < 360 and -90 <= arrays.dec <= 90
        assert arrays.class_pipe in ("STAR", "GALAXY", "QSO")
        assert -0.02 < arrays.z_pipe < 7.1
        assert np.abs(arrays.loglam / 1e-4 - np.rint(arrays.loglam / 1e-4)).max() < 0.01


@pytest.mark.parametrize("mask", [*MASK_POLICIES, 1 << 23])
@pytest.mark.parametrize("pipeline", [True, False])
def test_synthetic_file(spec_file, mask, pipeline):
    assert was_fast(spec_file)
    arrays = read_arrays(spec_file, mask=mask, pipeline=pipeline)
    assert_same(arrays, read_arrays_astropy(spec_file, mask=mask, pipeline=pipeline))
    assert (arrays.plate, arrays.mjd, arrays.fiber) == (7276, 57061, 470)
    assert (arrays.ra, arrays.dec) == (150.25, -1.5)
    if pipeline:
        assert (arrays.class_pipe, arrays.z_pipe, arrays.zwarning_pipe) == ("QSO", 2.25, 4)
    else:
        assert (arrays.class_pipe, arrays.zwarning_pipe) == ("", -1) and np.isnan(arrays.z_pipe)


def test_unknown_policy_is_refused_before_anything_else(tmp_path):
    with pytest.raises(ValueError, match="mask must be"):
        read_arrays(tmp_path / "none.fits", mask="soft")


def test_arrays_can_be_sent_to_another_process(spec_file):
    arrays = read_arrays(spec_file)
    assert_same(pickle.loads(pickle.dumps(arrays)), arrays)
    assert len(arrays) == arrays.flux.size


def swap(*order):
    return lambda hdulist: fits.HDUList([hdulist[i] for i in order])


def upper_case(hdulist):
    for hdu in hdulist[1:]:
        hdu.columns.change_name(hdu.columns.names[0], hdu.columns.names[0].swapcase())
        hdu.name = ""


def extra_column(hdulist):
    column = fits.Column(name="mask2", format="K", array=np.arange(len(hdulist[1].data)))
    hdulist[1] = fits.BinTableHDU.from_columns([column, *hdulist[1].columns], name="COADD")


def scaled_column(hdulist):
    hdulist[1].data = hdulist[1].data
    columns = [
        fits.Column(name=c.name, format="J", bzero=1 << 31, array=np.zeros(len(hdulist[1].data), np.uint32))
        if c.name == "and_mask"
        else fits.Column(name=c.name, format=c.format, array=np.array(hdulist[1].data[c.name]))
        for c in hdulist[1].columns
    ]
    hdulist[1] = fits.BinTableHDU.from_columns(columns, name="COADD")


def double_precision(hdulist):
    columns = [
        fits.Column(name=c.name, format="D" if c.format == "E" else c.format, array=hdulist[1].data[c.name])
        for c in hdulist[1].columns
    ]
    hdulist[1] = fits.BinTableHDU.from_columns(columns, name="COADD")


def without_mask(hdulist):
    columns = [c for c in hdulist[1].columns if c.name != "and_mask"]
    hdulist[1] = fits.BinTableHDU.from_columns(columns, name="COADD")


def image_first(hdulist):
    hdulist.insert(1, fits.ImageHDU(np.zeros((5, 5))))


def comment_that_looks_like_a_card(hdulist):
    hdulist[1].header["COMMENT"] = "TTYPE1  = 'loglam  '"
    hdulist[0].header["COMMENT"] = "FIBERID =  99 END" + 60 * " "


def no_row(hdulist):
    hdulist[2].data = hdulist[2].data[:0]


@pytest.mark.parametrize(
    ("change", "fast"),
    [
        (swap(0, 1), False),
        (swap(0, 2, 1), False),
        (swap(0, 1, 1, 2), False),
        (swap(0, 1, 2, 1, 1), True),
        (upper_case, True),
        (extra_column, True),
        (scaled_column, False),
        (double_precision, True),
        (without_mask, True),
        (image_first, False),
        (comment_that_looks_like_a_card, False),
        (no_row, False),
    ],
)
def test_other_layouts_are_read_too(spec_file, change, fast):
    before = read_arrays(spec_file, mask="ivar")
    rewrite(spec_file, change)
    after = read_arrays(spec_file, mask="ivar")
    assert was_fast(spec_file) == fast
    assert_same(after, read_arrays_astropy(spec_file, mask="ivar"))
    for name in ARRAYS:
        np.testing.assert_array_equal(getattr(after, name), getattr(before, name))


def test_full_file_with_long_exposures_behind(spec_file):
    rewrite(spec_file, lambda hdulist: fits.HDUList([*hdulist, *10 * [fits.ImageHDU(np.zeros((300, 300)))]]))
    assert spec_file.stat().st_size > bulk._FIRST_READ
    assert was_fast(spec_file)
    assert_same(read_arrays(spec_file), read_arrays_astropy(spec_file))


def test_spectrum_longer_than_the_first_read(tmp_path):
    n = 20_000
    path = tmp_path / "spec-0001-55000-0001.fits"
    write_spec_lite(path, 3.5 + 2.5e-5 * np.arange(n), np.arange(n), np.ones(n), z=1)
    assert was_fast(path)
    assert_same(read_arrays(path), read_arrays_astropy(path))


def test_compressed_file(spec_file):
    compressed = spec_file.with_suffix(".fits.gz")
    compressed.write_bytes(gzip.compress(spec_file.read_bytes()))
    arrays = read_arrays(compressed)
    assert arrays.file == str(compressed)
    np.testing.assert_array_equal(arrays.flux, read_arrays(spec_file).flux)


def test_name_of_the_observation_without_catalogue_row_and_header(spec_file):
    def change(hdulist):
        for keyword in ("PLATEID", "MJD", "FIBERID", "PLUG_RA", "PLUG_DEC"):
            del hdulist[0].header[keyword]
        hdulist[0].header["RA"], hdulist[0].header["DEC"] = 1.0, 2.0  # of the telescope
        del hdulist[2]

    rewrite(spec_file, change)
    arrays = read_arrays(spec_file)
    assert (arrays.plate, arrays.mjd, arrays.fiber) == (7276, 57061, 470)
    assert np.isnan(arrays.ra) and np.isnan(arrays.dec)
    anonymous = spec_file.rename(spec_file.with_name("spectrum.fits"))
    assert read_arrays(anonymous).plate == -1


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty"),
        (b"hello world", "no FITS file"),
        (b"SIMPLE  =                    T", "trunc|corrupt|missing|header"),
        (b"\x1f\x8b\x08\x00garbage", ""),
        (bytes(100_000), ""),
    ],
)
def test_files_that_are_no_fits(tmp_path, content, reason):
    path = tmp_path / "spec-0001-55000-0001.fits"
    path.write_bytes(content)
    for read in (read_arrays, read_arrays_astropy):
        with pytest.raises(SpecLiteError, match=f"(?is){path.name}: .*{reason}") as caught:
            read(path)
        assert caught.value.path == str(path) and caught.value.reason


def test_missing_file_and_directory(tmp_path):
    for read in (read_arrays, read_arrays_astropy):
        with pytest.raises(FileNotFoundError, match="none.fits"):
            read(tmp_path / "none.fits")
        with pytest.raises(SpecLiteError, match="(?i)directory"):
            read(tmp_path)


def test_errors_can_be_sent_to_another_process():
    error = pickle.loads(pickle.dumps(SpecLiteError("spec.fits", "truncated")))
    assert str(error) == "spec.fits: truncated"
    assert isinstance(error, OSError) and isinstance(error, ValueError)


def set_flux_to(value):
    def change(hdulist):
        hdulist[1].data["loglam"][10] = value

    return change


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (swap(0, 2), "no table with columns flux, loglam and ivar"),
        (set_flux_to(np.nan), "does not ascend"),
        (set_flux_to(1.0), "does not ascend"),
    ],
)
def test_wrong_files_are_refused_with_the_reason(spec_file, change, reason):
    rewrite(spec_file, change)
    for read in (read_arrays, read_arrays_astropy):
        with pytest.raises(SpecLiteError, match=reason):
            read(spec_file)


def test_mask_that_holds_no_integers_is_refused(spec_file):
    data = spec_file.read_bytes()
    assert b"TFORM4  = 'J       '" in data
    spec_file.write_bytes(data.replace(b"TFORM4  = 'J       '", b"TFORM4  = 'E       '"))
    for read in (read_arrays, read_arrays_astropy):
        with pytest.raises(SpecLiteError, match="and_mask does not hold one integer a pixel"):
            read(spec_file)


@pytest.mark.parametrize("n_rows", [301, 3_000_000_000, 300_000_000_000_000, 10**19])
def test_table_that_claims_more_than_the_file_holds_is_refused_without_allocating(spec_file, n_rows):
    card = b"NAXIS2  = %20d"
    data = spec_file.read_bytes()
    assert card % 300 in data
    spec_file.write_bytes(data.replace(card % 300, card % n_rows)[:17280])
    for read in (read_arrays, read_arrays_astropy):
        with pytest.raises(SpecLiteError, match=spec_file.name):
            read(spec_file)


@given(share=st.floats(0, 1, exclude_max=True))
def test_truncated_files_never_give_another_spectrum(spec_bytes, scratch_file, share):
    scratch_file.write_bytes(spec_bytes)
    whole = read_arrays(scratch_file)
    scratch_file.write_bytes(spec_bytes[: int(share * len(spec_bytes))])
    assert_same_outcome(scratch_file)
    arrays = outcome(read_arrays, scratch_file)
    if arrays is not None:
        np.testing.assert_array_equal(arrays.flux, whole.flux)


changes = st.tuples(st.floats(0, 1, exclude_max=True), st.sampled_from(b" 0123456789AEJK'=/\0\xff"))


@given(changes=st.lists(changes, min_size=1, max_size=4))
def test_damaged_bytes_read_as_through_astropy(spec_bytes, scratch_file, changes):
    damaged = bytearray(spec_bytes)
    for share, value in changes:
        damaged[int(share * len(damaged))] = value
    scratch_file.write_bytes(damaged)
    assert_same_outcome(scratch_file)


def test_reading_never_changes_the_file(spec_file, tmp_path):
    copy = shutil.copy(spec_file, tmp_path / "copy.fits")
    read_arrays(copy)
    read_arrays_astropy(copy)
    assert spec_file.read_bytes() == (tmp_path / "copy.fits").read_bytes()
