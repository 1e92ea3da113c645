"""The inspection page in a real browser, as an inspector uses it."""

from __future__ import annotations

import csv
import shutil
import time

import numpy as np
import pytest
from astropy.table import Table

from specz_cnn import SpectrumArrays
from specz_cnn.redshift.measure import GRID, packaged_measurement
from specz_cnn.report import read_verdicts, write_inspection_page

pytestmark = pytest.mark.browser

N_SPECTRA = 40
PDF_STEP = 0.002
REDSHIFTS = np.linspace(0.3, 4.2, N_SPECTRA)


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """A page with spectra of one broad line, every fifth of them flagged, the last without a spectrum."""
    table = Table()
    table["file"] = [f"spec-{i:04d}.fits" for i in range(N_SPECTRA)]
    table["plate"], table["mjd"] = 3586, 55181
    table["fiber"] = 1 + np.arange(N_SPECTRA)
    table["z"] = REDSHIFTS
    table["z_err"] = 0.001
    table["confidence"] = np.linspace(1, 0, N_SPECTRA)
    table["z_second"], table["p_second"] = REDSHIFTS / 2, 0.1
    table["snr"] = np.arange(N_SPECTRA) % 7 + 0.5
    table["flags"] = np.where(np.arange(N_SPECTRA) % 5 == 0, 1 << 24, 0)
    bins = PDF_STEP * (np.arange(1000) + 0.5)
    pdfs = [np.exp(-0.5 * ((bins - np.log1p(z)) / 0.003) ** 2) for z in REDSHIFTS]
    path = tmp_path_factory.mktemp("page") / "inspect.html"
    spectra = [spectrum(i, z) for i, z in enumerate(REDSHIFTS[:-1])]
    write_inspection_page(path, table, [*spectra, None], pdfs=[p / p.sum() for p in pdfs], pdf_step=PDF_STEP)
    return path


def spectrum(seed, z):
    rng = np.random.default_rng(seed)
    loglam = 1e-4 * (35500 + np.arange(4500))
    line = np.exp(-0.5 * ((10**loglam / (1549.06 * (1 + z)) - 1) / 0.01) ** 2)
    ivar = np.where((loglam > 3.75) & (loglam < 3.752), 0, 1).astype("f4")
    return SpectrumArrays(loglam, (3 + 8 * line + rng.normal(0, 1, 4500)).astype("f4"), ivar, z_pipe=z + 0.01)


@pytest.fixture(scope="module")
def downloads(tmp_path_factory):
    return tmp_path_factory.mktemp("downloads")


@pytest.fixture(scope="module")
def driver(tmp_path_factory, downloads):
    """A headless Chromium with an empty profile."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="needs selenium (the extra 'browser')")
    binary = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    service = shutil.which("chromedriver")
    if not (binary and service):
        pytest.skip("needs Chromium and chromedriver on the PATH")
    options = webdriver.ChromeOptions()
    options.binary_location = binary
    names = "headless=new no-sandbox disable-gpu disable-quic no-first-run disable-background-networking"
    for name in [*names.split(), "disable-component-update", "disable-sync", "window-size=1400,900"]:
        options.add_argument(f"--{name}")
    options.add_argument(f"--user-data-dir={tmp_path_factory.mktemp('profile')}")
    options.add_experimental_option("prefs", {"download.default_directory": str(downloads)})
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(service))
    yield driver
    driver.quit()


@pytest.fixture
def inspector(driver, page):
    """The page freshly opened, with nothing recorded."""
    driver.set_window_size(1400, 900)
    open_page(driver, page)
    driver.execute_script("localStorage.clear()")
    open_page(driver, page)
    yield driver
    assert [entry for entry in driver.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")] == []


def open_page(driver, page):
    driver.get(page.as_uri())
    wait(driver, "document.documentElement.dataset.ready")


def wait(driver, condition, seconds=20):
    """Wait until a JavaScript expression is true, and return its value."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if value := driver.execute_script(f"return {condition}"):
            return value
        time.sleep(0.02)
    raise AssertionError(f"never true: {condition}")


