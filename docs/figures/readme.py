"""The picture of the README, drawn by the package itself: ``python docs/figures/readme.py`` writes docs/_static/example.png."""

from pathlib import Path

import specz_cnn
from specz_cnn.results.plotting import save_figure

result = specz_cnn.fit_redshift_cnn(specz_cnn.example_path())
figure = result.plot()
figure.set_size_inches(9.5, 6)
save_figure(figure, Path(__file__).resolve().parents[1] / "_static" / "example.png", dpi=80)
