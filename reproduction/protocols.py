"""How an experiment is measured: by name, what is trained, and which numbers and pictures come of it."""

import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from sklearn.exceptions import ConvergenceWarning
from torch import Tensor
from torch.nn import functional as F

from aaekit import augment, plots
from aaekit.active import ActiveLearner
from aaekit.core.checkpoints import Checkpoints
from aaekit.core.callbacks import Callback
from aaekit.core.loop import Training
from aaekit.data import Dataset, Split
from aaekit.errors import InputError
from aaekit.estimators import AdversarialAutoencoder, PretrainedClassifier, SupervisedBaseline
from aaekit.evaluation import compare as evaluation
from aaekit.evaluation import heldout, metrics
from aaekit.evaluation.heldout import HeldOut
from aaekit.plots import draw
from aaekit.runs import run as runs
from reproduction.outliers import outliers
from reproduction.simulation import simulation
from reproduction.trials import TrialResults

N_SAMPLES = 1000  # of each class


@dataclass
class Trial(TrialResults):
    """One seed of an experiment: its data, and what was found; `unfinished` is where its checkpoints go."""

    config: Mapping[str, Any]
    callbacks: Sequence[Callback]
    variants: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    unfinished: Path | None = None
    numbers: dict[str, Any] = field(default_factory=dict)
    pictures: dict[str, Figure] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.data: Dataset = runs.load_data(self.config)
        self.split: Split = runs.split_of(self.config, self.data)
        self.rows: HeldOut = runs.held_out(self.config, self.data, self.split)
        y = None if self.data.y is None else self.split.masked(self.data.y)
        y = runs.targets(self.config, y, self.data.domain)
        self.X, self.y = self.data.X[self.split.unlabelled], None if y is None else y[self.split.unlabelled]

    @property
    def seed(self) -> int:
        """Of everything random."""
        return self.config["random_state"]

    def fit(self, estimator: Any, *callbacks: Callback) -> Any:
        """Train, scoring the held-out rows each epoch for the curve: nothing is trained, chosen or stopped by them."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # the numbers tell of unused clusters
            return estimator.fit(
                self.X, self.y, eval_set=(self.rows.X, self.rows.y), callbacks=[*callbacks, *self.callbacks]
            )

    def trained(self) -> Any:
        """The estimator of the configuration, trained, or trained on, its times and curve noted."""
        kept = [] if self.unfinished is None else [Checkpoints(self.unfinished)]
        estimator = self.fit(runs.estimator_of(self.config), *kept)
        self.spent(estimator.training_seconds_, estimator.n_steps_)
        self.numbers["history"] = curve(estimator)
        return estimator


def curve(estimator: Any, at_most: int = 100) -> list[dict[str, float]]:
    """A training's history, to four digits: all epochs, or of very many evenly chosen ones and the last."""
    rows = estimator.history_
    chosen = np.unique(np.linspace(0, len(rows) - 1, at_most).round().astype(int))
    return [{k: float(f"{v:.4g}") for k, v in rows[i].items()} for i in chosen]