def press(driver, *keys):
    from selenium.webdriver.common.action_chains import ActionChains

    for key in keys:
        ActionChains(driver).send_keys(key).perform()


def element(driver, name):
    return driver.find_element("id", name)


def is_shown(driver, row):
    """Whether the page has drawn the spectrum of a row."""
    wait(
        driver, f"inspection.current.row === {row} && document.getElementById('work').dataset.row === '{row}'"
    )


def state(driver, name):
    return driver.execute_script(f"return inspection.current.{name}")


def colours_of(driver, name):
    """Number of distinct pixel values of a canvas: 1 if nothing was drawn."""
    return driver.execute_script(
        "const c = document.getElementById(arguments[0]);"
        "return new Set(new Uint32Array(c.getContext('2d').getImageData(0, 0, c.width, c.height).data.buffer)).size",
        name,
    )


def test_model_follows_the_redshift(inspector):
    """The fit in the page is that of the package, at the redshift of the slider, and goes away at a key."""
    row = 20
    inspector.execute_script(f"inspection.show({row})")
    is_shown(inspector, row)
    fits = []
    for z in (REDSHIFTS[row], REDSHIFTS[row] + 0.1):
        inspector.execute_script(f"inspection.setRedshift({z})")
        wait(inspector, f"Math.abs(inspection.current.z - {z}) < 1e-6 && inspection.current.model")
        time.sleep(0.1)
        shown = inspector.execute_script(
            "return Array.from(inspection.current.model, (v) => isNaN(v) ? null : v)"
        )
        arrays = spectrum(row, REDSHIFTS[row])
        flux, ivar = GRID.rebin(arrays.loglam, arrays.flux, arrays.ivar)
        expected = packaged_measurement().model_flux(flux, ivar, z, arrays.loglam)
        found = np.array(shown, dtype=float)[: len(expected)]
        # Native pixels here, pixels of the model grid there.
        difference = (found - expected)[np.isfinite(found) & np.isfinite(expected)]
        assert len(difference) > 4000 and difference.std() < 0.05
        fits.append(found)
    assert np.nanstd(fits[1] - fits[0]) > 0.2
    press(inspector, "o")
    wait(inspector, "inspection.current.model === null")
    press(inspector, "o")
    wait(inspector, "inspection.current.model")


def test_everything_is_drawn(inspector):
    assert element(inspector, "name").text == "3586-55181-0001"
    assert "calibrated probability" in element(inspector, "flags").text
    assert all(colours_of(inspector, name) > 3 for name in ("plot", "zoom", "pdf"))
    assert element(inspector, "count").text == "40 spectra"
    assert (
        inspector.find_element("css selector", ".row .flagged").text == "LCON"
    )  # and not LCOV, LITTLE_COVERAGE


def test_decoded_spectrum_is_the_one_that_was_written(inspector):
    flux = np.array(inspector.execute_script("return Array.from(inspection.current.spectrum.flux)"))
    error = np.array(inspector.execute_script("return Array.from(inspection.current.spectrum.error)"))
    original = spectrum(0, REDSHIFTS[0])
    good = original.ivar > 0
    assert flux.size == original.flux.size
    assert np.abs(flux - original.flux)[good].max() < 0.07
    assert np.array_equal(error > 0, good)
    pdf = inspector.execute_script("return Array.from(inspection.current.pdf)")
    assert int(np.argmax(pdf)) == pytest.approx(np.log1p(REDSHIFTS[0]) / PDF_STEP, abs=2)


def test_keys_walk_through_the_list(inspector):
    press(inspector, "j")
    is_shown(inspector, 1)
    press(inspector, "\ue015")  # arrow down
    is_shown(inspector, 2)
    press(inspector, "k")
    is_shown(inspector, 1)
    assert "no warning flag" in element(inspector, "flags").text


def test_row_without_a_spectrum_says_so(inspector):
    inspector.execute_script(f"inspection.show({N_SPECTRA - 1})")
    is_shown(inspector, N_SPECTRA - 1)
    assert "no spectrum" in element(inspector, "message").text
    press(inspector, "]", "+", "h", "j", "k")
    is_shown(inspector, N_SPECTRA - 2)
    assert not element(inspector, "message").is_displayed()


