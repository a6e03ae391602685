"""A plane by t-SNE, in which items lie together whose codes are neighbours."""

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aaekit.studio.worker import Ahead, Worker

__all__ = ["N_SAMPLE", "Neighbourhoods"]

N_SAMPLE = 2000  # items that t-SNE places; the others follow
PERPLEXITY = 30.0
N_NEAREST = 3  # items of the sample between which another item lies


class Neighbourhoods:
    """The places of all items in the plane of t-SNE, computed when somebody asks for them.

    t-SNE (van der Maaten and Hinton, *Visualizing Data using t-SNE*, 2008) places a sample of the items, in a thread of
    its own. Then the worker places the others between those of the sample whose codes are nearest.

    Parameters
    ----------
    worker : Worker
        What places the others.
    order : ndarray of shape (n,)
        Items by number; the first ones are the sample.
    codes : callable
        From numbers of items to their codes `(n, d)`.

    Attributes
    ----------
    places : ndarray of shape (n, 2)
        By number; NaN where they are not computed.
    n_done : int
        Items, in the given order, that have places.
    problem : Exception or None
        Why there are no places.
    """

    problem: Exception | None

    def __init__(
        self, worker: Worker, order: NDArray[Any], codes: Callable[[NDArray[Any]], NDArray[np.float32]]
    ) -> None:
        self._worker, self._order, self._codes = worker, order.astype(np.int64), codes
        self.places: NDArray[np.float32] = np.full((len(order), 2), np.nan, np.float32)
        self.n_done: int = 0
        self.problem = None
        self._thread: threading.Thread | None = None

    def begin(self) -> None:
        """Begin to compute them, unless that has begun; all codes must be there."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._compute, name="t-SNE", daemon=True)
            self._thread.start()

    def _compute(self) -> None:
        sample = self._order[:N_SAMPLE]
        try:
            codes = self._codes(sample)
            self.places[sample] = embedded(codes)
            self.n_done = len(sample)
            if len(sample) < len(self._order):
                self._follow(codes, self.places[sample])
        except Exception as error:  # raised where somebody asks for the places
            self.problem = error

    def _follow(self, codes: NDArray[np.float32], places: NDArray[np.float32]) -> None:
        """Let the worker place all items beyond the sample."""
        from sklearn.neighbors import NearestNeighbors

        search = NearestNeighbors(n_neighbors=N_NEAREST).fit(codes)

        def place(index: NDArray[Any]) -> None:
            distances, nearest = search.kneighbors(self._codes(index))
            weights = 1 / (np.square(distances) + 1e-9)
            weights /= weights.sum(1, keepdims=True)
            self.places[index] = np.einsum("nk,nkc->nc", weights, places[nearest])
            self.n_done += len(index)

        Ahead(self._worker, self._order[N_SAMPLE:], place).start()


def embedded(codes: NDArray[np.float32]) -> NDArray[np.float32]:
    """Places `(n, 2)` of codes by t-SNE, which begins with their principal directions."""
    from sklearn.manifold import TSNE

    n = len(codes)
    if n < 4:
        return np.stack([np.arange(n), np.zeros(n)], 1).astype(np.float32)
    centred = codes - codes.mean(0)
    _, _, directions = np.linalg.svd(centred, full_matrices=False)
    begin: Any = np.random.default_rng(0).normal(0, 1e-6, (n, 2)).astype(np.float32)
    along = centred @ directions[:2].T
    begin[:, : along.shape[1]] += 1e-4 * along / (along[:, 0].std() or 1.0)
    tsne = TSNE(perplexity=min(PERPLEXITY, (n - 1) / 3), init=begin, learning_rate="auto", random_state=0)
    return tsne.fit_transform(centred).astype(np.float32)
