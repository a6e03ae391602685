"""How an experiment is measured: for each protocol, a function that trains and notes numbers and figures of a trial."""

import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from aaekit import plots
from aaekit.active import ActiveLearner
from aaekit.core.callbacks import Callback
from aaekit.core.loop import Training
from aaekit.errors import InputError, nearest
from aaekit.estimators import AdversarialAutoencoder, PretrainedClassifier
from aaekit.evaluation import heldout, measures, metrics
from aaekit.evaluation.compare import compare
from aaekit.plots import draw
from aaekit.runs.config import estimator_of
from reproduction.judge import error_of, judge, recognised
from reproduction.outliers import outliers
from reproduction.simulation import simulation
from reproduction.trials import Trial, learning_curve

N_SAMPLES = 1000  # per class
FIGURES = ("code_grid", "latent_scatter", "modes_and_samples", "style_grid", "cluster_matrix")


# --- classifiers, clusters, and methods to compare with --------------------------------------------------------------
def held_out(trial: Trial) -> None:
    """Everything that `aae evaluate` measures on the held-out rows."""
    _evaluated(trial)


def _evaluated(trial: Trial) -> Any:
    """The trained estimator; its numbers on the held-out rows and its figures are noted."""
    estimator = trial.trained()
    numbers = measures.evaluate(estimator, trial.rows)
    trial.note(**{k: v for k, v in numbers.items() if isinstance(v, float) and k != "seconds"})
    drawn = draw.draw_all(estimator, trial.rows, trial.data.classes)
    trial.pictures |= {name: drawn[name] for name in FIGURES if name in drawn}
    return estimator


def compared(trial: Trial) -> None:
    """The same, and the errors of other methods with the same labels."""
    estimator = _evaluated(trial)
    for row in compare(trial.config, trial.data, trial.split, estimator, trial.rows):
        trial.note(**{row["name"].split(",")[0]: row["error"]})