def test_filters_and_order(inspector):
    from selenium.webdriver.support.ui import Select

    Select(element(inspector, "filter-flag")).select_by_value("LOW_CONFIDENCE")
    assert element(inspector, "count").text == "8 of 40 spectra"
    element(inspector, "snr-min").send_keys("2")
    assert element(inspector, "count").text == "5 of 40 spectra"
    element(inspector, "clear-filters").click()
    assert element(inspector, "count").text == "40 spectra"
    header = inspector.find_elements("css selector", "#list-head button")[2]
    header.click()
    inspector.execute_script("document.getElementById('list').scrollTop = 0")
    wait(inspector, "document.querySelector('.row').dataset.row === '39'")
    element(inspector, "search").send_keys("55181-0007")
    assert element(inspector, "count").text == "1 of 40 spectra"


def test_steps_and_candidates_move_the_lines(inspector):
    z = REDSHIFTS[0]
    press(inspector, "\ue014")  # arrow right: 150 km/s
    assert state(inspector, "z") == pytest.approx(np.expm1(np.log1p(z) + 150 / 299792.458), abs=1e-6)
    press(inspector, ",")
    assert state(inspector, "z") == pytest.approx(np.expm1(np.log1p(z) + 135 / 299792.458), abs=1e-6)
    press(inspector, "w")
    assert state(inspector, "z") == pytest.approx(z / 2, abs=1e-6)
    press(inspector, "p")
    assert state(inspector, "z") == pytest.approx(z + 0.01, abs=1e-6)
    press(inspector, "e")
    assert state(inspector, "z") == pytest.approx(z, abs=1e-6)
    press(inspector, "x")
    assert "no such redshift" in element(inspector, "toast").text


def test_slider_and_typed_redshift(inspector):
    from selenium.webdriver.common.action_chains import ActionChains

    before = colours_snapshot(inspector)
    slider = element(inspector, "coarse")
    ActionChains(inspector).move_to_element_with_offset(slider, 100, 0).click().perform()
    moved = state(inspector, "z")
    assert moved > 1.5
    wait(inspector, f"Math.abs(Number(document.getElementById('z').value) - {moved}) < 1e-5")
    assert colours_snapshot(inspector) != before
    press(inspector, "z", *"2.345", "\ue007")
    assert state(inspector, "z") == pytest.approx(2.345)
    ActionChains(inspector).move_to_element_with_offset(element(inspector, "fine"), 40, 0).click().perform()
    assert 0 < state(inspector, "z") - 2.345 < 3.345 * 3100 / 299792


def colours_snapshot(driver):
    # The picture follows in the next frame.
    return driver.execute_async_script(
        "const done = arguments[0]; requestAnimationFrame(() => requestAnimationFrame(() =>"
        " done(document.getElementById('plot').toDataURL())));"
    )


def test_mouse_zooms_moves_the_magnifier_and_names_a_line(inspector):
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.actions.wheel_input import ScrollOrigin

    plot = element(inspector, "plot")
    ActionChains(inspector).move_to_element_with_offset(plot, 100, 0).perform()
    cursor = state(inspector, "cursor")
    assert 3548 < cursor < 10000
    assert "rest" in element(inspector, "readout").text
    full = state(inspector, "view")
    ActionChains(inspector).scroll_from_origin(ScrollOrigin.from_element(plot, 100, 0), 0, -300).perform()
    view = state(inspector, "view")
    assert view["x1"] - view["x0"] < full["x1"] - full["x0"]
    assert view["x0"] < cursor < view["x1"]
    ActionChains(inspector).double_click(plot).perform()
    assert state(inspector, "view") == full
    ActionChains(inspector).move_to_element_with_offset(plot, 100, 0).context_click().perform()
    civ = inspector.find_element("xpath", "//div[@id='line-menu']/button[starts-with(., 'CIV')]")
    civ.click()
    assert state(inspector, "z") == pytest.approx(state(inspector, "cursor") / 1549.06 - 1, rel=1e-3)


