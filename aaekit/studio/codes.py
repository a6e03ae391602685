"""Codes as places in a plane, and places as codes.

A model without a categorical code y has one plane: that of z, or of the two principal directions of z. A model with y
has also a plane of *islands*: each value of y has a centre, around which the styles z spread, as in the maps of
Makhzani et al., *Adversarial Autoencoders*, section 6.
"""

from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from sklearn.base import is_classifier, is_clusterer

from aaekit.core.random import RandomStream
from aaekit.errors import InputError
from aaekit.evaluation.heldout import HeldOut, mask_unseen_labels, names_of

__all__ = ["Codes", "Plane", "Space"]

N_FOR_MEAN = 2000  # draws by which the mean of a prior is estimated
N_PRIOR, N_BINS = 40_000, 96  # draws and bins of the prior's density
ISLAND = 1.1  # radius of an island, where neighbouring centres are 3 apart
MAX_DIRECTIONS = 12  # principal directions that have a slider


class Codes(NamedTuple):
    """The codes of items: z `(n, d)`, the value of y `(n,)` (-1 for none), and the probabilities of all, or None."""

    z: NDArray[np.float32]
    value: NDArray[np.int64]
    p: NDArray[np.float32] | None


class Plane(NamedTuple):
    """A plane of codes: place = centre of y + scale * (z - origin) @ axes[:2].T.

    Attributes
    ----------
    name : "islands" or "plane"
    centres : ndarray of shape (K, 2)
        Of the islands; one at the origin for all, if they have none.
    scale : float
    """

    name: str
    centres: NDArray[np.float32]
    scale: float