class ErrorCurve(Callback):
    """The error on the held-out rows after every twentieth of the steps; consumes no random numbers."""

    def __init__(self) -> None:
        self.curve: list[tuple[int, float]] = []

    def step(self, training: Training) -> None:
        if training.n_done % max(1, training.settings.n_steps // 20) == 0 and training.evaluate is not None:
            training.averaged.eval()
            error = training.evaluate(training.averaged)["eval/error"]
            training.networks.train()
            self.curve.append((training.n_done, float(f"{error:.4g}")))


def ablation(trial: Trial) -> None:
    """Train each variant of the experiment and compare the errors."""
    curves = {}
    for name, replaced in trial.variants.items():
        estimator, errors = estimator_of({**trial.config, **replaced}), ErrorCurve()
        trial.fit(estimator, errors)
        curves[name] = errors.curve
        trial.numbers[f"curve {name}"] = errors.curve
        trial.note(**{f"error {name}": errors.curve[-1][1]})
        trial.note_training(estimator)
    trial.pictures["curves"] = plots.ablation_curves(curves)


def finetune(trial: Trial) -> None:
    """Fine-tune the encoders of an adversarial and of a plain autoencoder with all labels (Sheet, lecture 55)."""
    curves = {}
    parameters = {k: v for k, v in trial.config.items() if k in PretrainedClassifier().get_params(deep=False)}
    for name, adversarial in (("adversarial", True), ("plain", False)):
        estimator = PretrainedClassifier(**parameters).set_params(adversarial=adversarial)
        trial.fit(estimator)
        errors = [epoch["eval/error"] for epoch in estimator.history_]
        curves[f"{name} autoencoder"] = errors
        trial.note(**{f"{name}_first": errors[0], f"{name}_last": errors[-1]})
        trial.numbers[f"{name}_history"] = learning_curve(estimator)
        trial.note_training(estimator)
        trial.note_training(estimator.autoencoder_)
    trial.numbers["error"] = trial.numbers["adversarial_last"]
    trial.pictures["finetune_curves"] = plots.finetune_curves(
        curves,
        published={"adversarial autoencoder": [(1, 7.4), (10, 2.0)]},
        published_ranges={"plain autoencoder": (6, 7)},
    )


def active_learning(trial: Trial) -> None:
    """Query 20 labels, then three times 10 more, answered correctly; no other label is used."""
    assert trial.data.y is not None and trial.rows.y is not None
    y, start = trial.data.y[trial.split.unlabelled], time.perf_counter()
    learner = ActiveLearner(trial.X, classifier=estimator_of(trial.config), random_state=trial.seed)
    for n in (20, 10, 10, 10):
        rows = learner.query(n, trial.callbacks)
        learner.teach(rows, y[rows], trial.callbacks)
        error = metrics.error_rate(trial.rows.y, learner.predict(trial.rows.X))
        trial.note(**{f"error {len(learner.labels)}": error})
    trial.note_seconds(time.perf_counter() - start)
    trial.note_plan(learner.model)


# --- generated rows, judged by an independent classifier -------------------------------------------------------------
def components(trial: Trial) -> None:
    """Do samples of component k of the prior show class k? (Makhzani et al., section 2.3)"""
    estimator = trial.trained()
    classifier = judge(trial.config["data"], trial.config["data_dir"])
    classes = estimator.classes_
    samples = [estimator.sample(N_SAMPLES, random_state=trial.seed, label=k) for k in classes]
    shares = [
        recognised(classifier, heldout.as_samples(estimator, rows), k) for rows, k in zip(samples, classes, strict=True)
    ]
    trial.note(called=float(np.mean(shares)), called_worst=min(shares), judge_error=error_of(classifier, trial.rows))
    trial.note(**metrics.prior_fit(estimator.transform(trial.rows.subset().X), estimator.sample_prior(2000, 0)))
    drawn = draw.draw_all(estimator, trial.rows, trial.data.classes)
    trial.pictures["latent_scatter"] = drawn["latent_scatter"]
    K = len(classes)
    if estimator.prior == "swiss_roll":
        path = heldout.as_samples(estimator, estimator.walk(K * N_SAMPLES))
        trial.note(walk_called=recognised(classifier, path, np.repeat(classes, N_SAMPLES)))
        steps = heldout.as_samples(estimator, estimator.walk(100))
        trial.pictures["roll_walk"] = draw.roll_walk(estimator, steps, trial.data.classes)
    else:
        few = heldout.as_samples(estimator, np.concatenate([rows[:10] for rows in samples]))
        names = heldout.names_of(estimator, trial.data.classes)
        trial.pictures["samples_by_class"] = plots.style_grid(
            few, K, 10, names, title="Samples of each component of the prior", xlabel="draws"
        )


def independence(trial: Trial) -> None:
    """Does the style z predict the label, and does the decoder follow the label? (Makhzani et al., section 2.4)"""
    estimator = trial.trained()
    X, y = _note_style_and_label(trial, estimator)
    shared = {k: trial.config[k] for k in ("latent_dim", "backbone", "hidden", "random_state")}
    plain = AdversarialAutoencoder(
        **shared, adversarial=False, dropout=0.0, schedule="joint", learning_rate=2e-3,
        max_steps=min(1000, estimator.n_steps_),
    ).fit(trial.X)  # fmt: skip
    trial.note(plain_leak=metrics.label_leakage(plain.transform(X), y))


def separation(trial: Trial) -> None:
    """The same for a classifier from few labels, and its error (Makhzani et al., sections 2.4 and 4)."""
    _note_style_and_label(trial, _evaluated(trial))


def _note_style_and_label(trial: Trial, estimator: Any) -> tuple[np.ndarray, np.ndarray]:
    """Note how well style and label are separated; returns the rows and labels that it was measured on.

    Rows are generated with styles from the prior and with styles of real rows, each with a random label.
    """
    rows, classifier = trial.rows.subset(), judge(trial.config["data"], trial.config["data_dir"])
    assert rows.y is not None
    rng = np.random.default_rng(trial.seed)
    styles = [estimator.sample_prior(N_SAMPLES * 10, random_state=trial.seed), estimator.transform(rows.X)]
    shares = []
    for Z in styles:
        y = rng.choice(estimator.classes_, len(Z))
        shares.append(recognised(classifier, heldout.as_samples(estimator, estimator.generate(y, Z)), y))
    trial.note(
        style_leak=metrics.label_leakage(styles[1], rows.y),
        called=shares[0],
        translated_called=shares[1],
        judge_error=error_of(classifier, trial.rows),
    )
    trial.pictures["style_label_grid"] = draw.style_label_grid(estimator, trial.rows, trial.data.classes)
    return rows.X, rows.y


def domains(trial: Trial) -> None:
    """Does a digit keep its class when it is translated into the other domain? (Sheet, lecture 53)"""
    estimator = trial.trained()
    name, data_dir = trial.config["data"], trial.config["data_dir"]
    class_judge, domain_judge = judge(name, data_dir), judge(name, data_dir, "domain")
    data, right_class, right_domain = trial.data, [], []
    assert data.X_test is not None and data.y_test is not None and data.domain_test is not None
    both = trial.config["condition"] == "domain,class"
    for source, target in ((0, 1), (1, 0)):
        in_source = np.flatnonzero(data.domain_test == source)
        chosen = np.random.default_rng(trial.seed).permutation(in_source)[:2000]
        X, y = data.X_test[chosen], data.y_test[chosen]
        label: Any = np.stack([np.full(len(y), target), y], 1) if both else target
        rows = heldout.as_samples(estimator, estimator.translate(X, label))
        arrow = f"{data.domains[source]} to {data.domains[target]}"
        right_class.append(recognised(class_judge, rows, y))
        right_domain.append(recognised(domain_judge, rows, target))
        trial.note(
            **{f"identity, {arrow}": right_class[-1], f"called {data.domains[target]}, {arrow}": right_domain[-1]}
        )
        trial.pictures[arrow.replace(" ", "_")] = plots.domain_translation(
            heldout.as_samples(estimator, X[:12]), rows[:12], data.domains[source], data.domains[target]
        )
    trial.note(identity=float(np.mean(right_class)), taken_for_target=float(np.mean(right_domain)))
    test = heldout.HeldOut("test", data.X_test[:5000], data.y_test[:5000])
    trial.note(judge_error=error_of(class_judge, test))


# --- maps and likelihoods --------------------------------------------------------------------------------------------
def maps(trial: Trial) -> None:
    """The map and those of t-SNE and, if it is installed, UMAP, all of the same held-out rows."""
    from sklearn.manifold import TSNE

    estimator = trial.trained()
    rows = trial.rows.subset()
    flat = heldout.as_samples(estimator, rows.X).reshape(len(rows.X), -1)
    Z_of = {"EmbeddingAAE": estimator.transform(rows.X), "t-SNE": TSNE(random_state=trial.seed).fit_transform(flat)}
    try:
        from umap import UMAP  # pyright: ignore[reportMissingImports]
    except ImportError:
        pass
    else:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            Z_of["UMAP"] = np.asarray(UMAP(random_state=trial.seed).fit_transform(flat))
    texts = {}
    for name, Z in Z_of.items():
        quality = measures.embedding_quality(flat, Z, rows.y)
        prefix = "" if name == "EmbeddingAAE" else f"{name} "
        trial.note(**{f"{prefix}{k}": v for k, v in quality.items()})
        texts[name] = f"trustworthiness {quality['trustworthiness']:.3f}, kNN error {quality['knn_error']:.1f} %"
    trial.note(centroid_error=measures.evaluate(estimator, trial.rows)["centroid_error"])
    trial.pictures["embedding_comparison"] = plots.embedding_comparison(Z_of, rows.y, texts)


def likelihood(trial: Trial) -> None:
    """Parzen-window log-likelihood of the test rows (Makhzani et al., section 3)."""
    estimator = trial.trained()
    validation = trial.data.X[trial.split.validation]  # for the width of the window
    scores = estimator.fit_density(validation, n_samples=10_000, random_state=trial.seed).score_samples(trial.rows.X)
    trial.note(log_likelihood=float(scores.mean()), standard_error=float(scores.std() / np.sqrt(len(scores))))
    trial.note(sigma=float(estimator.sigma_))


PROTOCOLS: dict[str, Callable[[Any], None]] = {
    protocol.__name__: protocol
    for protocol in (
        held_out, compared, ablation, finetune, active_learning, components, independence, separation, domains,
        maps, likelihood, outliers, simulation,
    )
}  # fmt: skip


def find(name: str) -> Callable[[Any], None]:
    """The protocol of a name.

    Raises
    ------
    InputError
        If there is none.
    """
    if name not in PROTOCOLS:
        raise InputError(f"protocol: expected one of {', '.join(PROTOCOLS)}, got {name!r}{nearest(name, PROTOCOLS)}")
    return PROTOCOLS[name]
