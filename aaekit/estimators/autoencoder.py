"""Plain, basic and label-regularised adversarial autoencoders: systems S1, S2, S3 and S5."""

from collections.abc import Callable, Iterator, Sequence
from typing import Annotated, Any, Literal, Self

import numpy as np
import torch
from pydantic import Field
from sklearn.base import TransformerMixin
from sklearn.exceptions import NotFittedError
from sklearn.utils import check_consistent_length, check_random_state
from sklearn.utils.validation import check_is_fitted
from torch import Tensor, nn
from torch.distributions import Distribution

from aaekit import divergences, losses, priors
from aaekit.core.loop import Callback, Schedule
from aaekit.core.phase import Phase, Step, matching
from aaekit.errors import InputError
from aaekit.estimators._base import UNLABELLED, Estimator, Labelled, _labelled
from aaekit.estimators._hyperparameters import Positive, Rate, Share, Weight, hyperparameters
from aaekit.evaluation.metrics import choose_parzen_sigma, parzen_log_likelihood
from aaekit.nn import backbones
from aaekit.nn.encoder import Code, Decoder, Posterior, one_hot


@hyperparameters
class Autoencoder(TransformerMixin, Estimator):
    """Base of the estimators with a decoder: codes that are matched to a prior, and rows made from codes."""

    decoder: Annotated[
        Literal["auto"] | nn.Module,
        Field(description="'auto' mirrors the backbone; or a torch module from codes (n, n_code) to rows"),
    ] = "auto"
    latent_dim: Annotated[Positive, Field(description="dimensions of the continuous code z")] = 2
    prior: Annotated[
        Literal["gaussian", "mixture", "swiss_roll", "uniform"] | priors.Prior | Distribution | Callable,
        Field(
            description="what z is matched to: a name, a Prior, a torch distribution, or a callable n -> (n, latent_dim)"
        ),
    ] = "gaussian"
    posterior: Annotated[
        Posterior,
        Field(description="z given x: deterministic, Gaussian, or from noise fed in (universal approximator)"),
    ] = "deterministic"
    adversarial: Annotated[bool, Field(description="match the codes to the prior; without it, a plain autoencoder")] = (
        True
    )
    divergence: Annotated[
        Literal["gan", "least_squares", "wasserstein", "mmd", "sliced_wasserstein"] | divergences.Divergence,
        Field(description="how codes and prior are pulled together"),
    ] = "gan"
    discriminator_hidden: Annotated[
        tuple[Positive, ...], Field(description="widths of the hidden layers of each discriminator")
    ] = (500, 500)
    discriminator_dropout: Annotated[Share, Field(description="share of hidden units dropped in discriminators")] = 0.0
    reconstruction: Annotated[
        Literal["auto", "bernoulli", "gaussian"],
        Field(description="error of a row: Bernoulli for values in [0, 1], or half the summed squared error"),
    ] = "auto"
    reconstruction_weight: Annotated[
        Literal["auto"] | Weight,
        Field(description="weight of the reconstruction error, summed over a row; 'auto' is 10 / (values in a row)"),
    ] = "auto"
    adversarial_weight: Annotated[Weight, Field(description="weight of fooling the discriminators")] = 0.1
    learning_rate: Annotated[Rate, Field(description="learning rate of the reconstruction")] = 1e-3
    generator_rate: Annotated[Rate, Field(description="learning rate of fooling the discriminators")] = 1e-3
    discriminator_learning_rate: Annotated[Rate, Field(description="learning rate of the discriminators")] = 1e-3
    discriminator_decay: Annotated[
        bool,
        Field(description="let learning_rate_schedule lower the discriminators' rate, too; else it stays constant"),
    ] = True
    schedule: Annotated[
        Schedule,
        Field(description="'alternating' runs phase after phase as in the papers; 'joint' sums them into one update"),
    ] = "joint"

    # --- networks and phases ---------------------------------------------------------------------------------------
    @property
    def _n_classes(self) -> int:
        """How many values the categorical code beside z has; 0 where there is none."""
        return 0

    @property
    def _n_code(self) -> int:
        """Dimensions of what the decoder sees."""
        return self.latent_dim + self._n_classes

    @property
    def n_classes(self) -> int:
        return self._n_classes

    @property
    def n_code(self) -> int:
        return self._n_code

    @property
    def prior_(self) -> priors.Prior:
        return self._prior()

    def _join(self, nets: nn.ModuleDict, code: Code, labels: Tensor | None) -> Tensor:
        """What the decoder sees of a code, and of the labels where they are known; shape `(n, _n_code)`."""
        return code.joined

    def _networks(self) -> dict[str, nn.Module]:
        backbone = backbones.decoder_backbone(
            self.backbone if self.decoder == "auto" and isinstance(self.backbone, str) else self._decoder_spec(),
            self._n_code,
            self.shape_,
            hidden=self.hidden,
            channels=self.channels,
            dropout=self.dropout,
        )
        nets: dict[str, nn.Module] = {
            "encoder": self._encoder(self.latent_dim, self._n_classes, self.posterior),
            "decoder": Decoder(backbone, self.unit_range_),
        }
        if self._matches and divergences.make(self.divergence).has_critic:
            for name, size in self._codes_matched().items():
                nets[f"{name}_discriminator"] = backbones.discriminator(
                    size, self.discriminator_hidden, dropout=self.discriminator_dropout
                )
        return nets

    def _decoder_spec(self) -> Any:
        return self.decoder if isinstance(self.decoder, nn.Module) else "auto"

    @property
    def _matches(self) -> bool:
        return self.adversarial and self.adversarial_weight > 0

    def _codes_matched(self) -> dict[str, int]:
        """The codes that are matched to a prior, with the number of values that the discriminator sees."""
        return {"z": self.latent_dim + self._n_shown}

    @property
    def _n_shown(self) -> int:
        """Values that the discriminator of z is shown beside z; 0 to match the codes of all rows together."""
        return 0

    def _shown(self, step: Step) -> Tensor:
        """What the discriminator is shown beside z `(n, _n_shown)`: z is then matched for each value of it."""
        raise NotImplementedError

    def _prior(self) -> priors.Prior:
        return priors.make(self.prior, self.latent_dim)

    def _phases(self, nets: nn.ModuleDict) -> list[Phase]:
        kind = self._reconstruction_kind()
        listed = [
            Phase(
                "reconstruction",
                lambda step: losses.reconstruction_loss(step, kind),
                self._reconstructors(nets),
                self.learning_rate,
                self.momentum,
                self._reconstruction_weight(),
            )
        ]
        return listed + (self._match_z(nets) if self._matches else [])

    def _reconstructors(self, nets: nn.ModuleDict) -> tuple[nn.Module, ...]:
        """What the reconstruction moves."""
        return nets["encoder"], nets["decoder"]

    def _matching(
        self,
        nets: nn.ModuleDict,
        name: str,
        fake: Callable[[Step, bool], Tensor],
        prior: priors.Prior,
        real: Callable[[Step], Tensor] | None = None,
    ) -> list[Phase]:
        """The phases that pull a code towards a prior, or towards `real` samples of it that go by the step."""
        return matching(
            name,
            fake,
            real or (lambda step: prior.sample(len(step.rows["unlabelled"]), device=step.rows["unlabelled"].device)),
            divergences.make(self.divergence),
            dict(nets.items()).get(f"{name}_discriminator"),
            [nets["encoder"]],
            discriminator_learning_rate=self.discriminator_learning_rate,
            generator_rate=self.generator_rate,
            weight=self.adversarial_weight,
            momentum=self.momentum,
            steady=not self.discriminator_decay,
        )

    def _match_z(self, nets: nn.ModuleDict) -> list[Phase]:
        """The phases that pull z towards its prior; class by class, if the discriminator is shown the class."""
        prior = self._prior()
        if not self._n_shown:
            return self._matching(nets, "z", self._fake_z, prior)

        def fake(step: Step, gradient: bool) -> Tensor:
            return torch.cat([self._fake_z(step, gradient).float(), self._shown(step)], 1)

        def real(step: Step) -> Tensor:
            shown = self._shown(step)
            return torch.cat([prior.sample(len(shown), device=shown.device).float(), shown], 1)

        return self._matching(nets, "z", fake, prior, real)

    @staticmethod
    def _fake_z(step: Step, gradient: bool) -> Tensor:
        return (step.code() if gradient else step.detached_code()).z

    def _reconstruction_kind(self) -> str:
        if self.reconstruction == "auto":
            return "bernoulli" if self.unit_range_ else "gaussian"
        if self.reconstruction == "bernoulli" and not self.unit_range_:
            raise InputError("reconstruction='bernoulli' needs values in [0, 1]: scale X, or choose 'gaussian'")
        return self.reconstruction

    def _reconstruction_weight(self) -> float:
        n = int(np.prod(self.shape_))
        return 10 / n if self.reconstruction_weight == "auto" else self.reconstruction_weight

    def _make_step(self, nets: nn.ModuleDict, batch: dict[str, list[Tensor]], together: bool) -> Step:
        """Each source is a view: its rows, and its labels if it has any."""
        return Step(
            {view: self._floats(arrays[0]) for view, arrays in batch.items()},
            nets["encoder"],
            nets["decoder"],
            labels={view: arrays[1] for view, arrays in batch.items() if len(arrays) > 1},
            corrupt=self._corrupt,
            join=lambda code, labels: self._join(nets, code, labels),
            together=together,
        )

    def _reconstruction_score(self, nets: nn.ModuleDict, X: Tensor, labels: Tensor | None = None) -> float:
        """Mean reconstruction error of rows, from clean codes."""
        kind, device = self._reconstruction_kind(), next(nets.parameters()).device
        known = iter(() if labels is None else labels.split(1000))

        def errors(x: Tensor) -> Tensor:
            x, y = x.to(device), next(known, None)
            out = nets["decoder"](self._join(nets, nets["encoder"](x), None if y is None else y.to(device)))
            return losses.reconstruction_error(out, x, kind, self.unit_range_).expand(len(x))

        return float(self._in_batches(errors, X, size=1000).mean())

    # --- what it can do --------------------------------------------------------------------------------------------
    def transform(self, X: Any) -> np.ndarray:
        """Codes z of rows, shape `(n, latent_dim)`; without the posterior's noise."""
        return self._in_batches(lambda x: self.networks_["encoder"](x).z, self._rows(X))

    def inverse_transform(self, Z: Any) -> np.ndarray:
        """Rows made from codes `(n, n_code)`: of the shape and in the units of what was fitted.

        The code is z, preceded by the categorical code y where there is one. Bytes come back as floats in [0, 1].
        """
        check_is_fitted(self)
        Z, n_code = np.asarray(Z, dtype=np.float32), self._n_code
        if Z.ndim != 2 or Z.shape[1] != n_code:
            raise InputError(f"expected codes of shape (n, {n_code}), got {Z.shape}")
        return self._decode(Z)

    def _decode(self, codes: np.ndarray | Tensor, decoder: nn.Module | None = None) -> np.ndarray:
        """Rows made of what a decoder sees, by default the decoder."""
        decoder = self.networks_["decoder"] if decoder is None else decoder
        assert isinstance(decoder, Decoder)
        rows = self._unscaled(self._in_batches(decoder.mean, codes))
        return rows if len(self.shape_) == 3 and self.as_images_ else rows.reshape(len(rows), -1)

    def reconstruct(self, X: Any) -> np.ndarray:
        """Rows as the autoencoder gives them back; of the shape and in the units of what was fitted."""
        check_is_fitted(self)
        nets = self.networks_
        return self._decode(self._in_batches(lambda x: self._join(nets, nets["encoder"](x), None), self._rows(X)))

    def sample(self, n_samples: int = 1, random_state: Any = None, *, label: Any = None) -> np.ndarray:
        """New rows decoded from draws of the prior, shape `(n_samples, ...)`; of one class, if a `label` is given.

        Raises
        ------
        InputError
            For a label that the model has not learned, or fewer rows than one.
        """
        check_is_fitted(self)
        _check_number(n_samples)
        return self._decode(self._draw_codes(n_samples, self._component(label), random_state))

    def sample_prior(self, n_samples: int, random_state: Any = None) -> np.ndarray:
        """Draws of p(z), shape `(n_samples, latent_dim)`."""
        with seeded(random_state):
            return self._prior().sample(n_samples).float().numpy()

    def fit_density(self, X: Any, n_samples: int = 10_000, random_state: Any = None) -> Self:
        """Make the model's own samples a density, by a Parzen window whose width is chosen on rows set aside.

        Parameters
        ----------
        X : array-like (n, n_features) or (n, channels, height, width)
            Validation rows, in the units of fit: rows that will not be judged by `score_samples`. A thousand do.
        n_samples : int, default 10_000
            Windows: rows decoded from draws of the prior. They are drawn again whenever they are needed, some at a
            time, so that there may be millions: memory does not grow with them.
        random_state : int, RandomState or None
            Of the draws.

        Returns
        -------
        self
            With ``sigma_``, the width, in the units of `score_samples`, and ``density_``, number and seed of the draws.

        Raises
        ------
        InputError
            For rows that are not like those of fit, or n_samples below 1.

        References
        ----------
        Makhzani et al., *Adversarial Autoencoders*, arXiv:1511.05644, section 3.
        """
        rows = self._rows(X)
        if not isinstance(n_samples, (int, np.integer)) or n_samples < 1:
            raise InputError(f"n_samples={n_samples!r}: expected a whole number of at least 1, for instance 10000")
        seed = int(check_random_state(random_state).randint(2**31 - 1))
        density = {"n_samples": int(n_samples), "random_state": seed}
        self.sigma_ = choose_parzen_sigma(rows, _Draws(self, **density))
        self.density_ = density
        return self

    @property
    def score_samples(self) -> Callable[[Any], np.ndarray]:
        """``score_samples(X)``: Parzen-window log-likelihood of each row of X, shape `(n,)`, in nats.

        A density over the values of a row: images count in [0, 1], table columns in standard deviations of those in
        fit. It is there after `fit_density`; before, asking for it raises NotFittedError. For what it is worth, see
        `metrics.parzen_log_likelihood`.
        """
        if not hasattr(self, "density_"):
            raise NotFittedError(
                f"this {type(self).__name__} has no density to score by: call fit_density(X) with validation rows first"
            )
        return self._log_likelihood

    def _log_likelihood(self, X: Any) -> np.ndarray:
        """Log-density of rows by the window that `fit_density` chose."""
        rows, draws = self._rows(X), _Draws(self, **self.density_)
        size = 4 * draws.size  # rows in memory; for each such part all draws are made anew
        parts = [rows[i : i + size] for i in range(0, len(rows), size)]
        return np.concatenate([parzen_log_likelihood(part, draws, self.sigma_) for part in parts])

    def _fit(self, *given: Any) -> Self:
        for name in ("sigma_", "density_"):  # those of other networks
            self.__dict__.pop(name, None)
        return super()._fit(*given)

    @property
    def _facts(self) -> tuple[str, ...]:  # pyright: ignore[reportIncompatibleVariableOverride]
        return (*Estimator._facts, *(("sigma_", "density_") if hasattr(self, "density_") else ()))

    def _component(self, label: Any) -> int | None:
        """The number of a class that new rows shall be of; None for any."""
        if label is None:
            return None
        if not isinstance(self, Labelled) or not hasattr(self, "classes_"):
            raise InputError(f"label={label!r}: this model was trained without labels and knows none; leave label out")
        number = int(self._codes_of([label])[0])
        return None if number == UNLABELLED else number

    def _draw_codes(self, n: int, component: int | None, random_state: Any) -> np.ndarray:
        """What the decoder makes new rows of, `(n, _n_code)`; of one class, if its number is given."""
        return self.sample_prior(n, random_state)

    @property
    def _n_features_out(self) -> int:
        return self.latent_dim

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """Names of the columns of `transform`: z1, z2, ..."""
        check_is_fitted(self)
        return np.array([f"z{i + 1}" for i in range(self.latent_dim)], dtype=object)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float32"]
        tags.non_deterministic = False
        return tags


