"""How good redshifts are: figures of merit against reference redshifts, and comparison with other estimates.

>>> from specz_cnn.evaluate import evaluate_results, match_results, read_labels
>>> labels = read_labels("DR16Q_v4.fits")  # doctest: +SKIP
>>> evaluation = evaluate_results(match_results("z.ecsv", labels), half="validation")  # doctest: +SKIP
>>> print(evaluation.report())  # doctest: +SKIP
"""

from __future__ import annotations

from specz_cnn.evaluate.compare import Comparison, compare, run_systems
from specz_cnn.evaluate.evaluation import Evaluation, evaluate_results
from specz_cnn.evaluate.metrics import classification_metrics, redshift_metrics
from specz_cnn.evaluate.references import match_results, read_labels
from specz_cnn.evaluate.split import split_half

__all__ = [
    "Comparison",
    "Evaluation",
    "classification_metrics",
    "compare",
    "evaluate_results",
    "match_results",
    "read_labels",
    "redshift_metrics",
    "run_systems",
    "split_half",
]
