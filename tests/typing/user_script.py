"""What a user writes in a minute; the type checker must understand it, and agree.  It is checked, not run."""

import specz_cnn
from specz_cnn.evaluate import evaluate_results, match_results, read_labels


def main() -> None:
    spectrum = specz_cnn.read_spec_lite("spec-3586-55181-0076.fits", mask="default")
    result = specz_cnn.fit_redshift_cnn(spectrum, model="rnet-e", cross_check=None)
    low, high = result.z_interval(0.95)[0]
    if result.flags & specz_cnn.RedshiftFlag.NOT_QSO:
        print(" ".join(specz_cnn.decode_flags(int(result.flags))), 299792.458 * (high - low))
    table = specz_cnn.fit_redshifts_cnn(["a.fits", "b.fits"], n_workers=2, progress=False)
    print(table["z"].max(), specz_cnn.read_arrays("a.fits").flux.sum())
    result.plot(dark=True).savefig("a.png")
    for name in specz_cnn.list_models():
        print(name.upper(), specz_cnn.models.model_info(name).z_range[0])
    print(specz_cnn.survey.fit_survey(["spectra"], "out", model="rnet-e", resume=True))
    found = specz_cnn.sdss.search_spectra(cls="QSO", z_range=(2.8, 3.0), max_rows=10)
    print([spec_id.filename.upper() for spec_id in specz_cnn.sdss.as_specids(found)])
    matched = match_results("z.ecsv", read_labels("DR16Q.fits"))
    print(evaluate_results(matched, half="validation").report().splitlines()[0])


if __name__ == "__main__":
    main()