def judge_four(driver):
    """Accept, correct, reject, and a draft."""
    element(driver, "inspector").send_keys("Ann O'Néill", "\ue007")
    press(driver, "b", "2", "a")
    is_shown(driver, 1)
    press(driver, "6", "4", "5", "5", "\ue014", "c")
    is_shown(driver, 2)
    press(driver, "s", "m", *'odd, "very" odd', "\ue007", "r")
    is_shown(driver, 3)
    press(driver, "g")


def test_verdicts_export_and_read_back(inspector, downloads, tmp_path):
    judge_four(inspector)
    assert element(inspector, "progress").text == "3 of 40 inspected"
    element(inspector, "export").click()
    wait_for_file = time.monotonic() + 20
    while not (found := list(downloads.glob("verdicts*.csv"))) and time.monotonic() < wait_for_file:
        time.sleep(0.05)
    assert found[0].name == "verdicts-ann-o-néill.csv"
    assert "1 notes" in element(inspector, "toast").get_attribute("textContent")
    table = read_verdicts(found[0])
    assert table["verdict"].tolist() == ["accept", "correct", "reject"]
    assert table["class_person"].tolist() == [30, 3, 1]
    assert table["z_conf"].tolist() == [2, 3, 0]
    assert table["fiber"].tolist() == [1, 2, 3]
    assert set(table["inspector"]) == {"Ann O'Néill"}
    assert table["comment"][2] == 'odd, "very" odd'
    assert table["issues"].tolist() == ["", "sky two_objects", ""]
    assert table["z_vi"][0] == pytest.approx(REDSHIFTS[0], abs=1e-6)
    corrected = np.expm1(np.log1p(REDSHIFTS[1]) + 150 / 299792.458)
    assert table["z_vi"][1] == pytest.approx(corrected, abs=2e-6)
    assert np.isnan(table["z_vi"][2])
    with found[0].open(encoding="utf-8-sig", newline="") as stream:
        assert len(list(csv.reader(stream))) == 4
    found[0].unlink()


def test_evaluation_reads_the_verdicts(inspector, tmp_path):
    from specz_cnn.evaluate import read_labels

    judge_four(inspector)
    path = tmp_path / "verdicts.csv"
    path.write_text(inspector.execute_script("return inspection.verdictsAsCsv()"), encoding="utf-8")
    labels = read_labels(path)
    assert labels["z_true"][0] == pytest.approx(REDSHIFTS[0], abs=1e-6)
    assert labels["cls"].tolist() == ["QSO", "QSO", "STAR"]
    assert labels["bal"].tolist() == [True, False, False]
    # The rejected redshift must not come back as its own reference.
    assert np.isnan(labels["z_true"][2])


def test_work_is_recovered_when_the_page_opens_again(inspector, page):
    judge_four(inspector)
    open_page(inspector, page)
    assert element(inspector, "progress").text == "3 of 40 inspected"
    assert "3 verdicts recovered" in element(inspector, "toast").text
    assert element(inspector, "inspector").get_attribute("value") == "Ann O'Néill"
    is_shown(inspector, 3)  # where the work stopped
    pressed = inspector.find_elements("css selector", "#classes [aria-pressed=true]")
    assert [button.text.split()[0] for button in pressed] == ["galaxy"]
    press(inspector, "n")
    is_shown(inspector, 4)


def test_import_continues_elsewhere(inspector, page, tmp_path):
    judge_four(inspector)
    path = tmp_path / "verdicts.csv"
    path.write_text(inspector.execute_script("return inspection.verdictsAsCsv()"), encoding="utf-8")
    inspector.execute_script("localStorage.clear()")
    open_page(inspector, page)
    element(inspector, "import-file").send_keys(str(path))
    wait(inspector, "document.getElementById('progress').textContent.includes('3 of 40')")
    assert inspector.execute_script("return inspection.entries.get(2).comment") == 'odd, "very" odd'
    path.write_text("no verdicts\n")
    element(inspector, "import-file").send_keys(str(path))
    wait(inspector, "document.getElementById('toast').textContent.includes('not a file of verdicts')")


