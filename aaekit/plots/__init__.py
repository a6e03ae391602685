"""Every plot, one function each: arrays in, a `matplotlib.figure.Figure` out.

Nothing here touches pyplot or any global setting, so figures can be drawn from any thread and without a display.

Samples are images of shape (n, channels, height, width) with 1 or 3 channels and values in [0, 1], or tables of shape
(n, d); a row of a table is drawn as a small profile, value over feature number. Labels `y` are integers 0 ... K - 1, or
the values in `classes`; -1 means "unlabelled".
"""

from aaekit._extras import require

require("matplotlib", extra="plots")
require("PIL", extra="plots")

from matplotlib.figure import Figure

from aaekit.plots.base import palette, save, to_base64, to_png
from aaekit.plots.codes import embedding_comparison, latent_scatter, latent_tsne
from aaekit.plots.distributions import (
    code_histogram,
    code_vs_prior,
    confidence_histogram,
    label_distribution,
    predicted_label_distribution,
    real_vs_obtained,
)
from aaekit.plots.mosaic import save_mosaic, tile
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
    reconstruction_pairs,
    roll_walk,
    sample_grid,
    style_grid,
    style_label_grid,
)
from aaekit.plots.training import ablation_curves, finetune_curves, learning_curves

__all__ = [
    "ablation_curves",
    "auc_by_class",
    "cluster_matrix",
    "code_grid",
    "code_grid_points",
    "code_histogram",
    "code_vs_prior",
    "confidence_histogram",
    "confident_mistakes",
    "confusion_matrix",
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
    "predicted_label_distribution",
    "questions",
    "real_vs_obtained",
    "reconstruction_pairs",
    "roc_curves",
    "roll_walk",
    "sample_grid",
    "save",
    "save_mosaic",
    "style_grid",
    "style_label_grid",
    "tile",
    "to_base64",
    "to_png",
]
