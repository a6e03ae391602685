"""Is it training? What a run's own curves and codes say, as findings: evidence, meaning, and what to try first."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from aaekit.errors import InputError
from aaekit.evaluation import metrics

Severity = Literal["problem", "warning"]

# Thresholds. "Healthy" are some thirty runs on the 8x8 digits (2 to 10 dimensions of z, five divergences, three seeds
# each of the smaller ones); "planted" are runs of which one rate, weight or length was spoilt on purpose.
MIN_ROWS = 30  # codes or reconstructions: below that every measure of them is mostly noise
UNMOVED = 0.02  # range of D(real) over all epochs: planted 0.001 to 0.004, healthy 0.1 and more
CERTAIN = 0.85  # D(real), and 1 - D(fake), over the last fifth: planted 0.87 to 0.98, healthy at most 0.6
CERTAIN_LEAST_SQUARES = 0.69  # its scores aim at +1 and -1, and sigmoid(1) is 0.73
MIN_STEPS = 100  # before that a discriminator has no habits
CONSTANT = 0.1  # share of the rows' variance that is reconstructed: planted at most 0.01, healthy 0.35 and more
KILLING = 0.05  # a learning rate from which on Adam's first steps kill hidden units for good
SHIFT = 0.5  # of a dimension's mean, in spreads of the prior: healthy at most 0.26
SPREAD = 1.5  # of a dimension, times that of the prior or a part of it: healthy 0.8 to 1.25
DISTANCE = 0.2  # Kolmogorov-Smirnov, one dimension: healthy at most 0.13
FAR_DISTANCE = 0.4  # from there on it is a problem: planted 0.5 to 0.95
TOLD_APART = 0.9  # area under the curve of a forest: healthy at most 0.88, in 10 dimensions
THIN = 4.0  # times fewer codes than draws of the prior in a neighbourhood: hardly by chance, and few enough to matter
NEIGHBOURS = 10  # rows in a neighbourhood
HOLE = 0.2  # share of the prior where codes are that thin: healthy at most 0.07 (0.16 in 10 dimensions), planted 0.24
LARGE_HOLE = 0.5  # from there on it is a problem
MAX_HOLE_DIMS = 10  # in more, nearest neighbours are all about as far away
DECIDED = 0.6  # mean of the largest y of a row: healthy 0.8 and more, planted 0.4
OFF_SHARE = 2.0  # a class called that many times as often as it occurs, or as rarely
LEAK = 0.6  # of the way from chance to perfect: 2-D styles 0.35 to 0.5, where y has what it needs
LEARNT = 0.1  # cross entropy on labelled rows, in nats: 90 % sure of each
HIGH_ERROR = 10.0  # percent of held-out rows, while the labelled ones are learnt
RISE = 1.25  # times its lowest value: a held-out cross entropy that has turned
IMPROVING = 0.02  # of its value, gained over the last fifth: healthy at most 0.019, cut short 0.027 and more
IMPROVING_FALL = 0.03  # of all it has fallen: a loss near 0 falls by shares for ever, and nothing comes of it
NOISE = 4.0  # standard errors by which a curve has to have moved
AT_REST = 0.05  # factor of the rates: below that a schedule has ended, and a curve is flat because of it


@dataclass(frozen=True)
class HealthFinding:
    """Something that is wrong with a run.

    Attributes
    ----------
    name : str
        One of `NAMES`; each has a section in docs/health.md.
    severity : {"problem", "warning"}
        A problem spoils what the model is for; a warning may be what was wanted.
    evidence : str
        What was measured.
    meaning : str
        What it says about the training.
    option : str
        What to try first, for instance ``--reconstruction-weight auto (now 1e-06)``.
    """

    name: str
    severity: Severity
    evidence: str
    meaning: str
    option: str


@dataclass(frozen=True, eq=False)
class Evidence:
    """What a run left behind. Whatever is None is not looked at: silence about it then says nothing.

    Parameters
    ----------
    history : sequence of mappings
        An estimator's `history_`: losses, D(real), D(fake), rates and held-out errors, a row for each epoch.
    parameters : mapping
        The estimator's parameters, to say what an option is now.
    X, X_hat : array-like of shape (n, ...)
        Rows and their reconstructions, in one and the same scale (0 to 1, or standardised).
    z : array-like of shape (n, d)
        Codes of rows, preferably of rows held out.
    prior : array-like of shape (m, d)
        Draws of p(z). From 4 times as many as there are codes on, nothing is gained.
    y : array-like of shape (n, K)
        Probabilities of the classes or clusters of the rows that z is of.
    labels : array-like of shape (n,)
        Their true labels, by whole number in the order of the columns of y; -1 where unknown.
    class_prior : array-like of shape (K,)
        How often the classes should be called; by default as often as they are among `labels`.
    conditional : bool
        Codes are meant to tell the label: a class-conditional prior, a plain autoencoder, or no labels at all.
    clusters : bool
        y was learned without labels.

    Raises
    ------
    InputError
        If an array is not of its shape, or shapes do not fit together.
    """

    history: Sequence[Mapping[str, float]] = ()
    parameters: Mapping[str, Any] = field(default_factory=dict)
    X: Any = None
    X_hat: Any = None
    z: Any = None
    prior: Any = None
    y: Any = None
    labels: Any = None
    class_prior: Any = None
    conditional: bool = False
    clusters: bool = False

    def __post_init__(self) -> None:
        for name in ("X", "X_hat", "z", "prior", "y", "labels", "class_prior"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, _array(name, getattr(self, name)))
        for a, b, axis in (("X", "X_hat", None), ("z", "prior", 1), ("z", "y", 0), ("z", "labels", 0),
                           ("y", "labels", 0)):  # fmt: skip
            u, v = getattr(self, a), getattr(self, b)
            if u is None or v is None:
                continue
            if u.shape != v.shape if axis is None else u.shape[axis] != v.shape[axis]:
                what = {None: "shape", 0: "number of rows", 1: "number of columns"}[axis]
                raise InputError(f"expected {a} and {b} of the same {what}, got {u.shape} and {v.shape}")
        if self.y is None:
            return
        K = self.y.shape[1]
        if self.labels is not None and len(self.labels) and not -1 <= self.labels.min() <= self.labels.max() < K:
            raise InputError(f"expected labels from -1 to {K - 1}, the columns of y, got {np.unique(self.labels)[:9]}")
        if self.class_prior is not None and len(self.class_prior) != K:
            raise InputError(f"expected a class_prior of {K} numbers, one a column of y, got {len(self.class_prior)}")

    def curve(self, name: str) -> NDArray[np.float64]:
        """A column of the history, without the rows that do not have it or are not finite."""
        values = np.array([row[name] for row in self.history if name in row], dtype=np.float64)
        return values[np.isfinite(values)]

    def first_curve(self, *names: str) -> tuple[str, NDArray[np.float64]]:
        """The first of some columns that the history has."""
        found = next((n for n in names if len(self.curve(n))), "")
        return found, self.curve(found) if found else np.empty(0)


def diagnose(evidence: Evidence) -> list[HealthFinding]:
    """What is wrong with a run, problems first; nothing, if it looks as it should.

    Parameters
    ----------
    evidence : Evidence
        What the run left behind. Checks that lack theirs say nothing.

    Returns
    -------
    list of HealthFinding

    Examples
    --------
    >>> import numpy as np
    >>> prior = np.random.default_rng(0).normal(size=(2000, 2))
    >>> [finding.name for finding in diagnose(Evidence(z=prior[:500] + 3, prior=prior))]
    ['codes off the prior', 'holes in the code space']
    """
    broken = list(_not_finite(evidence))
    found = broken or [f for check in CHECKS for f in check(evidence)]
    return sorted(found, key=lambda f: f.severity != "problem")


# --- the checks ------------------------------------------------------------------------------------------------------
def _not_finite(e: Evidence) -> Iterator[HealthFinding]:
    """Losses or codes that are no numbers: nothing else can be told then."""
    bad = [name for name in (e.history[-1] if e.history else {}) if not math.isfinite(e.history[-1][name])]
    bad += [name for name in ("X", "X_hat", "z", "prior", "y") if not np.isfinite(_or_none(getattr(e, name))).all()]
    if bad:
        yield HealthFinding(
            "not finite",
            "problem",
            f"{', '.join(bad)}: infinite, or not a number",
            "A loss grew without bounds, mostly by too large a learning rate, and took the weights with it.",
            _rates(e, "learning_rate", 0.1),
        )


def _discriminator(e: Evidence) -> Iterator[HealthFinding]:
    """One that never moved though there is something to learn, or one that always wins."""
    if _kind(e) == "wasserstein":
        return  # its critic's scores have no zero: no value of sigmoid(score) means chance
    certain = CERTAIN_LEAST_SQUARES if _kind(e) == "least_squares" else CERTAIN
    for code in _codes_judged(e) if _steps(e) >= MIN_STEPS else []:
        real, fake = e.curve(f"{code}/D(real)"), e.curve(f"{code}/D(fake)")
        k = _fifth(real)
        seen = f"D of {code} gives {real[-k:].mean():.2f} to the prior and {fake[-k:].mean():.2f} to the codes"
        if _stuck(e, code):
            yield HealthFinding(
                "stuck discriminator",
                "problem",
                f"{seen}; D(real) stayed within {np.ptp(real):.3f} from the first epoch on, and yet the codes are off",
                "The discriminator has learned nothing, so the encoder is told nothing. Chance (0.5) is the wanted end "
                "only when the codes follow the prior.",
                _livelier_discriminator(e),
            )
        elif real[-k:].mean() > certain and fake[-k:].mean() < 1 - certain and len(real) >= 3:
            yield HealthFinding(
                "overpowering discriminator",
                "problem",
                f"{seen}, over the last fifth of the training",
                "It tells codes from the prior without effort: the encoder has lost the game, and the codes do not "
                "get nearer to the prior any more.",
                _weaker_discriminator(e, code),
            )


def _reconstruction(e: Evidence) -> Iterator[HealthFinding]:
    """Reconstructions that are no better than the mean row."""
    share = _explained(e)
    if share is None or share >= CONSTANT or _linearly_explained(e) < CONSTANT:
        return
    shown = "worse than the mean row" if share < 0 else f"the mean row but for {100 * share:.1f} % of the variance"
    yield HealthFinding(
        "constant reconstruction",
        "problem",
        f"the reconstructions are {shown}",
        "The decoder gives every row about the same image: the code does not tell it which. As a rule the "
        "reconstruction's loss is too weak beside the others, for instance averaged over the values of a row "
        "instead of summed.",
        _stronger_reconstruction(e),
    )


def _prior(e: Evidence) -> Iterator[HealthFinding]:
    """Codes that are not where the prior is: which dimensions, and by how much."""
    dims = _codes_off(e)
    if not dims:
        return
    auc, worst = dims[0].auc, sorted((d for d in dims if d.off), key=lambda d: -d.distance)
    told = [
        f"z{d.number + 1}: mean {d.shift:+.2f} prior spreads away, spread {d.ratio:.2f} times the prior's, "
        f"Kolmogorov-Smirnov distance {d.distance:.2f}"
        for d in worst[:3]
    ]
    more = [f"and {len(worst) - 3} more of {len(dims)} dimensions"] if len(worst) > 3 else []
    told += [*more, f"a forest tells codes from prior draws with an area under the curve of {auc:.2f} (0.5: it cannot)"]
    off = any(d.distance >= FAR_DISTANCE for d in worst) and _adversarial(e)
    yield HealthFinding(
        "codes off the prior",
        "problem" if off else "warning",
        "; ".join(told),
        "The codes of data are not spread as the prior is: rows made from draws of the prior come from places that the "
        "decoder has hardly seen. For classification alone it matters little.",
        _pull(e),
    )


def _holes(e: Evidence) -> Iterator[HealthFinding]:
    """Places where the prior has mass and codes are thin."""
    if not _enough(e.z, e.prior) or e.z.shape[1] > MAX_HOLE_DIMS:
        return
    from sklearn.neighbors import NearestNeighbors

    n, d = min(len(e.z), len(e.prior) // 2, 1000), e.z.shape[1]
    if n < 4 * MIN_ROWS:
        return
    random = np.random.default_rng(0)
    scale = e.prior.std(0).clip(1e-12)
    z, prior = (side[random.permutation(len(side))] / scale for side in (e.z, e.prior))
    near = [NearestNeighbors(n_neighbors=NEIGHBOURS).fit(points).kneighbors(prior[:n])[0][:, -1]
            for points in (z[:n], prior[n : 2 * n])]  # fmt: skip
    # that many codes lie within one radius, that many other draws within the other: densities are as 1 / radius^d
    share = float((d * np.log(near[0].clip(1e-12) / near[1].clip(1e-12)) > math.log(THIN)).mean())
    if share >= HOLE:
        yield HealthFinding(
            "holes in the code space",
            "problem" if share >= LARGE_HOLE and _adversarial(e) else "warning",
            f"around {100 * share:.0f} % of the prior's draws codes are less than a quarter as dense as they should be",
            "The decoder was hardly shown what belongs there: new rows from such draws are junk.",
            _pull(e),
        )


def _clusters(e: Evidence) -> Iterator[HealthFinding]:
    """Clusters that nothing is put into, or that take everything, or that nothing is surely in."""
    if not e.clusters or e.y is None or e.y.shape[1] < 2 or len(e.y) < 10 * e.y.shape[1]:
        return
    (n, K), use = e.y.shape, metrics.cluster_use(e.y)
    used = int(use.used.sum())
    if use.collapsed:
        yield HealthFinding(
            "collapsed clusters",
            "problem",
            f"{used} of {K} clusters are used, the largest by {100 * use.counts.max() / n:.0f} % of the rows; the "
            f"entropy of the shares is {use.entropy:.2f} of its largest value",
            "A few clusters took the rows of all others. Nothing brings rows back into a cluster that is empty, but "
            "keeping the shares even.",
            _raised(e, "balance_weight", 10.0, 3),
        )
    elif used < K:
        dead = np.flatnonzero(~use.used)
        yield HealthFinding(
            "dead clusters",
            "warning",
            f"cluster {', '.join(map(str, dead))} of {K}: less than 5 % of an even share of the rows",
            "There are more clusters than the encoder tells apart.",
            _option(e, "n_clusters", used),
        )
    if used >= 0.8 * K and _undecided(e):
        yield HealthFinding(
            "undecided clusters",
            "warning",
            f"the likeliest cluster of a row has a probability of {e.y.max(1).mean():.2f} on average",
            "Rows belong a little to many clusters. The shares look even only because each row is shared out.",
            _raised(e, "decision_weight", 0.1, 5),
        )


def _classes(e: Evidence) -> Iterator[HealthFinding]:
    """Classes that are called far too rarely or too often."""
    if e.clusters or e.y is None or len(e.y) < MIN_ROWS:
        return
    (n, K), wanted = e.y.shape, _wanted_shares(e)
    if wanted is None:
        return
    called = np.bincount(e.y.argmax(1), minlength=K) / n
    likely = np.maximum(called, wanted)
    error = np.sqrt(likely * (1 - likely) / n)
    apart = (called > OFF_SHARE * wanted) | (called < wanted / OFF_SHARE)
    off = np.flatnonzero(apart & (np.abs(called - wanted) > NOISE * error))
    if len(off):
        told = [f"class {k} is called for {100 * called[k]:.1f} % of the rows, and is {100 * wanted[k]:.1f} % of them"
                for k in off[:3]]  # fmt: skip
        off_balance = e.parameters.get("balance_weight") == 0
        labelled = e.parameters.get("class_prior") in ("auto", "labelled")
        yield HealthFinding(
            "classes off their shares",
            "warning",
            "; ".join(told),
            "Rows of a class went to a neighbouring one: with few labels of it, the boundary lies on the wrong side of "
            "a crowd of rows.",
            _option(e, "balance_weight", 10.0)
            if off_balance
            else _option(e, "class_prior", "uniform, or the true frequencies")
            if labelled
            else "--labels: more labelled rows of these classes",
        )


def _style(e: Evidence) -> Iterator[HealthFinding]:
    """A style that tells the label, which the model is told, or tells by y, besides."""
    if e.conditional or e.clusters or e.z is None or e.labels is None:
        return
    known = np.flatnonzero(e.labels != -1)
    known = known[np.random.default_rng(0).permutation(len(known))[:2000]]  # rows may be sorted by class
    counts = np.bincount(e.labels[known])
    known = known[counts[e.labels[known]] >= 5]
    if len(known) < MIN_ROWS or (counts >= 5).sum() < 2:
        return
    accuracy, chance = metrics.label_leakage(e.z[known], e.labels[known]) / 100, counts.max() / len(known)
    if (accuracy - chance) / (1 - chance) < LEAK:
        return
    yield HealthFinding(
        "style tells the label",
        "warning",
        f"a classifier guesses the label of {100 * accuracy:.0f} % of the rows from the style z alone; always guessing "
        f"the most frequent gives {100 * chance:.0f} %",
        "The class is said twice, by the label or y and by z: with one z and another label the decoder is told two "
        "things at once, and style and content do not come apart. For classification alone it does no harm.",
        _less_style(e),
    )


def _labels(e: Evidence) -> Iterator[HealthFinding]:
    """Labelled rows that are learned by heart, while held-out ones are called wrongly."""
    learnt = e.curve("classification")
    name, error = e.first_curve("validation/error", "eval/error")
    if len(learnt) < 5 or len(error) < 5 or learnt[-_fifth(learnt) :].mean() > LEARNT:
        return
    loss, last = e.curve(name.replace("error", "score")), error[-_fifth(error) :].mean()
    # only a cross entropy of its own can turn: the error of a good run goes up and down by single rows
    # and not every score is one: that of a map is its error
    own = len(loss) == len(error) and not np.array_equal(loss, error)
    turned = own and loss[-_fifth(loss) :].mean() > RISE * loss.min() and last > HIGH_ERROR / 2
    if last < HIGH_ERROR and not turned:
        return
    rise = f"; its cross entropy rose from {loss.min():.2f} to {loss[-_fifth(loss) :].mean():.2f}" if turned else ""
    yield HealthFinding(
        "labels learned by heart",
        "warning",
        f"cross entropy on the labelled rows {learnt[-_fifth(learnt) :].mean():.3f}, error on held-out rows "
        f"{last:.1f} %{rise}",
        "The labelled rows have nothing more to teach: what the encoder has learned of them does not hold for others.",
        _more_from_unlabelled(e),
    )


def _unfinished(e: Evidence) -> Iterator[HealthFinding]:
    """Curves that were still falling when the training stopped."""
    rates = e.curve("rate")
    if len(rates) and rates[-1] < AT_REST:
        return
    held_out = e.first_curve("validation/score", "eval/score")
    made = e.first_curve("validation/reconstruction", "eval/reconstruction", "reconstruction")
    falling = [(name, gain, curve) for name, curve in (held_out, made) if (gain := _gain(curve)) is not None]
    if not falling:
        return
    name, gain, curve = max(falling, key=lambda f: f[1])
    yield HealthFinding(
        "still improving",
        "warning",
        f"{name} fell by {100 * gain:.1f} % over the last fifth of the training, to {curve[-1]:.4g}",
        "It was stopped early: what is not as it should be may only not be there yet.",
        _longer(e, 2),
    )


CHECKS: tuple[Callable[[Evidence], Iterable[HealthFinding]], ...] = (
    _discriminator, _reconstruction, _prior, _holes, _clusters, _classes, _style, _labels, _unfinished,
)  # fmt: skip
NAMES = (
    "stuck discriminator", "overpowering discriminator", "constant reconstruction", "codes off the prior",
    "holes in the code space", "collapsed clusters", "dead clusters", "undecided clusters", "classes off their shares",
    "style tells the label", "labels learned by heart", "still improving", "not finite",
)  # fmt: skip


# --- measures --------------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class _Dimension:
    """One dimension of the codes beside the prior; `auc` is of all dimensions together."""

    number: int
    shift: float
    ratio: float
    distance: float
    off: bool
    auc: float


@lru_cache(1)  # several checks ask, and the forest takes a second
def _codes_off(e: Evidence) -> list[_Dimension]:
    """All dimensions of the codes, if they are off the prior; else nothing."""
    if not _enough(e.z, e.prior):
        return []
    from scipy.stats import ks_2samp

    random = np.random.default_rng(0)
    some = [side[random.permutation(len(side))[:1000]] for side in (e.z, e.prior)]
    n = min(map(len, some))
    auc = metrics.two_sample_auc(some[0][:n], some[1][:n])
    chance = NOISE * 0.41 / math.sqrt(n)  # standard error of the area under the curve at chance
    scale, found = e.prior.std(0).clip(1e-12), []
    for i in range(e.z.shape[1]):
        test: Any = ks_2samp(e.z[:, i], e.prior[:, i])
        shift = float((e.z[:, i].mean() - e.prior[:, i].mean()) / scale[i])
        ratio = float(e.z[:, i].std() / scale[i])
        sure = test.pvalue < 1e-3 / e.z.shape[1]
        off = sure and (test.statistic > DISTANCE or abs(shift) > SHIFT or not 1 / SPREAD < ratio < SPREAD)
        found.append(_Dimension(i, shift, ratio, float(test.statistic), bool(off), auc))
    return found if any(d.off for d in found) or auc > max(TOLD_APART, 0.5 + chance) else []


def _explained(e: Evidence) -> float | None:
    """Share of the rows' variance that is reconstructed."""
    if not _enough(e.X, e.X_hat):
        return None
    variance = np.square(e.X - e.X.mean(0)).sum()
    return float(1 - np.square(e.X - e.X_hat).sum() / variance) if variance > 0 else None


