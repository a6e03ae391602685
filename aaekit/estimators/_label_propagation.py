"""What a few labels say of the rows near them: label spreading along nearest neighbours (Zhou et al., 2004)."""

import numpy as np
from scipy.sparse import csr_matrix, diags
from sklearn.decomposition import PCA
from sklearn.neighbors import kneighbors_graph

N_ROWS = 50_000  # at most, that labels spread to: time goes with the square
N_FEATURES = 50  # at most, that distances are measured in
N_ROUNDS = 60
N_HALVES = 10  # halves of the labels, by which is seen how much hangs on the choice of labels
CLOSE = 0.05  # relative error of class frequencies that is expected of spreading, however many the labels


class Neighbourhood:
    """Rows linked with their nearest neighbours, and the labels of some that flow along the links.

    The links go by Euclidean distance in the first principal components, the closer the stronger, in units of each
    row's distance from its last neighbour (Zelnik-Manor & Perona, 2004).

    Parameters
    ----------
    rows : ndarray of shape (n, ...)
        Numbers of any kind; features should have comparable scales.
    codes : ndarray of shape (n,)
        0, 1, ...; -1 where there is no label.
    n_classes : int
        How many classes there are.
    random_state : int
        Seed of the choice of rows: of more than 50,000 only these many are linked, at most half of them labelled.
    n_neighbors : int
        Neighbours that each row is linked with.
    reach : float
        Share of what a row takes from its neighbours in each round; the rest comes from its own label.
    """

    def __init__(
        self, rows: np.ndarray, codes: np.ndarray, n_classes: int, random_state: int, n_neighbors: int = 7,
        reach: float = 0.99,
    ) -> None:  # fmt: skip
        self.n_rows, self.n_classes, self.reach = len(rows), n_classes, reach
        self.random = np.random.default_rng(random_state)
        labelled, others = np.flatnonzero(codes >= 0), np.flatnonzero(codes < 0)
        if len(rows) > N_ROWS and len(others):
            labelled = self.random.permutation(labelled)[: N_ROWS // 2]
            others = self.random.permutation(others)[: N_ROWS - len(labelled)]
        self.linked = np.sort(np.concatenate([labelled, others]))
        self.codes = codes[self.linked]
        if len(others):
            X = rows[self.linked].reshape(len(self.linked), -1).astype(np.float32)
            self.links = _links(X, n_neighbors)

    def propagate(self, frequencies: np.ndarray) -> np.ndarray:
        """Class probabilities of the rows, `(n, n_classes)`, float32.

        The masses of the classes are scaled to `frequencies` `(n_classes,)`. Rows of zeros where no label arrived, and
        for rows that were not linked.
        """
        if (self.codes >= 0).all():
            mass = np.eye(self.n_classes, dtype=np.float32)[self.codes]
        else:
            mass = self._flow(self.codes, frequencies)
        found = np.zeros((self.n_rows, self.n_classes), np.float32)
        found[self.linked] = mass / np.maximum(mass.sum(1, keepdims=True), 1e-12)
        return found

    def estimate_frequencies(self, guess: np.ndarray) -> np.ndarray:
        """How frequent each class is among the rows, `(n_classes,)`, in sum 1.

        What is called by spreading from half of the labels tells by how much a class is more frequent among the rows
        without a label than among those of the other half, whose labels are hidden for the moment. The guess
        `(n_classes,)` is moved to there as far as that is sure by several halves, which is the shrinkage of James and
        Stein (1961), of log frequencies, with the variance between halves. With less than four labels of a class, or
        no row without one, it stays.
        """
        counts = np.bincount(self.codes[self.codes >= 0], minlength=self.n_classes)
        if counts.min() < 4 or (self.codes >= 0).all():
            return guess
        told = counts / counts.sum()
        seen = np.log(told) + [self._apart(counts, told) for _ in range(N_HALVES)]
        moved, noise = seen.mean(0) - np.log(guess), seen.var(0, ddof=1).mean() + CLOSE**2
        found = guess * np.exp(max(0.0, 1 - noise / max((moved**2).mean(), 1e-12)) * moved)
        return found / found.sum()

    def _apart(self, counts: np.ndarray, told: np.ndarray) -> np.ndarray:
        """By half of the labels: log of how often each class is called among rows without one, and among the rest."""
        shown = np.full_like(self.codes, -1)
        for k, count in enumerate(counts):
            kept = self.random.permutation(np.flatnonzero(self.codes == k))[: count // 2]
            shown[kept] = k
        mass = self._flow(shown, told)
        called, reached, unlabelled = mass.argmax(1), mass.any(1), self.codes < 0

        def share(chosen: np.ndarray) -> np.ndarray:
            found = np.bincount(called[chosen & reached], minlength=len(told)) + len(told) * told
            return np.log(found / found.sum())

        return share(unlabelled) - share(~unlabelled & (shown < 0))

    def _flow(self, codes: np.ndarray, frequencies: np.ndarray) -> np.ndarray:
        """What arrives of each class at each linked row, by class mass normalisation (Zhu et al., 2003)."""
        known = np.zeros((len(codes), self.n_classes), np.float32)
        known[codes >= 0, codes[codes >= 0]] = 1
        mass = known
        for _ in range(N_ROUNDS):
            mass = self.reach * (self.links @ mass) + (1 - self.reach) * known
        return mass * frequencies / np.maximum(mass.sum(0), 1e-12)


def _links(X: np.ndarray, n_neighbors: int) -> csr_matrix:
    """The symmetric graph of nearest neighbours, normalised: no row gives more than it takes."""
    if X.shape[1] > N_FEATURES < len(X):
        X = PCA(N_FEATURES, random_state=0).fit_transform(X)
    graph = kneighbors_graph(X, min(n_neighbors, len(X) - 1), mode="distance").tocsr()
    scale = graph.max(1).toarray().ravel()
    scale[scale == 0] = np.median(scale[scale > 0]) if scale.any() else 1.0  # rows that are repeated as often
    at, to = np.repeat(np.arange(len(X)), np.diff(graph.indptr)), graph.indices
    graph.data = np.exp(-(graph.data / scale[at]) * (graph.data / scale[to]))
    graph = graph.maximum(graph.T)
    root = diags(1 / np.sqrt(np.maximum(np.asarray(graph.sum(1)).ravel(), 1e-12)))
    return csr_matrix(root @ graph @ root)
