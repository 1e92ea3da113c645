"""The inspection page at its size: bytes, time to write, time to the first spectrum and to switch, in headless Chromium.

Needs selenium, Chromium and chromedriver.  Times are taken inside the browser: the first from the start of navigation to
the first drawn spectrum, a switch from the call to the end of drawing, and from the key to the frame on the screen.

    python benchmarks/inspect_page.py SPECTRA_DIR [--spectra 1000] [--switches 200]
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from pathlib import Path

import numpy as np
from astropy.table import Table
from selenium import webdriver

from specz_cnn import read_arrays
from specz_cnn.report import write_inspection_page

PDF_STEP = 4e-4 * np.log(10)
N_BINS = 2272

SWITCH = """
const done = arguments[0];
const started = performance.now();
document.dispatchEvent(new KeyboardEvent('keydown', {key: 'j', bubbles: true}));
(function wait() {
  if (document.getElementById('work').dataset.row !== String(inspection.current.row)) return setTimeout(wait, 0);
  requestAnimationFrame(() => setTimeout(() => done([performance.now() - started, inspection.current.switchTime]), 0));
})();
"""


def rows(paths, n):
    """A results table of n rows, with spectra and probabilities, files repeated as often as needed."""
    rng = np.random.default_rng(1)
    spectra = [read_arrays(path) for path in paths[:n]]
    chosen = [spectra[i % len(spectra)] for i in range(n)]
    table = Table()
    table["file"] = [f"{i}-{Path(spectrum.file).name}" for i, spectrum in enumerate(chosen)]
    table["z"] = (
        np.nan_to_num([max(spectrum.z_pipe, 0) for spectrum in chosen]) + 1e-3 * rng.normal(size=n) ** 2
    )
    table["z_err"] = 0.001
    table["confidence"] = rng.beta(8, 1, n)
    table["snr"] = rng.uniform(0.5, 20, n)
    table["flags"] = np.where(table["confidence"] < 0.7, 1 << 24, 0)
    return table, chosen, map(pdf, table["z"])


def pdf(z):
    """A peak with wings and a floor."""
    x = (PDF_STEP * (np.arange(N_BINS) + 0.5) - np.log1p(z)) / PDF_STEP
    p = np.exp(-0.5 * (x / 1.5) ** 2) + 1e-3 / (1 + x**2)
    return p / p.sum()


def browser():
    options = webdriver.ChromeOptions()
    options.binary_location = (
        shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    )
    names = "headless=new no-sandbox disable-gpu disable-quic no-first-run disable-background-networking"
    for name in [*names.split(), "disable-component-update", "disable-sync", "window-size=1400,900"]:
        options.add_argument(f"--{name}")
    options.add_argument(f"--user-data-dir={tempfile.mkdtemp()}")
    return webdriver.Chrome(options=options, service=webdriver.ChromeService(shutil.which("chromedriver")))


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("directory", type=Path)
    parser.add_argument("--spectra", type=int, default=1000)
    parser.add_argument("--switches", type=int, default=200)
    args = parser.parse_args()
    paths = sorted(args.directory.glob("spec-*.fits"))
    with tempfile.TemporaryDirectory() as directory:
        page = Path(directory) / "inspect.html"
        table, spectra, pdfs = rows(paths, args.spectra)
        started = time.perf_counter()
        write_inspection_page(page, table, spectra, pdfs=pdfs, pdf_step=PDF_STEP)
        print(
            f"{args.spectra} spectra: {page.stat().st_size / 1e6:.2f} MB, written in {time.perf_counter() - started:.1f} s"
        )
        driver = browser()
        try:
            measure(driver, page, args.switches)
        finally:
            driver.quit()


def measure(driver, page, n_switches):
    first = []
    for _ in range(5):
        driver.get(page.as_uri())
        while (ready := driver.execute_script("return document.documentElement.dataset.ready")) is None:
            time.sleep(0.01)
        first.append(float(ready))
    print("first spectrum after " + ", ".join(f"{value:.0f}" for value in first) + " ms")
    driver.execute_script("inspection.show(0)")
    time.sleep(0.5)
    times = np.array([driver.execute_async_script(SWITCH) for _ in range(n_switches)])
    # Far jumps have nothing decoded ahead.
    jump = "const done = arguments[1]; inspection.show(arguments[0]).then(() => done(inspection.current.switchTime))"
    far = np.array(
        [driver.execute_async_script(jump, (i * 37 + 500) % len_of(driver)) for i in range(n_switches)]
    )
    for name, values in (("key to frame", times[:, 0]), ("switch", times[:, 1]), ("far jump", far)):
        median, high = np.percentile(values, (50, 95))
        print(f"{name}: median {median:.1f} ms, 95 % {high:.1f} ms, largest {values.max():.1f} ms")


def len_of(driver):
    return driver.execute_script("return inspection.page.columns.z.length")


if __name__ == "__main__":
    main()