def _linearly_explained(e: Evidence) -> float:
    """The same by principal components of other rows, as many as z has dimensions: of noise it is nothing."""
    if e.z is None:
        return 1.0
    from sklearn.decomposition import PCA

    rows, others = e.X[::2][:500], e.X[1::2][:500]
    pca = PCA(min(e.z.shape[1], *rows.shape), random_state=0).fit(rows)
    return float(1 - np.square(others - pca.inverse_transform(pca.transform(others))).sum()
                 / np.square(others - pca.mean_).sum().clip(1e-12))  # fmt: skip


def _kind(e: Evidence) -> str:
    """The divergence, by the name it has or would have as a parameter."""
    kind = str(e.parameters.get("divergence", "gan")).lower().replace("_", "")
    return next((k for k in ("wasserstein", "least_squares") if k.replace("_", "") in kind), "gan")


def _stuck(e: Evidence, code: str) -> bool:
    """Whether a discriminator never moved, though its codes are off."""
    real = e.curve(f"{code}/D(real)")
    if len(real) < 3 or _steps(e) < MIN_STEPS or np.ptp(real) >= UNMOVED or _kind(e) == "wasserstein":
        return False
    return bool(_codes_off(e)) if code == "z" else code == "y" and _undecided(e)


def _undecided(e: Evidence) -> bool:
    """Whether rows are spread over several values of y."""
    return e.y is not None and e.y.shape[1] > 1 and len(e.y) > 0 and float(e.y.max(1).mean()) < DECIDED