class Space:
    """What the codes of a model are, and the planes in which they are drawn.

    Parameters
    ----------
    model : Estimator
        Fitted.
    labels : list of str
        The names of the labels, by number.
    first : HeldOut
        Some rows, by whose codes the directions are chosen.
    """

    decodes: bool
    has_prior: bool
    is_given: bool
    origin: NDArray[np.float32]
    axes: NDArray[np.float32]

    def __init__(self, model: Any, labels: list[str], first: HeldOut) -> None:
        self.model = model
        self.decodes = hasattr(model, "inverse_transform")
        self.has_prior = hasattr(model, "sample_prior")
        self.joint = self.decodes and model.n_code > model.latent_dim  # the decoder sees y and z
        self.is_given = hasattr(model, "conditions_")  # y is the label of an item rather than inferred
        self.names: list[str] = value_names(model, labels)
        z = self._style(first.X)
        self.n_dims: int = z.shape[1]
        if self.n_dims <= 2:
            self.origin = np.zeros(self.n_dims, np.float32)
            self.axes = np.eye(2, self.n_dims, dtype=np.float32)
        else:
            self.origin = z.mean(0)
            _, _, directions = np.linalg.svd(z - self.origin, full_matrices=False)
            signs = np.sign(directions[np.arange(len(directions)), np.abs(directions).argmax(1)])
            self.axes = (directions * signs[:, None])[:MAX_DIRECTIONS].astype(np.float32)
        self.deviations: NDArray[np.float32] = ((z - self.origin) @ self.axes.T).std(0)
        largest = float(self.deviations[:2].max()) or 1.0
        self.planes: list[Plane] = [Plane("plane", np.zeros((1, 2), np.float32), 1.0)]
        if self.joint and self.n_values > 1:
            self.planes.insert(0, Plane("islands", sunflower(self.n_values), ISLAND / (2.5 * largest)))

    @property
    def n_values(self) -> int:
        """Values of y that the decoder can be shown; 0 if it sees z alone."""
        return len(self.combinations) if self.joint else 0

    def facts(self) -> dict[str, Any]:
        """What the page must know of the codes to decode them."""
        return {
            "origin": self.origin.tolist(),
            "axes": self.axes.tolist(),
            "deviations": self.deviations.tolist(),
            "nDims": self.n_dims,
            "values": self.names if self.joint else [],
        }

    @property
    def combinations(self) -> NDArray[np.float32]:
        """What the decoder sees of each value of y: one-hot rows, of several conditions each combination of them."""
        if not self.is_given:
            return np.eye(self.model.n_classes, dtype=np.float32)
        rows = np.zeros((1, 0), np.float32)
        for values in self.model.conditions_:
            hot = np.eye(len(values), dtype=np.float32)
            rows = np.concatenate([np.repeat(rows, len(hot), 0), np.tile(hot, (len(rows), 1))], 1)
        return rows

    # --- rows to codes -----------------------------------------------------------------------------------------------
    def _style(self, X: NDArray[Any]) -> NDArray[np.float32]:
        """z; of a model without a public code, the log probabilities of its classes."""
        if hasattr(self.model, "transform"):
            return np.asarray(self.model.transform(X), np.float32)
        return np.log(self.model.predict_proba(X) + 1e-4)

    def encode(self, rows: HeldOut) -> Codes:
        """The codes of items."""
        z, p, value = self._style(rows.X), None, np.full(len(rows.X), -1)
        if self.is_given:
            if rows.y is not None:
                value = self._given_values(mask_unseen_labels(self.model, rows.y))
        elif hasattr(self.model, "cluster_proba"):
            p = self.model.cluster_proba(rows.X)
        elif is_classifier(self.model):
            p = self.model.predict_proba(rows.X)
        if p is not None:
            value = p.argmax(1)
        return Codes(z, value.astype(np.int64), p)

    def _given_values(self, y: NDArray[Any]) -> NDArray[np.int64]:
        """Labels `(n,)` or `(n, n_conditions)` as numbers of combinations; -1 where one is unknown."""
        columns, number = y.reshape(len(y), -1).T, np.zeros(len(y), np.int64)
        unknown = np.zeros(len(y), bool)
        for column, values in zip(columns, self.model.conditions_, strict=True):
            position = np.searchsorted(values, column).clip(0, len(values) - 1)
            unknown |= values[position] != column
            number = number * len(values) + position
        return np.where(unknown, -1, number)

    # --- codes to places ---------------------------------------------------------------------------------------------
    def project(self, plane: Plane, codes: Codes) -> NDArray[np.float32]:
        """Places `(n, 2)` of codes; items between two values of y lie between two islands."""
        places = plane.scale * (codes.z - self.origin) @ self.axes[:2].T
        if plane.name == "islands":
            if codes.p is not None:
                places = places + codes.p @ plane.centres
            else:
                has_value = codes.value[:, None] >= 0
                places = np.where(has_value, places + plane.centres[codes.value], 0.5 * places)
        return places.astype(np.float32)

    def prior_density(self, plane: Plane) -> dict[str, Any] | None:
        """The density of the prior on a grid: its extent, and `N_BINS` x `N_BINS` values from 0 to 255."""
        if not self.has_prior:
            return None
        z = self.model.sample_prior(N_PRIOR, random_state=0)
        value = np.zeros(len(z), np.int64)
        if plane.name == "islands":
            share = np.ones(self.n_values) if self.is_given else np.asarray(self.model.class_prior_)
            value = np.random.default_rng(0).choice(self.n_values, len(z), p=share / share.sum())
        places = self.project(plane, Codes(z, value, None))
        low, high = np.quantile(places, [0.001, 0.999], axis=0)
        margin = 0.15 * (high - low) + 1e-6
        low, high = low - margin, high + margin
        counts, _, _ = np.histogram2d(places[:, 1], places[:, 0], N_BINS, [(low[1], high[1]), (low[0], high[0])])
        density = np.sqrt(gaussian_filter(counts, 1.3))
        values = (255 * density / density.max()).round().astype(int)
        return {"low": low.tolist(), "high": high.tolist(), "bins": N_BINS, "values": values.ravel().tolist()}

    def draw(self, n: int, value: int, component: int, temperature: float, seed: int) -> NDArray[np.float32]:
        """Codes `(n, 1 + d)` of new rows: draws of the prior, whose distances from their mean are scaled.

        Parameters
        ----------
        n : int
            How many.
        value, component : int
            Of y, and of a prior with components; -1 for any.
        temperature : float
            By what the distances from the mean (of the component) are multiplied.
        seed : int
            Of the draws.

        Raises
        ------
        InputError
            If there is no such value or component.
        """
        prior, K = self.model.prior_, len(self.names)
        n_components = prior.n_components or 0
        if value >= max(K, 1) or component >= max(n_components, 1):
            raise InputError(
                f"expected a value below {K} and a component below {n_components}, got {value} and {component}"
            )
        y = np.zeros(n, np.int64)
        has_centroids = hasattr(self.model, "centroids_")
        if self.joint or has_centroids:
            share = np.ones(K) / K if self.is_given else np.asarray(self.model.class_prior_)
            y = np.random.default_rng(seed).choice(K, n, p=share / share.sum()) if value < 0 else np.full(n, value)
        with RandomStream(seed):
            one = torch.full((n + N_FOR_MEAN,), component) if n_components and component >= 0 else None
            z = prior.sample(n + N_FOR_MEAN, one).float().numpy()
        centre = z[n:].mean(0)
        z = centre + temperature * (z[:n] - centre)
        if has_centroids:
            z = z + self.model.centroids_[y]
        return np.concatenate([y[:, None], z], 1).astype(np.float32)

    # --- codes to rows -----------------------------------------------------------------------------------------------
    def decode(self, codes: NDArray[np.float32]) -> Any:
        """Rows that the decoder makes of `(n, 1 + d)`: the value of y (0 where there is none) and z."""
        value, z = codes[:, 0].astype(np.int64), codes[:, 1:]
        if self.joint:
            z = np.concatenate([self.combinations[value.clip(0, self.n_values - 1)], z], 1)
        return self.model.inverse_transform(z)


def sunflower(n: int) -> NDArray[np.float32]:
    """Centres `(n, 2)`, neighbours about 3 apart: on a ring up to 12, else as the seeds of a sunflower."""
    k = np.arange(n)
    if n <= 12:
        radius = max(1.6, 1.5 / np.sin(np.pi / max(n, 2)))
        angle = np.pi / 2 - 2 * np.pi * k / n
    else:
        radius, angle = 1.75 * np.sqrt(k + 0.5), 2.39996 * k
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], 1).astype(np.float32)


def value_names(model: Any, labels: list[str]) -> list[str]:
    """The names of the values of y or of the classes: of conditions each combination, of clusters also the number."""
    if hasattr(model, "conditions_"):
        first = names_of(model, labels)
        rest = [[str(v) for v in values] for values in model.conditions_[1:]]
        for values in rest:
            first = [f"{a}, {b}" for a in first for b in values]
        return first
    if is_clusterer(model):
        names = getattr(model, "cluster_names_", {})
        return [f"{k}: {names[k]}" if k in names else f"cluster {k}" for k in range(model.n_clusters)]
    if names := names_of(model, labels):
        return names
    return [f"cluster {k}" for k in range(getattr(model, "n_classes", 0))]
