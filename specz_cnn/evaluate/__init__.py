"""How good redshifts are: figures of merit against reference redshifts, and comparison with other estimates.

>>> from specz_cnn.evaluate import evaluate, match_results, read_labels
>>> labels = read_labels("DR16Q_v4.fits")  # doctest: +SKIP
>>> evaluation = evaluate(match_results("z.ecsv", labels), half="validation")  # doctest: +SKIP
>>> print(evaluation.report())  # doctest: +SKIP
"""

from __future__ import annotations

from specz_cnn.evaluate.catalogue import (
    CLASS_PERSON,
    ESTIMATORS,
    LABEL_COLUMNS,
    match_results,
    read_labels,
    read_table,
)
from specz_cnn.evaluate.compare import PUBLISHED, Comparison, compare, run_systems
from specz_cnn.evaluate.metrics import (
    NZ_WIDTH,
    REDSHIFT_BINS,
    SNR_BINS,
    VELOCITY_LIMITS,
    binomial_interval,
    classification_metrics,
    completeness_purity,
    group_weights,
    redshift_metrics,
)
from specz_cnn.evaluate.probability import (
    COVERAGE_LEVELS,
    coverage,
    credible_level_from_interval,
    credible_level_from_pdf,
    pit_from_interval,
    pit_from_pdf,
    pull_metrics,
    reliability,
    uniformity,
)
from specz_cnn.evaluate.split import HALVES, groups_from_positions, split_half
from specz_cnn.evaluate.summary import Evaluation, evaluate
from specz_cnn.velocity import (
    ONE_SIGMA,
    OUTLIER_VELOCITY,
    SPEED_OF_LIGHT,
    nmad,
    velocity_difference,
    weighted_quantile,
)

__all__ = [
    "CLASS_PERSON",
    "COVERAGE_LEVELS",
    "ESTIMATORS",
    "HALVES",
    "LABEL_COLUMNS",
    "NZ_WIDTH",
    "ONE_SIGMA",
    "OUTLIER_VELOCITY",
    "PUBLISHED",
    "REDSHIFT_BINS",
    "SNR_BINS",
    "SPEED_OF_LIGHT",
    "VELOCITY_LIMITS",
    "Comparison",
    "Evaluation",
    "binomial_interval",
    "classification_metrics",
    "compare",
    "completeness_purity",
    "coverage",
    "credible_level_from_interval",
    "credible_level_from_pdf",
    "evaluate",
    "group_weights",
    "groups_from_positions",
    "match_results",
    "nmad",
    "pit_from_interval",
    "pit_from_pdf",
    "pull_metrics",
    "read_labels",
    "read_table",
    "redshift_metrics",
    "reliability",
    "run_systems",
    "split_half",
    "uniformity",
    "velocity_difference",
    "weighted_quantile",
]