def _wanted_shares(e: Evidence) -> NDArray[np.float64] | None:
    """How often each class should be called."""
    K = e.y.shape[1]
    if e.class_prior is not None:
        return e.class_prior / e.class_prior.sum()
    if e.labels is None or (e.labels == -1).any():
        return None  # the labelled ones need not be like the others
    return np.bincount(e.labels, minlength=K) / len(e.labels)


def _gain(curve: NDArray[np.float64]) -> float | None:
    """By which part of its value a curve fell over its last fifth; None unless it is more than noise and matters."""
    if len(curve) < 5:
        return None
    k = _fifth(curve, least=2)
    before, last = curve[-2 * k : -k].mean(), curve[-k:].mean()
    # second differences know nothing of a slope: what they show is noise (six times its variance)
    bends = np.diff(curve[-max(2 * k, 4) :], n=2)
    error = math.sqrt(np.square(bends).mean() / 6) * math.sqrt(2 / k)
    gain, fall = before - last, curve[0] - last
    matters = gain > IMPROVING * abs(before) and gain > IMPROVING_FALL * fall
    return float(gain / abs(before)) if matters and gain > NOISE * error else None


def _fifth(curve: NDArray[np.float64], least: int = 1) -> int:
    return max(least, len(curve) // 5)


def _enough(*sides: NDArray[np.float64] | None) -> bool:
    return all(side is not None and side.ndim == 2 and side.shape[1] > 0 and len(side) >= MIN_ROWS for side in sides)


def _or_none(array: NDArray[np.float64] | None) -> NDArray[np.float64]:
    return np.empty(0) if array is None else array


def _steps(e: Evidence) -> float:
    """Steps that were made; as many as one likes, where nothing is said of them."""
    return e.history[-1].get("step", math.inf) if e.history else 0


def _array(name: str, given: Any) -> NDArray[Any]:
    """One of the arrays of some evidence, rows `(n, d)` where it has rows."""
    array = np.asarray(given)
    if name in ("X", "X_hat"):
        array = array.reshape(len(array), int(np.prod(array.shape[1:]))) if array.ndim else array
    wanted = 1 if name in ("labels", "class_prior") else 2
    if array.ndim != wanted or array.dtype.kind not in ("iu" if name == "labels" else "biuf"):
        kind = "whole numbers" if name == "labels" else "numbers"
        shapes = {"X": "(n, ...)", "X_hat": "(n, ...)", "y": "(n, K)", "labels": "(n,)", "class_prior": "(K,)"}
        shape = shapes.get(name, "(n, d)")
        raise InputError(f"expected {name} as {kind} of shape {shape}, got {array.dtype} of shape {array.shape}")
    return array.astype(np.int64 if name == "labels" else np.float64)


def _codes_judged(e: Evidence) -> list[str]:
    """The codes that have a discriminator and some epochs behind them."""
    names = {key.removesuffix("/D(real)") for row in e.history for key in row if key.endswith("/D(real)")}
    return sorted((n for n in names if len(e.curve(f"{n}/D(real)")) and len(e.curve(f"{n}/D(fake)"))), reverse=True)


# --- options ---------------------------------------------------------------------------------------------------------
def _option(e: Evidence, name: str, value: Any) -> str:
    """An option with what to set it to, and what it is now."""
    new, now = (f"{v:.3g}" if isinstance(v, float) else str(v) for v in (value, e.parameters.get(name)))
    return f"--{name.replace('_', '-')} {new}" + (f" (now {now})" if e.parameters.get(name) is not None else "")


def _raised(e: Evidence, name: str, least: float, times: float) -> str:
    """An option, so many times what it is, but at least so much."""
    now = e.parameters.get(name)
    return _option(e, name, float(max(least, times * now)) if isinstance(now, (int, float)) else float(least))


def _rates(e: Evidence, name: str, times: float) -> str:
    """A learning rate, so many times what it is; that of classification, where it is the only one."""
    if name not in e.parameters and "classification_rate" in e.parameters:
        name = "classification_rate"
    return _option(e, name, times * e.parameters.get(name, 1e-3))


def _longer(e: Evidence, times: int) -> str:
    steps = _steps(e)
    known = 0 < steps < math.inf
    return f"--max-steps {int(times * steps)} (now {int(steps)})" if known else "--max-epochs: more of them"


def _alternates(e: Evidence) -> bool:
    """Whether each phase has its own step of Adam, which divides weights out: then rates decide."""
    return e.parameters.get("schedule") == "alternating" and _adam(e)


def _adam(e: Evidence) -> bool:
    return e.parameters.get("optimizer", "adam") == "adam"


def _adversarial(e: Evidence) -> bool:
    """Whether anything pulls the codes towards the prior."""
    return bool(e.parameters.get("adversarial", True)) and e.parameters.get("adversarial_weight", 1.0) > 0


def _improves(e: Evidence) -> bool:
    return any(_gain(e.curve(name)) is not None for name in ("reconstruction", "eval/score"))


def _pull(e: Evidence) -> str:
    """What pulls the codes nearer to the prior."""
    if not e.parameters.get("adversarial", True):
        return "--adversarial (now --no-adversarial)"
    if list(_reconstruction(e)):
        return _stronger_reconstruction(e)  # a code that need not tell anything collapses
    if _stuck(e, "z"):
        return _livelier_discriminator(e)  # nobody has pulled yet
    if not _alternates(e) or not _adversarial(e):
        return _raised(e, "adversarial_weight", 1.0, 5)
    return _longer(e, 4) if _improves(e) else _rates(e, "generator_rate", 3)


def _livelier_discriminator(e: Evidence) -> str:
    """What wakes a discriminator that does not move."""
    now = e.parameters.get("discriminator_learning_rate", 0.0)
    return _option(e, "discriminator_learning_rate", 1e-3 if now > KILLING and _adam(e) else max(1e-3, 10 * now))


def _weaker_discriminator(e: Evidence, code: str) -> str:
    """What helps the encoder against a discriminator of a code."""
    rate, own = e.parameters.get("discriminator_learning_rate", 0.0), e.parameters.get("generator_rate", 1e-3)
    if rate > 2 * own:
        return _option(e, "discriminator_learning_rate", own)
    if code == "y" and e.clusters and _undecided(e):
        return _raised(e, "decision_weight", 0.1, 5)  # what is no one-hot vector is told from one at once
    return _pull(e)


def _less_style(e: Evidence) -> str:
    """What keeps the label out of z."""
    if e.parameters.get("style_matching") == "marginal":
        return _option(e, "style_matching", "per_class")
    if e.parameters.get("style_matching") == "per_class" and e.z.shape[1] > 2:
        return _option(e, "latent_dim", max(2, e.z.shape[1] // 2))
    return _pull(e)


def _stronger_reconstruction(e: Evidence) -> str:
    """What lets the reconstruction be heard beside the other losses."""
    rate, weight = e.parameters.get("learning_rate", 1e-3), e.parameters.get("reconstruction_weight", "auto")
    if rate < 1e-5 or (rate > KILLING and _adam(e)):
        return _option(e, "learning_rate", 1e-3)
    usual, joint = 10 / e.X.shape[1], not _alternates(e)
    if joint and weight != "auto" and weight < usual:
        return _option(e, "reconstruction_weight", "auto")
    if _steps(e) < MIN_STEPS or _improves(e):
        return _longer(e, 4)
    if joint:
        return _option(e, "reconstruction_weight", 10 * (usual if weight == "auto" else weight))
    return _option(e, "learning_rate", max(1e-3, 3 * rate))


def _more_from_unlabelled(e: Evidence) -> str:
    """What lets unlabelled rows say more, or, where they say nothing, keeps to what labels can tell."""
    if "consistency" not in e.parameters:
        return "--early-stopping, or `aae train classifier`, which learns from unlabelled rows, too"
    if e.parameters["consistency"] == "none":
        return _option(e, "consistency", "auto")
    if e.parameters.get("augmentation") == "none":
        return _option(e, "augmentation", "auto")
    return "--labels: more labelled rows, as many of each class"
