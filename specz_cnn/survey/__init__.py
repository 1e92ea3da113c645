"""Whole surveys: any number of files, on one machine or on a cluster, in constant memory, resumable after a kill."""

from __future__ import annotations

from specz_cnn.survey.inputs import iter_paths, read_list, table_paths
from specz_cnn.survey.lock import OutputBusy
from specz_cnn.survey.manifest import SurveyError
from specz_cnn.survey.run import fit_files, fit_survey, read_survey
from specz_cnn.survey.summary import SurveySummary

__all__ = [
    "OutputBusy",
    "SurveyError",
    "SurveySummary",
    "fit_files",
    "fit_survey",
    "iter_paths",
    "read_list",
    "read_survey",
    "table_paths",
]
