"""Plots: functions that take arrays and return a `matplotlib.figure.Figure`.

They do not use pyplot or global settings, so they can be called from any thread and without a display. `DESCRIPTIONS`
has the title and the caption of each figure, by the name of its function. `aaekit.plots.draw` draws all figures of a
fitted estimator.

Samples are images of shape (n, channels, height, width) with 1 or 3 channels and values in [0, 1], or table rows of
shape (n, d), which are drawn as small curves of value over feature number. Labels `y` are integers 0 ... K - 1, or the
values in `classes`; -1 means "unlabelled".
"""

from aaekit._extras import require

require("matplotlib", extra="plots")
require("PIL", extra="plots")

from matplotlib.figure import Figure

from aaekit.plots.base import DESCRIPTIONS, Description, described, palette, save, to_png
from aaekit.plots.codes import embedding_comparison, latent_scatter, latent_tsne
from aaekit.plots.comparisons import regrets
from aaekit.plots.distributions import code_vs_prior, label_distribution
from aaekit.plots.mosaic import tile
from aaekit.plots.results import (
    auc_by_class,
    cluster_matrix,
    confident_mistakes,
    confusion_matrix,
    questions,
    roc_curves,
)
from aaekit.plots.samples import (
    code_grid,
    code_grid_points,
    domain_translation,
    first_layer_features,
    learned_modes,
    modes_and_samples,
    predicted_rows,
    reconstruction_pairs,
    roll_walk,
    sample_grid,
    style_grid,
    style_label_grid,
)
from aaekit.plots.searches import parameter_importances, parameter_scores, search_history
from aaekit.plots.training import ablation_curves, finetune_curves, learning_curves

__all__ = [
    "ablation_curves",
    "auc_by_class",
    "cluster_matrix",
    "code_grid",
    "code_grid_points",
    "code_vs_prior",
    "confident_mistakes",
    "confusion_matrix",
    "described",
    "Description",
    "DESCRIPTIONS",
    "domain_translation",
    "embedding_comparison",
    "Figure",
    "finetune_curves",
    "first_layer_features",
    "label_distribution",
    "latent_scatter",
    "latent_tsne",
    "learned_modes",
    "learning_curves",
    "modes_and_samples",
    "palette",
    "parameter_importances",
    "parameter_scores",
    "predicted_rows",
    "questions",
    "reconstruction_pairs",
    "regrets",
    "roc_curves",
    "roll_walk",
    "sample_grid",
    "save",
    "search_history",
    "style_grid",
    "style_label_grid",
    "tile",
    "to_png",
]