def test_undo_and_taking_back(inspector):
    from selenium.webdriver.common.action_chains import ActionChains

    sign(inspector)
    press(inspector, "a")
    is_shown(inspector, 1)
    ActionChains(inspector).key_down("\ue009").send_keys("z").key_up("\ue009").perform()
    is_shown(inspector, 0)
    assert element(inspector, "progress").text == "0 of 40 inspected"
    element(inspector, "advance").click()
    press(inspector, "a")
    assert element(inspector, "progress").text == "1 of 40 inspected"
    press(inspector, "\ue003")  # backspace
    assert element(inspector, "progress").text == "0 of 40 inspected"
    element(inspector, "advance").click()


def sign(driver):
    driver.execute_script("document.getElementById('inspector').value = 'Ann'")


def test_correct_without_moving_is_accept(inspector):
    sign(inspector)
    press(inspector, "c")
    assert inspector.execute_script("return inspection.entries.get(0).verdict") == "accept"


def test_accept_after_moving_takes_the_best_redshift(inspector):
    sign(inspector)
    press(inspector, "w", "a")
    assert inspector.execute_script("return inspection.entries.get(0).z_vi") == pytest.approx(REDSHIFTS[0])


def test_the_name_is_asked_for_once(inspector):
    press(inspector, "a")
    assert "name" in element(inspector, "toast").get_attribute("textContent") and state(inspector, "row") == 0
    press(inspector, *"Ann", "\ue007")
    is_shown(inspector, 1)
    assert inspector.execute_script("return inspection.entries.get(0).inspector") == "Ann"


def test_accept_asks_for_the_class_of_what_may_be_no_quasar(inspector):
    sign(inspector)
    inspector.execute_script("inspection.page.columns.p_qso[0] = 0.4")
    press(inspector, "a")
    assert "what is it?" in element(inspector, "toast").get_attribute("textContent")
    assert element(inspector, "progress").text == "0 of 40 inspected"
    press(inspector, "s")
    is_shown(inspector, 1)
    entry = inspector.execute_script("return inspection.entries.get(0)")
    assert (entry["verdict"], entry["class_person"]) == ("accept", 1)


def test_filters_and_order_are_there_after_a_reload(inspector, page):
    element(inspector, "snr-min").send_keys("2")
    inspector.find_elements("css selector", "#list-head button")[1].click()
    count = element(inspector, "count").text
    inspector.execute_script("localStorage.setItem(`specz-cnn:${inspection.page.id}:place`, '0')")
    open_page(inspector, page)
    assert element(inspector, "count").text == count != "40 spectra"
    assert element(inspector, "snr-min").get_attribute("value") == "2"
    assert "▴" in inspector.find_elements("css selector", "#list-head button")[1].text
    assert state(inspector, "row") != 0  # S/N 0.5: the filter excludes it
    element(inspector, "clear-filters").click()


def test_peaks_of_p_z_are_listed_and_p_z_is_clicked(inspector):
    from selenium.webdriver.common.action_chains import ActionChains

    (button,) = inspector.find_elements("css selector", "#solutions button")
    assert "1: 0.298" in button.text  # the middle of the bin that holds 0.3
    ActionChains(inspector).move_to_element_with_offset(element(inspector, "pdf"), 100, 0).click().perform()
    assert state(inspector, "z") > 1.5
    button.click()
    assert state(inspector, "z") == pytest.approx(REDSHIFTS[0], abs=0.01)


