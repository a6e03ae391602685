"""The checks: each looks for one kind of failure and yields what it finds."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping

import numpy as np

from aaekit.evaluation import metrics
from aaekit.evaluation.health import measures, remedies
from aaekit.evaluation.health.evidence import Evidence, HealthFinding, Severity
from aaekit.evaluation.health.thresholds import (
    ALIKE,
    CERTAIN,
    CERTAIN_LEAST_SQUARES,
    FAR_DISTANCE,
    HIGH_ERROR,
    HOLES,
    LARGE_HOLES,
    MAX_FREQUENCY_RATIO,
    MAX_HOLE_DIMS,
    MAX_LEAK,
    MEMORISED,
    MIN_ROWS,
    MIN_STEPS,
    N_ERRORS,
    NEIGHBOURS,
    REDUCED,
    SAME,
    SCHEDULE_ENDED,
    THIN,
    TURNED,
)


def diagnose(evidence: Evidence) -> list[HealthFinding]:
    """Diagnose a training.

    Parameters
    ----------
    evidence : Evidence
        What is known about the training; checks whose inputs are missing are skipped.

    Returns
    -------
    list of HealthFinding
        Problems first; empty if no check found anything.

    Examples
    --------
    >>> import numpy as np
    >>> prior = np.random.default_rng(0).normal(size=(2000, 2))
    >>> [finding.name for finding in diagnose(Evidence(z=prior[:500] + 3, prior=prior))]
    ['codes off the prior', 'holes in the latent space']
    """
    findings = list(not_finite(evidence)) or [finding for check in CHECKS for finding in check(evidence)]
    return sorted(findings, key=lambda finding: finding.severity != "problem")


def not_finite(e: Evidence) -> Iterator[HealthFinding]:
    """Losses or codes that are not numbers; nothing else can be measured then."""
    last = e.history[-1] if e.history else {}
    names = [name for name, value in last.items() if not math.isfinite(value)]
    names += [
        name for name in ("X", "X_hat", "z", "prior", "y")
        if (array := getattr(e, name)) is not None and not np.isfinite(array).all()
    ]  # fmt: skip
    if names:
        yield HealthFinding(
            "not finite",
            "problem",
            f"{', '.join(names)}: infinite or NaN",
            "A loss diverged, usually because the learning rate is too large, and made the weights infinite or NaN.",
            remedies.scale_rate(e, "reconstruction", 0.1),
        )


def discriminator(e: Evidence) -> Iterator[HealthFinding]:
    """A discriminator that never changed although the codes are off, or one that always wins."""
    kind = measures.divergence_kind(e)
    if kind == "wasserstein":
        return  # the scores of its critic have no zero: no value of sigmoid(score) is chance
    certain = CERTAIN_LEAST_SQUARES if kind == "least_squares" else CERTAIN
    for code in measures.judged_codes(e) if measures.n_steps(e) >= MIN_STEPS else []:
        real, fake = e.curve(f"{code}/D(real)"), e.curve(f"{code}/D(fake)")
        k = measures.last_fifth(real)
        outputs = f"D of {code} gives {real[-k:].mean():.2f} to the prior and {fake[-k:].mean():.2f} to the codes"
        if measures.is_stuck(e, code):
            yield HealthFinding(
                "stuck discriminator",
                "problem",
                f"{outputs}; D(real) varied by only {np.ptp(real):.3f} in the whole training, although the codes do "
                "not follow the prior",
                "The discriminator has learned nothing, so the encoder gets no signal from it. An output of 0.5 is the "
                "goal only if the codes follow the prior.",
                remedies.revive_discriminator(e, code),
            )
        elif real[-k:].mean() > certain and fake[-k:].mean() < 1 - certain and len(real) >= 3:
            yield HealthFinding(
                "overpowering discriminator",
                "problem",
                f"{outputs}, over the last fifth of the training",
                "The discriminator separates codes and prior without effort: the encoder has lost, and the codes no "
                "longer get closer to the prior.",
                remedies.weaken_discriminator(e, code),
            )


def images(e: Evidence) -> Iterator[HealthFinding]:
    """Images that show nothing different, or of which little is left."""
    (X,) = e.arrays("X")
    if e.image_shape is None:
        return
    if measures.has_rows(X) and (spread := measures.spread(X)) < ALIKE:
        yield HealthFinding(
            "all images look alike",
            "problem",
            f"they differ from their mean by {255 * spread:.1f} of 255 grey values, root mean square",
            "There is hardly anything to learn from: the images are blank, or nearly black, or show a small thing on a "
            "large background. Usually they were read in another way than intended, such as 16 bits as too many.",
            "look at what `aae data info` draws; if files of 16 bits are dark, bits=12 in aaekit.data.load; on the "
            "command line: --data-options bits=12",
        )
    channels, height, width = e.image_shape
    if e.original_size is not None and (before := max(e.original_size)) >= REDUCED * (now := max(height, width)):
        yield HealthFinding(
            "images much reduced",
            "warning",
            f"most images were reduced from {before} to {now} pixels a side",
            "What is smaller than a few of the original pixels is lost: texture, thin lines, small marks. If classes "
            "differ by these, no training can tell them apart.",
            remedies.enlarge_images(channels, height, width),
        )


def reconstruction(e: Evidence) -> Iterator[HealthFinding]:
    """Reconstructions that are not better than the mean row, or all the same."""
    if not measures.reconstruction_is_constant(e):
        yield from _identical(e)
        return
    explained = measures.explained_variance(e) or 0.0
    quality = "worse than the mean row" if explained < 0 else f"explain {100 * explained:.1f} % of the variance"
    yield HealthFinding(
        "constant reconstruction",
        "problem",
        f"the reconstructions {'are ' if explained < 0 else ''}{quality}",
        "The decoder returns about the same for every row: the code does not identify the row. Usually the weight of "
        "the reconstruction is too small, for instance because its loss was averaged over the values of a row instead "
        "of summed.",
        remedies.reconstruct_more(e),
    )


def _identical(e: Evidence) -> Iterator[HealthFinding]:
    """Reconstructions of images that are all the same, although those explain nothing that a code could hold."""
    X, X_hat = e.arrays("X", "X_hat")
    if e.image_shape is None or not measures.has_rows(X, X_hat) or (spread := measures.spread(X)) < ALIKE:
        return
    if (share := measures.spread(X_hat) / spread) < SAME:
        yield HealthFinding(
            "identical reconstructions",
            "warning",
            f"the reconstructions vary by {100 * share:.1f} % of what the images vary by",
            "The decoder returns the same picture for every image. The images are of a kind that so few numbers do not "
            "describe, such as fine texture or noise, or the training has not begun to learn them.",
            remedies.describe_more(e),
        )


def prior(e: Evidence) -> Iterator[HealthFinding]:
    """Codes that do not follow the prior."""
    dimensions, auc = measures.codes_off_prior(e)
    if not dimensions:
        return
    off = sorted((d for d in dimensions if d.off), key=lambda d: -d.distance)
    texts = [
        f"z{d.index + 1}: mean shifted by {d.shift:+.2f} standard deviations of the prior, standard deviation "
        f"{d.scale:.2f} times that of the prior, Kolmogorov-Smirnov distance {d.distance:.2f}"
        for d in off[:3]
    ]
    texts += [f"and {len(off) - 3} more of {len(dimensions)} dimensions"] if len(off) > 3 else []
    texts += [
        f"a forest separates codes from prior samples with an area under the ROC curve of {auc:.2f} (chance: 0.5)"
    ]
    far = any(d.distance >= FAR_DISTANCE for d in off) and measures.is_adversarial(e)
    yield HealthFinding(
        "codes off the prior",
        "problem" if far else "warning",
        "; ".join(texts),
        "The codes of data are not distributed as the prior: samples of the prior are in regions that the decoder has "
        "hardly seen. For classification alone this is harmless.",
        remedies.match_prior_more(e),
    )


def holes(e: Evidence) -> Iterator[HealthFinding]:
    """Regions of the prior with few codes."""
    z, samples = e.arrays("z", "prior")
    if not measures.has_rows(z, samples) or z.shape[1] > MAX_HOLE_DIMS:
        return
    from sklearn.neighbors import NearestNeighbors

    n, d = min(len(z), len(samples) // 2, 1000), z.shape[1]
    if n < 4 * MIN_ROWS:
        return
    random = np.random.default_rng(0)
    deviation = samples.std(0).clip(1e-12)
    z, samples = (side[random.permutation(len(side))] / deviation for side in (z, samples))
    to_codes, to_samples = (
        NearestNeighbors(n_neighbors=NEIGHBOURS).fit(points).kneighbors(samples[:n])[0][:, -1].clip(1e-12)
        for points in (z[:n], samples[n : 2 * n])
    )
    # the same number of points lie within both radii: the ratio of the densities is (radius / radius)^d
    share = float((d * np.log(to_codes / to_samples) > math.log(THIN)).mean())
    if share >= HOLES:
        yield HealthFinding(
            "holes in the latent space",
            "problem" if share >= LARGE_HOLES and measures.is_adversarial(e) else "warning",
            f"around {100 * share:.0f} % of the prior samples, codes are less than a quarter as dense as the prior",
            "The decoder was hardly trained there: rows decoded from such samples are meaningless.",
            remedies.match_prior_more(e),
        )


def clusters(e: Evidence) -> Iterator[HealthFinding]:
    """Clusters that are empty, have almost all rows, or have no row with certainty."""
    (y,) = e.arrays("y")
    if not e.clusters or y is None or y.shape[1] < 2 or len(y) < 10 * y.shape[1]:
        return
    (n, K), use = y.shape, metrics.cluster_use(y)
    n_used = int(use.used.sum())
    if use.collapsed:
        yield HealthFinding(
            "collapsed clusters",
            "problem",
            f"{n_used} of {K} clusters are used, the largest has {100 * use.counts.max() / n:.0f} % of the rows, and "
            f"the entropy of the cluster sizes is {use.entropy:.2f} of its maximum",
            "A few clusters absorbed the others. An empty cluster gets rows again only if the clusters are balanced.",
            remedies.raise_weight(e, "marginal_kl", 10.0, 3),
        )
    elif n_used < K:
        dead = np.flatnonzero(~use.used)
        yield HealthFinding(
            "dead clusters",
            "warning",
            f"cluster {', '.join(map(str, dead))} of {K}: fewer than 5 % of the rows of an average cluster",
            "There are more clusters than the encoder distinguishes.",
            remedies.set_parameter(e, "n_clusters", n_used),
        )
    if n_used >= 0.8 * K and measures.is_undecided(e):
        yield HealthFinding(
            "undecided clusters",
            "warning",
            f"the most probable cluster of a row has a probability of {y.max(1).mean():.2f} on average",
            "Rows belong to several clusters at once. The clusters look balanced only because each row is divided.",
            remedies.raise_weight(e, "conditional_entropy", 0.1, 5),
        )


def classes(e: Evidence) -> Iterator[HealthFinding]:
    """Classes that are predicted far too rarely or too often."""
    (y,) = e.arrays("y")
    if e.clusters or y is None or len(y) < MIN_ROWS or (expected := measures.expected_frequencies(e)) is None:
        return
    n, K = y.shape
    predicted = np.bincount(y.argmax(1), minlength=K) / n
    larger = np.maximum(predicted, expected)
    error = np.sqrt(larger * (1 - larger) / n)
    differ = (predicted > MAX_FREQUENCY_RATIO * expected) | (predicted < expected / MAX_FREQUENCY_RATIO)
    off = np.flatnonzero(differ & (np.abs(predicted - expected) > N_ERRORS * error))
    if len(off):
        texts = [f"class {k} is predicted for {100 * predicted[k]:.1f} % of the rows, and is {100 * expected[k]:.1f} %"
                 for k in off[:3]]  # fmt: skip
        yield HealthFinding(
            "wrong class frequencies",
            "warning",
            "; ".join(texts),
            "Rows of one class were assigned to a neighbouring one: with few labels of it, the decision boundary is on "
            "the wrong side of a dense region.",
            remedies.correct_frequencies(e),
        )


def style(e: Evidence) -> Iterator[HealthFinding]:
    """A style that contains the label, although the decoder gets the label, or y, as well."""
    z, labels = e.arrays("z", "labels")
    if e.conditional or e.clusters or z is None or labels is None:
        return
    rows = np.flatnonzero(labels != -1)
    rows = rows[np.random.default_rng(0).permutation(len(rows))[:2000]]  # they may be sorted by class
    counts = np.bincount(labels[rows])
    rows = rows[counts[labels[rows]] >= 5]
    if len(rows) < MIN_ROWS or (counts >= 5).sum() < 2:
        return
    accuracy, chance = metrics.label_leakage(z[rows], labels[rows]) / 100, counts.max() / len(rows)
    if (accuracy - chance) / (1 - chance) < MAX_LEAK:
        return
    yield HealthFinding(
        "style predicts the label",
        "warning",
        f"a classifier predicts the label of {100 * accuracy:.0f} % of the rows correctly from the style z alone; the "
        f"most frequent class is {100 * chance:.0f} % of the rows",
        "The class is represented twice, by the label or y and by z: with the same z and another label, the decoder "
        "gets contradictory information, and style and content are not separated. For classification alone this is "
        "harmless.",
        remedies.remove_label_from_style(e),
    )


def labels(e: Evidence) -> Iterator[HealthFinding]:
    """Labelled rows that are memorised, while held-out rows are misclassified."""
    train = e.curve("classification")
    name, error = e.first_curve("validation/error", "eval/error")
    if len(train) < 5 or len(error) < 5 or train[-measures.last_fifth(train) :].mean() > MEMORISED:
        return
    loss, final = e.curve(name.replace("error", "score")), error[-measures.last_fifth(error) :].mean()
    # only a cross entropy can turn: errors fluctuate by single rows, and the score of a map is its error
    is_cross_entropy = len(loss) == len(error) and not np.array_equal(loss, error)
    turned = is_cross_entropy and loss[-measures.last_fifth(loss) :].mean() > TURNED * loss.min()
    turned = turned and final > HIGH_ERROR / 2
    if final < HIGH_ERROR and not turned:
        return
    rise = f"; its cross entropy rose from {loss.min():.2f} to {loss[-measures.last_fifth(loss) :].mean():.2f}"
    yield HealthFinding(
        "memorised labels",
        "warning",
        f"cross entropy on the labelled rows {train[-measures.last_fifth(train) :].mean():.3f}, error on held-out rows "
        f"{final:.1f} %{rise if turned else ''}",
        "The encoder fits the labelled rows, but does not generalise to others.",
        remedies.learn_from_unlabelled(e),
    )


def simple_methods(e: Evidence) -> Iterator[HealthFinding]:
    """A simple method that is as good, from the labelled rows alone or at all."""
    yield from list(_nothing_gained(e)) or _no_better(e)


def _nothing_gained(e: Evidence) -> Iterator[HealthFinding]:
    """A simple method that is as good from the labelled rows alone."""
    y, labels = e.arrays("y", "labels")
    if not e.simple_errors or y is None or labels is None or (labels >= 0).sum() < MIN_ROWS:
        return
    own = 100 * float((y.argmax(1) != labels)[labels >= 0].mean())
    if (best := _as_good(own, e.simple_errors, (labels >= 0).sum())) is None:
        return
    name, simple, noise, severity = best
    yield HealthFinding(
        "nothing gained by unlabelled rows",
        severity,
        f"error on held-out rows {own:.1f} %, of a {name} from the labelled rows alone {simple:.1f} %; the difference "
        f"has a standard error of {noise:.1f} points",
        f"The {name} is as good or better and takes a second: the classes are not groups of similar rows here, or the "
        "labels say enough.",
        remedies.learn_from_teachers(e),
    )


def _no_better(e: Evidence) -> Iterator[HealthFinding]:
    """Another method that is as good."""
    if e.comparison is None or not e.comparison.others or (n := e.comparison.n) < MIN_ROWS:
        return
    own = e.comparison.error
    if (best := _as_good(own, e.comparison.others, n)) is None:
        return
    name, other, noise, severity = best
    yield HealthFinding(
        "no better than the baseline",
        severity,
        f"error on {n} {e.comparison.rows} {own:.1f} %, of {name} {other:.1f} %; the difference has a standard error "
        f"of {noise:.1f} points",
        f"The method {name} is as good or better with the same labels, and simpler. What this training adds to it does "
        "not help here.",
        remedies.beat_simple_methods(e),
    )


def _as_good(own: float, others: Mapping[str, float], n: int) -> tuple[str, float, float, Severity] | None:
    """The best of other errors on n rows with its name, the standard error of the difference, and how severe it is.

    None if the own error is lower by more than the standard error.
    """
    name, other = min(others.items(), key=lambda item: item[1])
    noise = measures.error_of_difference(own, other, n)
    if own < other - noise:
        return None
    return name, other, noise, "problem" if own > other + 2 * noise else "warning"


def unfinished(e: Evidence) -> Iterator[HealthFinding]:
    """Curves that were still decreasing at the end of the training."""
    rates = e.curve("learning_rate")
    if len(rates) and rates[-1] < SCHEDULE_ENDED:
        return
    score = e.first_curve("validation/score", "eval/score")
    error = e.first_curve("validation/reconstruction", "eval/reconstruction", "reconstruction")
    falling = [(name, gain, curve) for name, curve in (score, error) if (gain := measures.relative_gain(curve))]
    if not falling:
        return
    name, gain, curve = max(falling, key=lambda f: f[1])
    yield HealthFinding(
        "still improving",
        "warning",
        f"{name} decreased by {100 * gain:.1f} % over the last fifth of the training, to {curve[-1]:.4g}",
        "The training ended too early: other findings may disappear with more steps.",
        remedies.train_longer(e, 2),
    )


CHECKS: tuple[Callable[[Evidence], Iterable[HealthFinding]], ...] = (
    images, discriminator, reconstruction, prior, holes, clusters, classes, style, labels, simple_methods, unfinished,
)  # fmt: skip