def _check_number(n_samples: Any) -> None:
    """Whether so many rows can be made."""
    if not isinstance(n_samples, (int, np.integer)) or n_samples < 1:
        raise InputError(f"n_samples={n_samples!r}: expected a whole number of at least 1")


class seeded:
    """While it lasts, torch draws from a given random state; afterwards it goes on as before."""

    def __init__(self, random_state: Any) -> None:
        self.seed = int(check_random_state(random_state).randint(2**31 - 1))
        self.fork = torch.random.fork_rng([torch.cuda.current_device()] if torch.cuda.is_initialized() else [])

    def __enter__(self) -> None:
        self.fork.__enter__()
        torch.manual_seed(self.seed)

    def __exit__(self, *error: Any) -> None:
        self.fork.__exit__(*error)


class _Draws:
    """Scaled rows `(n, d)` that a model makes, the same each time it is gone through, a block in memory at a time."""

    def __init__(self, model: Autoencoder, n_samples: int, random_state: int) -> None:
        self.model, self.n_samples, self.random_state = model, n_samples, random_state
        self.size = max(1, 2**21 // int(np.prod(model.shape_)))  # 8 MiB

    def __iter__(self) -> Iterator[np.ndarray]:
        random, decoder = np.random.RandomState(self.random_state), self.model.networks_["decoder"]
        assert isinstance(decoder, Decoder)
        for i in range(0, self.n_samples, self.size):
            codes = self.model._draw_codes(min(self.size, self.n_samples - i), None, random)
            yield self.model._in_batches(decoder.mean, codes).reshape(len(codes), -1)


@hyperparameters
class AdversarialAutoencoder(Labelled, Autoencoder):
    """Adversarial autoencoder: codes that follow a prior, and new rows from draws of it.

    The defaults are those of Sheet, *Deep Learning for Visual Computing* (NPTEL), lecture 54 (two code dimensions);
    lecture 55 takes ``latent_dim=100``. With ``adversarial=False`` it is a plain autoencoder: its latent space has holes.
    See Makhzani et al., *Adversarial Autoencoders*, arXiv:1511.05644, section 2.

    With a class-conditional prior ("mixture", "swiss_roll") and labels it is label-regularised (section 2.3; lecture
    53): the discriminator is shown the label, or that there is none, so that each class gets its own part of the prior.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The labels, sorted; only where labels play a part.
    networks_ : torch.nn.ModuleDict
        "encoder", "decoder" and, for divergences that need one, "z_discriminator".
    history_ : list of dict
        Losses, rates and times, epoch by epoch.
    n_steps_ : int
        Steps that were made.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> X = load_digits(return_X_y=True)[0] / 16
    >>> model = AdversarialAutoencoder(max_steps=20, hidden=(64,), random_state=0).fit(X)
    >>> model.transform(X[:3]).shape, model.sample(5, random_state=0).shape
    ((3, 2), (5, 64))
    """

    backbone: Annotated[
        Literal["auto", "mlp", "conv"] | nn.Module,
        Field(description="encoder: fully connected, convolutional, by the shape of the data, or any torch module"),
    ] = "mlp"
    dropout: Annotated[Share, Field(description="share of hidden units dropped in encoder and decoder")] = 0.25
    discriminator_dropout: Annotated[Share, Field(description="share of hidden units dropped in discriminators")] = 0.2
    learning_rate: Annotated[Rate, Field(description="learning rate of the reconstruction")] = 1e-4
    generator_rate: Annotated[Rate, Field(description="learning rate of fooling the discriminators")] = 5e-5
    discriminator_learning_rate: Annotated[Rate, Field(description="learning rate of the discriminators")] = 5e-5
    momentum: Annotated[Share, Field(description="momentum of SGD, or beta_1 of Adam")] = 0.9
    schedule: Annotated[
        Schedule,
        Field(description="'alternating' runs phase after phase as in the papers; 'joint' sums them into one update"),
    ] = "alternating"

    def fit(
        self,
        X: Any,
        y: Any = None,
        *,
        callbacks: Sequence[Callback] = (),
        eval_set: tuple[Any, Any] | None = None,
    ) -> Self:
        """Train on rows `(n, n_features)` or images `(n, channels, height, width)`.

        Parameters
        ----------
        X : array-like
            Numbers of any range (they are standardised), in [0, 1], or bytes: pixels, but in a table numbers if all
            are below 128.
        y : array-like (n,), optional
            Labels, -1 (or None) where there is none. They count with a class-conditional prior only.
        callbacks : sequence of Callback
            Told of each step and epoch, for instance a run directory.
        eval_set : (X, y), optional
            Rows whose error is put into `history_` each epoch. They never train, choose or stop anything.

        Raises
        ------
        InputError (a ValueError)
            For parameters or rows that are not as declared, or a prior with other classes than the labels.
        TrainingError
            When a loss stops being finite.
        """
        rows = self._learn_rows(X)
        self.__dict__.pop("classes_", None)
        codes = None
        if y is not None and self.adversarial and priors.make(self.prior, self.latent_dim).n_components is not None:
            check_consistent_length(rows, y)
            if _labelled(y)[1].any():
                codes = self._learn_labels(y)
                self._prior()
        return self._fit(rows, codes, callbacks, eval_set)

    @property
    def _n_labels(self) -> int:
        """How many classes the discriminator is told of; 0 where labels play no part."""
        return len(self.classes_) if hasattr(self, "classes_") else 0

    def _prior(self) -> priors.Prior:
        K = self._n_labels
        prior = priors.make(self.prior, self.latent_dim, K or None)
        if K and prior.n_components != K:
            raise InputError(
                f"the prior {prior!r} has {prior.n_components} components, but the labels are of {K} classes: "
                "make them equal, or name the prior, which then takes the number of classes"
            )
        return prior

    @property
    def _n_shown(self) -> int:
        return self._n_labels + 1 if self._n_labels else 0

    def _match_z(self, nets: nn.ModuleDict) -> list[Phase]:
        """With labels, rows of every view are matched to the component of their class."""
        K = self._n_labels
        if not K:
            return super()._match_z(nets)

        def told(z: Tensor, labels: Tensor) -> Tensor:
            """[z, one-hot label], the last class being "unlabelled"."""
            return torch.cat([z.float(), one_hot(labels.where(labels >= 0, K), K + 1)], 1)

        def fake(step: Step, gradient: bool) -> Tensor:
            see = step.code if gradient else step.detached_code
            return told(torch.cat([see(view).z for view in step.rows]), torch.cat(list(step.labels.values())))

        def real(step: Step) -> Tensor:
            labels = torch.cat(list(step.labels.values()))
            return told(prior.sample(len(labels), labels, labels.device), labels)

        prior = self._prior()
        return self._matching(nets, "z", fake, prior, real)

    def _draw_codes(self, n: int, component: int | None, random_state: Any) -> np.ndarray:
        with seeded(random_state):
            labels = None if component is None else torch.full((n,), component)
            return self._prior().sample(n, labels).float().numpy()

    def walk(self, n_samples: int = 100) -> np.ndarray:
        """Rows decoded at even steps along a Swiss roll, from its centre outwards, shape `(n_samples, ...)`.

        Raises
        ------
        InputError
            If the prior is another.
        """
        check_is_fitted(self)
        prior = self._prior()
        if not isinstance(prior, priors.SwissRoll):
            raise InputError(f"only a Swiss roll can be walked along, this model's prior is {prior!r}")
        _check_number(n_samples)
        return self._decode(prior.at((torch.arange(n_samples) + 0.5) / n_samples).float())

    def _auto_steps(self, n_rows: int) -> int:
        return 5000  # as in lecture 54

    def _sources(self, X: Tensor, y: np.ndarray | None) -> dict[str, list[Tensor]]:
        """All rows; and where labels are rare the labelled ones again, or the discriminator would hardly see any."""
        if y is None:
            return {"unlabelled": [X]}
        labelled = np.flatnonzero(y != UNLABELLED)
        every = {"unlabelled": [X, torch.from_numpy(y)]}
        if len(labelled) > 0.2 * len(y):
            return every
        return every | {"labelled": [X[labelled], torch.from_numpy(y[labelled])]}

    def _batch_size(self, name: str, n: int) -> int:
        wanted = 100 if self.batch_size == "auto" else self.batch_size
        return min(wanted, n) if name == "labelled" else super()._batch_size(name, n)

    def _score(self, nets: nn.ModuleDict, X: Tensor, y: np.ndarray | None) -> dict[str, float]:
        error = self._reconstruction_score(nets, X)
        return {"reconstruction": error, "score": error}

    def _codes_of(self, y: Any) -> np.ndarray | None:
        return super()._codes_of(y) if self._n_labels else None
