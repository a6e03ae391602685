"""Label propagation along nearest neighbours (Zhou et al., *Learning with Local and Global Consistency*, 2004).

Unlike scikit-learn's `LabelSpreading` it scales distances locally and classes by their mass.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix, diags

__all__ = ["Neighbourhood"]

N_ROWS = 50_000  # at most, to which labels are propagated: time grows with the square
N_FEATURES = 50  # at most, in which distances are measured
N_ROUNDS = 60
N_HALVES = 10  # halves of the labels, which show how much depends on the choice of labels
RELATIVE_ERROR = 0.05  # of class frequencies that propagation is expected to make, however many the labels


class Neighbourhood:
    """Rows linked with their nearest neighbours, and labels that flow along the links.

    Distances are Euclidean in the first principal components, in units of each row's distance from its last neighbour
    (Zelnik-Manor & Perona, 2004); the closer, the stronger the link.

    Parameters
    ----------
    rows : ndarray of shape (n, ...)
        Numbers of any kind; features should have comparable scales.
    y : ndarray of shape (n,)
        0, 1, ...; -1 in unlabelled rows.
    n_classes : int
        How many classes there are.
    random_state : int
        Seed of the choice of rows: at most 50,000 of them are linked, at most half of these labelled.
    n_neighbors : int, default 7
        Neighbours that each row is linked with.
    alpha : float, default 0.99
        Share of what a row takes from its neighbours in each round; the rest comes from its own label.
    """

    def __init__(
        self,
        rows: NDArray[np.number],
        y: NDArray[np.int64],
        n_classes: int,
        random_state: int,
        n_neighbors: int = 7,
        alpha: float = 0.99,
    ) -> None:
        self.n_rows, self.n_classes, self.alpha = len(rows), n_classes, alpha
        self.random = np.random.default_rng(random_state)
        labelled, unlabelled = np.flatnonzero(y >= 0), np.flatnonzero(y < 0)
        if len(rows) > N_ROWS and len(unlabelled):
            labelled = self.random.permutation(labelled)[: N_ROWS // 2]
            unlabelled = self.random.permutation(unlabelled)[: N_ROWS - len(labelled)]
        self.linked = np.sort(np.concatenate([labelled, unlabelled]))
        self.y = y[self.linked]
        if len(unlabelled):
            X = rows[self.linked].reshape(len(self.linked), -1).astype(np.float32)
            self.links = _links(X, n_neighbors)

    def propagate(
        self, frequencies: NDArray[np.floating], labelled: NDArray[np.intp] | None = None
    ) -> NDArray[np.float32]:
        """Class probabilities of the rows, `(n, n_classes)`, from the labels of all rows, or of those in `labelled`.

        The masses of the classes are scaled to `frequencies` `(n_classes,)`. Rows that no label reached or that were
        not linked are zeros.
        """
        y = self.y if labelled is None else np.where(np.isin(self.linked, labelled), self.y, -1)
        mass = np.eye(self.n_classes, dtype=np.float32)[y] if (y >= 0).all() else self._flow(y, frequencies)
        probabilities = np.zeros((self.n_rows, self.n_classes), np.float32)
        probabilities[self.linked] = mass / np.maximum(mass.sum(1, keepdims=True), 1e-12)
        return probabilities

    def estimate_frequencies(self, prior: NDArray[np.floating]) -> NDArray[np.floating]:
        """How frequent each class is among the rows, `(n_classes,)`, in sum 1.

        Half of the labels of each class is propagated. Classes may be predicted more often among the unlabelled rows
        than among those of the other half, whose labels are hidden for the moment. The `prior` `(n_classes,)` is moved
        there as far as several halves agree: the shrinkage of James and Stein (1961) of log frequencies, by the
        variance between halves. With less than four labels of a class, or no unlabelled row, it stays.
        """
        counts = np.bincount(self.y[self.y >= 0], minlength=self.n_classes)
        if counts.min() < 4 or (self.y >= 0).all():
            return prior
        labelled = counts / counts.sum()
        estimates = np.log(labelled) + [self._log_ratio(counts, labelled) for _ in range(N_HALVES)]
        shift, noise = estimates.mean(0) - np.log(prior), estimates.var(0, ddof=1).mean() + RELATIVE_ERROR**2
        moved = prior * np.exp(max(0.0, 1 - noise / max((shift**2).mean(), 1e-12)) * shift)
        return moved / moved.sum()

    def _log_ratio(self, counts: NDArray[np.int64], labelled: NDArray[np.float64]) -> NDArray[np.float64]:
        """From half of the labels: log frequencies of predictions for unlabelled rows less those for the other half."""
        half = np.full_like(self.y, -1)
        for k, count in enumerate(counts):
            half[self.random.permutation(np.flatnonzero(self.y == k))[: count // 2]] = k
        mass = self._flow(half, labelled)
        predicted, is_reached, unlabelled = mass.argmax(1), mass.any(1), self.y < 0

        def log_share(rows: NDArray[np.bool_]) -> NDArray[np.float64]:
            share = np.bincount(predicted[rows & is_reached], minlength=len(labelled)) + len(labelled) * labelled
            return np.log(share / share.sum())

        return log_share(unlabelled) - log_share(~unlabelled & (half < 0))

    def _flow(self, y: NDArray[np.int64], frequencies: NDArray[np.floating]) -> NDArray[np.float32]:
        """The mass of each class that arrives at each linked row, normalised by class (Zhu et al., 2003)."""
        own = np.zeros((len(y), self.n_classes), np.float32)
        own[y >= 0, y[y >= 0]] = 1
        mass = own
        for _ in range(N_ROUNDS):
            mass = self.alpha * (self.links @ mass) + (1 - self.alpha) * own
        return mass * frequencies / np.maximum(mass.sum(0), 1e-12)


def _links(X: np.ndarray, n_neighbors: int) -> csr_matrix:
    """The symmetric, normalised graph of nearest neighbours."""
    from sklearn.decomposition import PCA
    from sklearn.neighbors import kneighbors_graph

    if X.shape[1] > N_FEATURES < len(X):
        X = PCA(N_FEATURES, random_state=0).fit_transform(X)
    graph = kneighbors_graph(X, min(n_neighbors, len(X) - 1), mode="distance").tocsr()
    scale = graph.max(1).toarray().ravel()
    scale[scale == 0] = np.median(scale[scale > 0]) if scale.any() else 1.0  # of repeated rows
    i, j = np.repeat(np.arange(len(X)), np.diff(graph.indptr)), graph.indices
    graph.data = np.exp(-(graph.data / scale[i]) * (graph.data / scale[j]))
    graph = graph.maximum(graph.T)
    root = diags(1 / np.sqrt(np.maximum(np.asarray(graph.sum(1)).ravel(), 1e-12)))
    return csr_matrix(root @ graph @ root)
