"""Rows that are unlike those of fit, by their codes and by how well they are reconstructed."""

import copy
import warnings
from collections.abc import Callable, Mapping
from functools import partial
from typing import Annotated, Any, Literal

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from pydantic import Field
from sklearn.exceptions import ConvergenceWarning
from torch import Tensor

from aaekit import divergences, losses
from aaekit.core.phase import Phase, match
from aaekit.estimators._autoencoder import Autoencoder, draw, reconstruction_score
from aaekit.estimators._building import new_coders, new_critic
from aaekit.estimators._hyperparameters import Positive, hyperparameters
from aaekit.estimators._plan import DataSummary, Plan
from aaekit.estimators._rows import in_batches, learn_rows
from aaekit.estimators._sklearn import OutlierMixin
from aaekit.nn.networks import AutoencoderNetworks
from aaekit.nn.step import EncoderStep

__all__ = ["AAEOutlierDetector"]

GENERATOR = 0.1  # weight of fooling the discriminator
MOST_USUAL = 2.0  # a judge calls no row more usual than that, else it could outweigh the alarm of another
CLIP = 1e6  # standard deviations: farther values are outliers as certainly as can be
N_TREES, N_PER_TREE = 100, 256  # of the isolation forest, as in its paper
N_REFERENCE = 20_000  # rows of fit, at most, from which the usual is learned
N_FOREST = 5000  # of them, at most, from which the rows of trees are drawn
N_NEIGHBOURS = 1000  # of them, at most, that a row may be near to
SAME = 1e-10  # squared distance of rows, relative to their squared lengths, up to which they are copies
Judge = Callable[[NDArray[Any], NDArray[np.float64], NDArray[np.float64]], NDArray[np.float64]]
MIXTURE = ("weights_", "means_", "covariances_", "precisions_cholesky_")


