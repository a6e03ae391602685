"""What a few labels say of the rows near them: label spreading along nearest neighbours (Zhou et al., 2004)."""

import numpy as np
from scipy.sparse import csr_matrix, diags
from sklearn.decomposition import PCA
from sklearn.neighbors import kneighbors_graph

N_ROWS = 50_000  # at most, that labels spread to: time goes with the square
N_FEATURES = 50  # at most, that distances are measured in
N_ROUNDS = 60


def spread_labels(
    rows: np.ndarray, codes: np.ndarray, frequencies: np.ndarray, random_state: int, n_neighbors: int = 7,
    reach: float = 0.99,
) -> np.ndarray:  # fmt: skip
    """Class probabilities of rows by the labels of some, shape `(n, n_classes)`, float32.

    Rows are linked with their nearest neighbours, by Euclidean distance in their first principal components, the
    closer the stronger, in units of each one's distance from its last neighbour (Zelnik-Manor & Perona, 2004). Labels
    flow along the links, and their masses are scaled to `frequencies` (class mass normalisation, Zhu et al., 2003).

    Parameters
    ----------
    rows : ndarray of shape (n, ...)
        Numbers of any kind; features should have comparable scales.
    codes : ndarray of shape (n,)
        0, 1, ...; -1 where there is no label.
    frequencies : ndarray of shape (n_classes,)
        How frequent each class is, in sum 1.
    random_state : int
        Seed of the choice of rows: of more than 50,000 only these many are linked, at most half of them labelled.
    n_neighbors : int
        Neighbours that each row is linked with.
    reach : float
        Share of what a row takes from its neighbours in each round; the rest comes from its own label.

    Returns
    -------
    ndarray of shape (n, n_classes)
        Rows of zeros where no label arrived, and for rows that were not linked.
    """
    labelled, n_classes = np.flatnonzero(codes >= 0), len(frequencies)
    if len(labelled) == len(rows):
        return np.eye(n_classes, dtype=np.float32)[codes]
    chosen = np.arange(len(rows))
    if len(rows) > N_ROWS:
        random = np.random.default_rng(random_state)
        labelled = np.sort(random.permutation(labelled)[: N_ROWS // 2])
        others = random.permutation(np.flatnonzero(codes < 0))[: N_ROWS - len(labelled)]
        chosen = np.sort(np.concatenate([labelled, others]))
    links = _links(rows[chosen].reshape(len(chosen), -1).astype(np.float32), n_neighbors)
    known = np.zeros((len(chosen), n_classes), np.float32)
    known[np.searchsorted(chosen, labelled), codes[labelled]] = 1
    mass = known
    for _ in range(N_ROUNDS):
        mass = reach * (links @ mass) + (1 - reach) * known
    mass = mass * frequencies / np.maximum(mass.sum(0), 1e-12)
    found = np.zeros((len(rows), n_classes), np.float32)
    found[chosen] = mass / np.maximum(mass.sum(1, keepdims=True), 1e-12)
    return found


def _links(X: np.ndarray, n_neighbors: int) -> csr_matrix:
    """The symmetric graph of nearest neighbours, normalised: no row gives more than it takes."""
    if X.shape[1] > N_FEATURES < len(X):
        X = PCA(N_FEATURES, random_state=0).fit_transform(X)
    graph = kneighbors_graph(X, min(n_neighbors, len(X) - 1), mode="distance").tocsr()
    scale = np.maximum(graph.max(1).toarray().ravel(), 1e-12)
    at, to = np.repeat(np.arange(len(X)), np.diff(graph.indptr)), graph.indices
    graph.data = np.exp(-(graph.data / scale[at]) * (graph.data / scale[to]))
    graph = graph.maximum(graph.T)
    root = diags(1 / np.sqrt(np.maximum(np.asarray(graph.sum(1)).ravel(), 1e-12)))
    return csr_matrix(root @ graph @ root)
