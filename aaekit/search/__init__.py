"""Searches for hyper-parameters by Optuna: what is varied, what is minimised, and where trials are stored.

`space` reads what estimators declare, `scores` measures a trial without test rows, `study` proposes, prunes and stores
trials, and `page` says what comes of them.
"""

from aaekit.search.page import conclusion, value_text, write_page
from aaekit.search.scores import Measured, Score, score_of
from aaekit.search.space import Dimension, space_of, with_values
from aaekit.search.study import (
    Progress,
    TrialResult,
    best_of,
    importances,
    open_storage,
    open_study,
    results,
    run,
    shown_storage,
)

__all__ = [
    "Dimension",
    "Measured",
    "Progress",
    "Score",
    "TrialResult",
    "best_of",
    "conclusion",
    "importances",
    "open_storage",
    "open_study",
    "results",
    "run",
    "score_of",
    "shown_storage",
    "space_of",
    "value_text",
    "with_values",
    "write_page",
]