class Watch(Callback):
    """The error on the held-out rows after every twentieth of the steps: draws nothing of the training's numbers."""

    def __init__(self) -> None:
        self.curve: list[tuple[int, float]] = []

    def step(self, training: Training) -> None:
        if training.n_done % max(1, training.settings.n_steps // 20) == 0 and training.evaluate is not None:
            training.averaged.eval()
            found = training.evaluate(training.averaged)["eval/error"]
            training.networks.train()
            self.curve.append((training.n_done, float(f"{found:.4g}")))


class Blurred:
    """Small warps, then blur and fading of random strength: decoders give the mean of what a code can stand for."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.warp = augment.make("affine", shape)

    def __call__(self, x: Tensor) -> Tensor:
        x, n = self.warp(x), len(x)
        at = torch.arange(-4, 5, device=x.device)
        width = 0.02 + 2 * torch.rand(n, 1, device=x.device) * (torch.rand(n, 1, device=x.device) < 0.7)
        kernel = (-0.5 * (at / width) ** 2).exp()
        kernel = (kernel / kernel.sum(1, keepdim=True)).repeat_interleave(x.shape[1], 0)[:, None]
        images = x.flatten(0, 1)[None]
        images = F.conv2d(images, kernel[..., None], padding=(4, 0), groups=images.shape[1])
        images = F.conv2d(images, kernel[..., None, :], padding=(0, 4), groups=images.shape[1])
        return images.view_as(x) * (0.4 + 0.6 * torch.rand(n, 1, 1, 1, device=x.device))


@cache
def judge(data: str, data_dir: str | None, labels: str = "class") -> SupervisedBaseline:
    """An independent classifier, trained on all training labels of a set, that says what a made row shows.

    It has seen blurred and faded rows, too. `labels` may be "domain": then it says which of the joined sets a row is
    from, and has seen none.
    """
    config = runs.completed("baseline", {"data": data, "data_dir": data_dir})
    found = runs.load_data(config)
    y, vary = (found.y, Blurred(found.X.shape[1:])) if labels == "class" else (found.domain, "affine")
    return SupervisedBaseline(augmentation=vary, max_steps=2500, random_state=1000).fit(found.X, y)


def called(judge: SupervisedBaseline, rows: np.ndarray, labels: Any) -> float:
    """Percent of rows, images with values in [0, 1], that the judge calls by their label."""
    return 100 - metrics.error_rate(np.broadcast_to(labels, len(rows)), judge.predict(heldout.fitting(judge, rows)))


# --- one function for each protocol -----------------------------------------------------------------------------------
def held_out(trial: Trial) -> None:
    """What can be said of the estimator by the held-out rows."""
    _judged(trial)


def compared(trial: Trial) -> None:
    """The same, and other methods with the same labels."""
    estimator = _judged(trial)
    for row in evaluation.compare(trial.config, trial.data, trial.split, estimator, trial.rows):
        trial.note(**{row["name"].split(",")[0]: row["error"]})


def ablation(trial: Trial) -> None:
    """One thing changed at a time: the error after every twentieth of the steps."""
    curves = {}
    for name, changed in trial.variants.items():
        estimator, watch = runs.estimator_of({**trial.config, **changed}), Watch()
        trial.fit(estimator, watch)
        curves[name] = watch.curve
        trial.numbers[f"curve {name}"] = watch.curve
        trial.note(**{f"error {name}": watch.curve[-1][1]})
        trial.spent(estimator.training_seconds_, estimator.n_steps_)
    trial.pictures["curves"] = plots.ablation_curves(curves)


def _judged(trial: Trial) -> Any:
    estimator = trial.trained()
    found = evaluation.evaluate(estimator, trial.rows)
    plain = {k: v for k, v in found.items() if isinstance(v, float) and k != "seconds"}
    trial.note(**plain)
    drawn = draw.draw_all(estimator, trial.rows, trial.data.classes)
    for name in ("code_grid", "latent_scatter", "modes_and_samples", "style_grid", "cluster_matrix"):
        if name in drawn:
            trial.pictures[name] = drawn[name][1]
    return estimator


def components(trial: Trial) -> None:
    """Do samples of component k show class k? (S5; Makhzani et al., section 2.3)"""
    estimator = trial.trained()
    wise = judge(trial.config["data"], trial.config["data_dir"])
    classes = estimator.classes_
    made = [estimator.sample(N_SAMPLES, random_state=trial.seed, label=k) for k in classes]
    shares = [called(wise, heldout.pictures(estimator, rows), k) for rows, k in zip(made, classes, strict=True)]
    trial.note(called=float(np.mean(shares)), called_worst=min(shares), judge_error=_judge_error(wise, trial.rows))
    trial.note(**metrics.prior_fit(estimator.transform(trial.rows.some().X), estimator.sample_prior(2000, 0)))
    drawn = draw.draw_all(estimator, trial.rows, trial.data.classes)
    trial.pictures["latent_scatter"] = drawn["latent_scatter"][1]
    K = len(estimator.classes_)
    if estimator.prior == "swiss_roll":
        path = heldout.pictures(estimator, estimator.walk(K * N_SAMPLES))
        trial.note(walk_called=called(wise, path, np.repeat(estimator.classes_, N_SAMPLES)))
        steps = heldout.pictures(estimator, estimator.walk(100))
        trial.pictures["roll_walk"] = draw.walk(estimator, steps, trial.data.classes)
    else:
        few = heldout.pictures(estimator, np.concatenate([rows[:10] for rows in made]))
        names = heldout.names_of(estimator, trial.data.classes)
        trial.pictures["samples_by_class"] = plots.style_grid(
            few, K, 10, names, title="Samples of each petal of the prior", xlabel="draws"
        )


def _judge_error(wise: SupervisedBaseline, rows: HeldOut) -> float:
    assert rows.y is not None
    return metrics.error_rate(rows.y, wise.predict(heldout.fitting(wise, rows.X)))


def independence(trial: Trial) -> None:
    """Does z tell the label, and does the decoder obey it? (S6; Makhzani et al., section 2.4)"""
    estimator = trial.trained()
    X, y = _obeyed(trial, estimator, estimator.generate)
    shared = {k: trial.config[k] for k in ("latent_dim", "backbone", "hidden", "channels", "random_state")}
    plain = AdversarialAutoencoder(
        **shared, adversarial=False, dropout=0.0, schedule="joint", learning_rate=2e-3,
        max_steps=min(1000, estimator.n_steps_),
    ).fit(trial.X)  # fmt: skip
    trial.note(plain_leak=metrics.label_leakage(plain.transform(X), y))


def separation(trial: Trial) -> None:
    """The same of a classifier from few labels, and its error (S8; Makhzani et al., sections 2.4 and 4)"""
    estimator = _judged(trial)
    _obeyed(trial, estimator, lambda Z, labels: estimator.generate(labels, Z))


def _obeyed(trial: Trial, estimator: Any, make: Callable[[Any, Any], np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Note how well style and label are apart; `make` gives rows of styles and labels. The rows and labels asked of.

    What is made of drawn and of real styles, with a label at random, is called by an independent judge.
    """
    some, wise = trial.rows.some(), judge(trial.config["data"], trial.config["data_dir"])
    assert some.y is not None
    random = np.random.default_rng(trial.seed)
    drawn, real = estimator.sample_prior(N_SAMPLES * 10, random_state=trial.seed), estimator.transform(some.X)
    labels = [random.choice(estimator.classes_, len(Z)) for Z in (drawn, real)]
    shares = [
        called(wise, heldout.pictures(estimator, make(Z, wanted)), wanted)
        for Z, wanted in zip((drawn, real), labels, strict=True)
    ]
    trial.note(
        style_leak=metrics.label_leakage(real, some.y),
        called=shares[0],
        translated_called=shares[1],
        judge_error=_judge_error(wise, trial.rows),
    )
    trial.pictures["style_label_grid"] = draw.styles(estimator, trial.rows, trial.data.classes)
    return some.X, some.y


def domains(trial: Trial) -> None:
    """Does a digit stay what it is when it is translated into the other domain? (S6; Sheet, lecture 53)"""
    estimator = trial.trained()
    name, place = trial.config["data"], trial.config["data_dir"]
    content, origin = judge(name, place), judge(name, place, "domain")
    data, kept, taken = trial.data, [], []
    assert data.X_test is not None and data.y_test is not None and data.domain_test is not None
    both = trial.config["condition"] == "domain,class"
    for source, target in ((0, 1), (1, 0)):
        of_source = np.flatnonzero(data.domain_test == source)
        chosen = np.random.default_rng(trial.seed).permutation(of_source)[:2000]
        X, y = data.X_test[chosen], data.y_test[chosen]
        label: Any = np.stack([np.full(len(y), target), y], 1) if both else target
        rows = heldout.pictures(estimator, estimator.translate(X, label))
        right = content.predict(heldout.fitting(content, rows)) == y
        arrow = f"{data.domains[source]} to {data.domains[target]}"
        kept.append(100 * float(right.mean()))
        taken.append(called(origin, rows, target))
        trial.note(**{f"identity, {arrow}": kept[-1], f"called {data.domains[target]}, {arrow}": taken[-1]})
        trial.pictures[arrow.replace(" ", "_")] = plots.domain_translation(
            heldout.pictures(estimator, X[:12]), rows[:12], data.domains[source], data.domains[target]
        )
    trial.note(identity=float(np.mean(kept)), taken_for_target=float(np.mean(taken)))
    seen = data.X_test[:5000]
    trial.note(judge_error=metrics.error_rate(data.y_test[:5000], content.predict(heldout.fitting(content, seen))))


def finetune(trial: Trial) -> None:
    """The encoder of an adversarial and of a plain autoencoder, fine-tuned with all labels (S4; Sheet, lecture 55)."""
    curves = {}
    for name, adversarial in (("adversarial", True), ("plain", False)):
        estimator = PretrainedClassifier(
            **{k: v for k, v in trial.config.items() if k in runs.options_of("pretrained") and k in _parameters()},
        ).set_params(adversarial=adversarial)
        trial.fit(estimator)
        errors = [row["eval/error"] for row in estimator.history_]
        curves[f"{name} autoencoder"] = errors
        trial.note(**{f"{name}_first": errors[0], f"{name}_last": errors[-1]})
        trial.numbers[f"{name}_history"] = curve(estimator)
        for trained in (estimator.autoencoder_, estimator):
            trial.spent(trained.training_seconds_, trained.n_steps_)
    trial.numbers["error"] = trial.numbers["adversarial_last"]
    trial.pictures["finetune_curves"] = plots.finetune_curves(
        curves,
        published={"adversarial autoencoder": [(1, 7.4), (10, 2.0)]},
        published_ranges={"plain autoencoder": (6, 7)},
    )


def _parameters() -> set[str]:
    from aaekit.estimators._hyperparameters import hyperparameters_of

    return set(hyperparameters_of(PretrainedClassifier))


def maps(trial: Trial) -> None:
    """The map beside those of UMAP (if it is installed) and t-SNE, all of the same held-out rows (S11)."""
    from sklearn.manifold import TSNE

    estimator = trial.trained()
    rows = trial.rows.some()
    flat = heldout.pictures(estimator, rows.X).reshape(len(rows.X), -1)
    found = {"EmbeddingAAE": estimator.transform(rows.X), "t-SNE": TSNE(random_state=trial.seed).fit_transform(flat)}
    try:
        from umap import UMAP  # pyright: ignore[reportMissingImports]
    except ImportError:
        pass
    else:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found["UMAP"] = np.asarray(UMAP(random_state=trial.seed).fit_transform(flat))
    texts = {}
    for name, Z in found.items():
        quality = evaluation.embedding_quality(flat, Z, rows.y)
        prefix = "" if name == "EmbeddingAAE" else f"{name} "
        trial.note(**{f"{prefix}{k}": v for k, v in quality.items()})
        texts[name] = f"trustworthiness {quality['trustworthiness']:.3f}, kNN error {quality['knn_error']:.1f} %"
    trial.note(head_error=evaluation.evaluate(estimator, trial.rows)["head_error"])
    trial.pictures["embedding_comparison"] = plots.embedding_comparison(found, rows.y, texts)


def likelihood(trial: Trial) -> None:
    """Parzen-window log-likelihood of the test rows (S12; Makhzani et al., section 3)."""
    estimator = trial.trained()
    apart = trial.data.X[trial.split.validation]  # for the width of the window; they trained nothing
    scores = estimator.fit_density(apart, n_samples=10_000, random_state=trial.seed).score_samples(trial.rows.X)
    trial.note(log_likelihood=float(scores.mean()), standard_error=float(scores.std() / np.sqrt(len(scores))))
    trial.note(sigma=float(estimator.sigma_))


def labelling(trial: Trial) -> None:
    """Twenty labels that were asked for, then three times ten more; answered truly. No label else is looked at."""
    assert trial.data.y is not None and trial.rows.y is not None
    answers, began = trial.data.y[trial.split.unlabelled], time.perf_counter()
    session = ActiveLearner(trial.X, classifier=runs.estimator_of(trial.config), random_state=trial.seed)
    for n in (20, 10, 10, 10):
        rows = session.ask(n, trial.callbacks)
        session.tell(rows, answers[rows], trial.callbacks)
        error = metrics.error_rate(trial.rows.y, session.predict(trial.rows.X))
        trial.note(**{f"error {len(session.labels)}": error})
    trial.spent(time.perf_counter() - began)


PROTOCOLS: dict[str, Callable[[Any], None]] = {
    "held_out": held_out,
    "compared": compared,
    "ablation": ablation,
    "components": components,
    "independence": independence,
    "separation": separation,
    "domains": domains,
    "finetune": finetune,
    "maps": maps,
    "likelihood": likelihood,
    "labelling": labelling,
    "outliers": outliers,
    "simulation": simulation,
}


def find(name: str) -> Callable[[Any], None]:
    """The protocol called `name`."""
    if name not in PROTOCOLS:
        raise InputError(f"protocol: expected one of {', '.join(PROTOCOLS)}, found {name!r}")
    return PROTOCOLS[name]