@hyperparameters
class AAEOutlierDetector(OutlierMixin, Autoencoder[AutoencoderNetworks]):
    """Outlier detection by an adversarial autoencoder: where a row is encoded, and how well it is reconstructed.

    The prior keeps codes together in a few dimensions, where a mixture of Gaussians can model their density. A row is
    unusual if its code is improbable, by -log p(z) under that mixture, or if its reconstruction is worse than that of
    rows with similar codes, by log |x - x'|^2 in standard deviations about its mean in that region. Raw errors are
    uninformative: a 1 has few strokes, so that its error is small whatever the training. Few rows do not say how dense
    codes are, so that the distance to the nearest training row counts, too: of images, the more the fewer there are.

    Columns of a table that are each unusual for themselves hardly show in a code. So an isolation forest (Liu et al.,
    *Isolation Forest*, 2008) is the third judge of the rows of tables, if they have at most 256 values, so that trees
    see each of them; networks, distance and forest then have the same weight. Each is measured on the training rows,
    from their median to their 99th percentile; the score is minus the weighted mean.

    It learns from rows without labels; a few outliers among them do little harm. Labels given to `fit` are not used.

    Attributes
    ----------
    offset_ : float
        Rows with a score below it are outliers: `decision_function` is `score_samples` minus this.
    plan_ : Plan
        What every "auto" stood for.
    networks_ : AutoencoderNetworks
        encoder, decoder and, for divergences that need one, z_discriminator.
    history_ : list of dict
        Losses, learning rates and times, epoch by epoch.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> X, y = load_digits(return_X_y=True)
    >>> model = AAEOutlierDetector(max_steps=30, hidden=(64,), random_state=0).fit(X[y != 0] / 16)
    >>> model.predict(X[:3] / 16).shape, model.score_samples(X[:3] / 16).shape
    ((3,), (3,))
    """

    contamination: Annotated[
        Literal["auto"] | Annotated[float, Field(gt=0, le=0.5)],
        "Score",
        Field(
            description="share of outliers among the rows of fit, which sets the threshold; 'auto' takes them to be "
            "clean, and calls a row an outlier if it is more unusual than 99 % of them"
        ),
    ] = "auto"
    n_components: Annotated[
        Positive, "Score", Field(description="Gaussians in the density of codes; fewer where there are few rows")
    ] = 30
    reconstruction_share: Annotated[
        float, "Score", Field(ge=0, le=1, description="share of the reconstruction in the score; the rest is density")
    ] = 0.2
    neighbour_share: Annotated[
        Literal["auto"] | Annotated[float, Field(ge=0, le=1)],
        "Score",
        Field(
            description="share of the distance to the nearest row of fit in the score, beside the networks; 'auto' is "
            "1/2 for tables, otherwise the part of `n_components` for which there are too few rows: 0 from 10 per "
            "dimension and Gaussian on"
        ),
    ] = "auto"
    guard: Annotated[
        bool,
        "Score",
        Field(
            description="tables of at most 256 values a row: an isolation forest learns from the same rows, and has a "
            "third of the score; false is the score without it"
        ),
    ] = True
    hidden: Annotated[
        Literal["auto"] | tuple[Positive, ...],
        "Networks",
        Field(
            description="widths of the hidden layers of encoder and decoder, in convolutional networks the channels "
            "of their layers, of which the last repeats; 'auto' is 500,500, and 32,64,64 in convolutional networks"
        ),
    ] = "auto"
    backbone = "mlp"
    latent_dim = 16
    learning_rate = 2e-3
    discriminator_learning_rate = 2e-3
    learning_rate_schedule = "cosine"
    ema_decay = 0.99

    def plan(self, data: DataSummary) -> Plan:
        """What every "auto" stands for on such data."""
        return self._planned(data, 1000, dense_widths=(500, 500))

    def networks(self, plan: Plan) -> AutoencoderNetworks:
        """Encoder, decoder and a critic of z."""
        encoder, decoder = new_coders(self, plan, self.latent_dim)
        z_discriminator = new_critic(self, self.latent_dim, plan.weight("z/generator", GENERATOR), dropout=0.2)
        return AutoencoderNetworks(encoder, decoder, z_discriminator)

    def phases(self, nets: AutoencoderNetworks, plan: Plan) -> list[Phase[EncoderStep]]:
        """Reconstruction, and regularisation of z."""
        prior = self.prior_
        return [
            Phase(
                "reconstruction",
                partial(losses.reconstruction_loss, kind=plan.reconstruction),
                (nets.encoder, nets.decoder),
                plan.weight("reconstruction", 10 / plan.data.n_values),
            ),
            *match(
                "z",
                lambda step: step.code().z,
                lambda step: draw(prior, step),
                divergences.make(self.divergence),
                nets.z_discriminator,
                (nets.encoder,),
                weight=plan.weight("z/generator", GENERATOR),
            ),
        ]

    def _learn(self, X: ArrayLike, y: ArrayLike | None) -> tuple[NDArray[Any], None]:
        rows = learn_rows(self, X)
        return rows, None

    def _score(self, nets: AutoencoderNetworks, X: Tensor, y: NDArray[np.int64] | None) -> dict[str, float]:
        return reconstruction_score(self, nets, X)

    def _finish(self, rows: NDArray[Any], y: NDArray[np.int64] | None) -> None:
        """Learn the density of codes, errors in its regions, rows to be near to, all scales, and the threshold."""
        reference = rows[np.random.default_rng(self.seed_).permutation(len(rows))[:N_REFERENCE]]
        z, e = self._codes_and_errors(reference)
        self.mixture_: dict[str, NDArray[np.float64]]
        self.errors_: NDArray[np.float64]
        self.mixture_, self.errors_ = density_of(z, e, self.n_components, self.seed_)
        neighbours = reference[:N_NEIGHBOURS]
        self.neighbours_: NDArray[Any] = neighbours.reshape(len(neighbours), -1)
        self.forest_: dict[str, NDArray[Any]] = {}
        if self.plan_.data.is_table and self.plan_.data.n_values <= N_PER_TREE:
            self.forest_ = forest_of(as_numbers(reference[:N_FOREST]), self.seed_)
        parts = novelties(self.mixture_, self.errors_, z, e)
        self.standard_: NDArray[Any] = np.array([[v.mean(), max(v.std(), 0.1)] for v in parts])
        judged = {name: judge(reference, z, e) for name, judge in self._judges().items()}
        self.usual_: NDArray[Any] = np.array([usual(scores) for scores in judged.values()])
        share = 0.01 if self.contamination == "auto" else self.contamination
        self.offset_: float = float(np.percentile(self._normality(judged), 100 * share))

    def _codes_and_errors(self, rows: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Code `(n, latent_dim)` and log squared error of the reconstruction `(n,)` of scaled rows."""
        # float32 would round by what rows are in the minibatch, and scores magnify it
        nets = copy.deepcopy(self.networks_).double()

        def encode(nets: AutoencoderNetworks, x: Tensor) -> Tensor:
            x = x.double()
            z = nets.encoder(x).z
            error = (nets.decoder.mean(z) - x).flatten(1).square().sum(1, keepdim=True)
            return torch.cat([z, torch.log(error + 1e-12)], 1)

        if rows.dtype != np.uint8:
            rows = rows.clip(-CLIP, CLIP)
        both = in_batches(nets, encode, rows).astype(np.float64)
        return both[:, :-1], both[:, -1]

    def _log_distances(self, rows: NDArray[Any]) -> NDArray[np.float64]:
        """Log distance `(n,)` of each scaled row to the nearest row of fit that is no copy of it."""
        neighbours = as_numbers(self.neighbours_)
        lengths = np.square(neighbours).sum(1)
        nearest = np.empty(len(rows))
        for k in range(0, len(rows), N_NEIGHBOURS):
            x = as_numbers(rows[k : k + N_NEIGHBOURS])
            together = np.square(x).sum(1)[:, None] + lengths
            squares = together - 2 * x @ neighbours.T
            squares = np.where(squares <= SAME * together, np.inf, squares).min(1)
            nearest[k : k + N_NEIGHBOURS] = np.where(np.isfinite(squares), squares, 0.0)
        return 0.5 * np.log(nearest + 1e-12)

    def _judges(self) -> dict[str, Judge]:
        """What says how unusual scaled rows are, of them, their codes and their log errors."""
        judges: dict[str, Judge] = {
            "networks": self._novelty,
            "neighbours": lambda rows, z, e: self._log_distances(rows),
        }
        if self.forest_:
            judges["forest"] = lambda rows, z, e: isolations(self.forest_, rows)
        return judges

    def _novelty(self, rows: NDArray[Any], z: NDArray[np.float64], e: NDArray[np.float64]) -> NDArray[np.float64]:
        """How unusual rows are for the networks, of their codes and log errors."""
        both = novelties(self.mixture_, self.errors_, z, e)
        density, error = ((v - mean) / sd for v, (mean, sd) in zip(both, self.standard_, strict=True))
        return (1 - self.reconstruction_share) * density + self.reconstruction_share * error

    def _normality(self, judged: Mapping[str, NDArray[np.float64]]) -> NDArray[np.float64]:
        """The score of rows by what their judges say of them."""
        weights, units = weights_of(self), dict(zip(self._judges(), self.usual_, strict=True))
        novelty = np.zeros(len(next(iter(judged.values()))))
        for name, scores in judged.items():
            middle, scale = units[name]
            novelty += weights[name] * np.maximum((scores - middle) / scale, -MOST_USUAL)
        return -novelty

    # --- what it can do ----------------------------------------------------------------------------------------------
    def score_samples(self, X: ArrayLike) -> NDArray[np.float64]:
        """How normal each row is, shape `(n,)`: about 0 for a row like those of fit, lower for a more unusual one."""
        rows, weights = self._rows(X), weights_of(self)
        z, e = self._codes_and_errors(rows)
        return self._normality({name: judge(rows, z, e) for name, judge in self._judges().items() if weights[name]})

    def decision_function(self, X: ArrayLike) -> NDArray[np.float64]:
        """`score_samples` minus `offset_`, shape `(n,)`: below 0 for outliers."""
        return self.score_samples(X) - self.offset_

    def predict(self, X: ArrayLike) -> NDArray[np.int64]:
        """-1 for outliers and 1 for the others, shape `(n,)`."""
        return np.where(self.decision_function(X) < 0, -1, 1)


def weights_of(detector: AAEOutlierDetector) -> dict[str, float]:
    """The weight of each judge in the score; they sum to 1."""
    near = detector.neighbour_share
    if near == "auto":
        scarcity = 1 - len(detector.mixture_["weights_"]) / detector.n_components
        near = 0.5 if detector.plan_.data.is_table else scarcity
    forest = 1 / 3 if detector.guard and detector.forest_ else 0.0
    return {"networks": (1 - forest) * (1 - near), "neighbours": (1 - forest) * near, "forest": forest}


def as_numbers(rows: NDArray[Any]) -> NDArray[np.float64]:
    """Scaled rows as flat numbers `(n, n_values)`, none of them too far away to be squared."""
    flat = rows.reshape(len(rows), -1).astype(np.float64)
    return flat / 255 if rows.dtype == np.uint8 else flat.clip(-CLIP, CLIP)


def density_of(
    z: NDArray[np.float64], e: NDArray[np.float64], n_components: int, random_state: int
) -> tuple[dict[str, NDArray[np.float64]], NDArray[np.float64]]:
    """A mixture of Gaussians over codes, and in each of them the mean and variance of the log error, `(2, K)`."""
    from sklearn.mixture import GaussianMixture

    K = max(1, min(n_components, len(z) // (10 * z.shape[1])))
    floor = 1e-3 * float(z.var(0).mean()) + 1e-9
    mixture = GaussianMixture(K, reg_covar=floor, max_iter=50, random_state=random_state)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # a density that could be a little better is enough
        mixture.fit(z)
    r = mixture.predict_proba(z)
    n = r.sum(0) + 1e-9
    mean = (e @ r + 1e-9 * e.mean()) / n
    variance = np.square(e) @ r / n - mean**2
    errors = np.stack([mean, np.maximum(variance, 0.01 * e.var()) + 1e-9])  # of equal rows it would be 0
    return {name: getattr(mixture, name) for name in MIXTURE}, errors


def novelties(
    mixture: dict[str, NDArray[np.float64]],
    errors: NDArray[np.float64],
    z: NDArray[np.float64],
    e: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """How improbable codes are, and how much worse rows are reconstructed than others with similar codes."""
    from sklearn.mixture import GaussianMixture

    density = GaussianMixture(len(mixture["weights_"]))
    for name, value in mixture.items():
        setattr(density, name, value)
    mean, variance = errors @ density.predict_proba(z).T
    return -density.score_samples(z), (e - mean) / np.sqrt(variance)


# --- the forest ------------------------------------------------------------------------------------------------------
def usual(scores: NDArray[np.float64]) -> tuple[float, float]:
    """The median of scores, and how far their 99th percentile is from it."""
    middle, high = np.percentile(scores, [50, 99])
    return float(middle), max(float(high - middle), 1e-3)


def forest_of(rows: NDArray[np.float64], random_state: int) -> dict[str, NDArray[Any]]:
    """An isolation forest as arrays `(n_trees, n_nodes)`: feature, threshold, left and right child, and depth.

    The depth of a leaf counts the mean depth of a tree on the rows that are in it; leaves are their own children.
    """
    from sklearn.ensemble import IsolationForest

    n: Any = min(N_PER_TREE, len(rows))
    forest = IsolationForest(n_estimators=N_TREES, max_samples=n, random_state=random_state)
    trees = [estimator.tree_ for estimator in forest.fit(rows).estimators_]
    shape = (len(trees), max(tree.node_count for tree in trees))
    arrays = {name: np.zeros(shape, np.int32) for name in ("feature", "left", "right")}
    arrays |= {name: np.zeros(shape, np.float32) for name in ("threshold", "depth")}
    for k, tree in enumerate(trees):
        n, itself = tree.node_count, np.arange(tree.node_count)
        is_leaf = tree.children_left < 0
        arrays["feature"][k, :n] = np.where(is_leaf, 0, tree.feature)
        arrays["threshold"][k, :n] = tree.threshold
        arrays["left"][k, :n] = np.where(is_leaf, itself, tree.children_left)
        arrays["right"][k, :n] = np.where(is_leaf, itself, tree.children_right)
        depth = np.zeros(n)
        for node in itself[~is_leaf]:  # parents come before their children
            depth[[tree.children_left[node], tree.children_right[node]]] = depth[node] + 1
        arrays["depth"][k, :n] = depth + mean_depth(tree.n_node_samples)
    return arrays


def mean_depth(n: NDArray[np.integer]) -> NDArray[np.float64]:
    """The mean depth of a random binary tree on n rows (Liu et al., equation 1)."""
    return np.where(n > 2, 2 * (np.log(np.maximum(n - 1, 1)) + np.euler_gamma) - 2 * (n - 1) / n, n == 2)


def isolations(forest: dict[str, NDArray[Any]], rows: NDArray[Any]) -> NDArray[np.float64]:
    """How early trees isolate each of the rows `(n, n_values)`: 1 for at once, 0.5 for a usual row; shape `(n,)`."""
    x, depth = rows.astype(np.float32, copy=False), np.zeros(len(rows))
    n_levels = int(np.ceil(np.log2(N_PER_TREE)))
    parts = (forest[name] for name in ("feature", "left", "right", "threshold", "depth"))
    for feature, left, right, threshold, leaf_depth in zip(*parts, strict=True):
        node = np.zeros(len(rows), np.int32)
        for _ in range(n_levels):
            is_left = x[np.arange(len(x)), feature[node]] <= threshold[node]
            node = np.where(is_left, left[node], right[node])
        depth += leaf_depth[node]
    return 2 ** -(depth / len(forest["depth"]) / float(mean_depth(np.array(N_PER_TREE))))