@pytest.mark.parametrize(("width", "height"), [(1000, 700), (1280, 720), (400, 800)])
def test_verdicts_are_on_the_screen(inspector, page, width, height):
    size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
    inspector.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    try:
        open_page(inspector, page)
        for name in ("accept", "correct", "reject"):
            box = inspector.execute_script(
                f"return document.querySelector('#verdicts .{name}').getBoundingClientRect().toJSON()"
            )
            assert 0 <= box["left"] and box["right"] <= width and 0 <= box["top"] and box["bottom"] <= height
    finally:
        inspector.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_lines_are_switched_one_by_one_for_good(inspector, page):
    press(inspector, "e")
    before = colours_snapshot(inspector)
    element(inspector, "lines-button").click()
    (box,) = inspector.find_elements("css selector", "#line-choice input[value='CIV']")
    box.click()
    assert inspector.execute_script("return [...inspection.current.hidden]") == ["CIV"]
    wait(inspector, "true")
    press(inspector, "\ue00c")
    assert not element(inspector, "line-choice").is_displayed()
    open_page(inspector, page)
    assert inspector.execute_script("return [...inspection.current.hidden]") == ["CIV"]
    inspector.find_element("css selector", "#lines-button").click()
    inspector.find_element("xpath", "//div[@id='line-choice']//button[.='none']").click()
    press(inspector, "\ue00c")
    time.sleep(0.1)
    assert colours_snapshot(inspector) != before
    assert inspector.execute_script("return inspection.current.hidden.size") > 20


def test_sky_and_telluric_bands(inspector):
    with_bands = colours_snapshot(inspector)
    press(inspector, "y")
    time.sleep(0.1)
    assert not state(inspector, "atmosphere") and colours_snapshot(inspector) != with_bands
    press(inspector, "y")
    time.sleep(0.1)
    assert colours_snapshot(inspector) == with_bands


def test_keys_do_nothing_while_typing(inspector):
    press(inspector, "m", *"jar")
    assert element(inspector, "comment").get_attribute("value") == "jar"
    assert state(inspector, "row") == 0
    assert element(inspector, "progress").text == "0 of 40 inspected"


def test_help_lists_every_key(inspector):
    press(inspector, "?")
    assert element(inspector, "keys").is_displayed()
    text = element(inspector, "key-list").text
    assert all(word in text for word in ("accept", "BAL quasar", "runner-up", "smoothing"))
    press(inspector, "j")
    assert state(inspector, "row") == 0
    press(inspector, "\ue00c")  # escape
    assert not element(inspector, "keys").is_displayed()


def test_theme_and_smoothing(inspector):
    light = inspector.execute_script("return getComputedStyle(document.body).backgroundColor")
    press(inspector, "t")
    assert inspector.execute_script("return getComputedStyle(document.body).backgroundColor") != light
    before = colours_snapshot(inspector)
    press(inspector, "+", "+")
    assert state(inspector, "smooth") == 4
    assert colours_snapshot(inspector) != before
    press(inspector, "t")


def test_narrow_window(inspector):
    inspector.set_window_size(500, 800)
    wait(inspector, "innerWidth <= 520")
    assert not element(inspector, "sidebar").is_displayed()
    element(inspector, "list-toggle").click()
    assert element(inspector, "sidebar").is_displayed()
    press(inspector, "\ue00c")
    assert not element(inspector, "sidebar").is_displayed()
    assert inspector.execute_script("return document.documentElement.scrollWidth <= innerWidth")
    accept = inspector.find_element("css selector", "#verdicts .accept")
    assert accept.rect["y"] + accept.rect["height"] <= inspector.execute_script("return innerHeight")
    assert colours_of(inspector, "plot") > 3


def test_p_z_of_a_real_page_peaks_at_its_redshift(driver, tmp_path):
    """The bins are those of the network that made the table, all the way from the command line to the screen."""
    from specz_cnn import cli, example_path

    table, page = tmp_path / "z.ecsv", tmp_path / "inspect.html"
    assert cli.main(["fit", str(example_path()), "-o", str(table)]) == 0
    assert cli.main(["inspect", str(table), "-o", str(page)]) == 0
    open_page(driver, page)
    first = driver.find_element("css selector", "#solutions button").text
    assert float(first.split()[1]) == pytest.approx(Table.read(table)["z"][0], abs=0.02)
    shares = [button.text.split()[2] for button in driver.find_elements("css selector", "#solutions button")]
    assert 0.9 < sum(float(share) for share in shares) <= 1.001
    assert driver.execute_script("return inspection.page.spectra[0].sdss") == 1
