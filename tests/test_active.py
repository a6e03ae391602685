"""Active learning: rows that are queried, labels that are taught, and warm starts, by which training continues."""

import os

import numpy as np
import pytest
import torch
from sklearn.datasets import make_blobs
from sklearn.exceptions import NotFittedError

from aaekit import ActiveLearner, AdversarialAutoencoder, ClusteringAAE, InputError, SemiSupervisedAAE
from aaekit.active import _frequencies
from aaekit.estimators import semi_supervised

pytestmark = pytest.mark.usefixtures("few_trees")

QUICK = {"hidden": (32,), "max_steps": 300, "random_state": 0}
K = 6


@pytest.fixture(scope="module")
def blobs():
    X, y = make_blobs(600, 8, centers=K, cluster_std=1.5, random_state=3)
    return X.astype(np.float32), y


@pytest.fixture(scope="module")
def clusters(blobs):
    return ClusteringAAE(n_clusters=K + 2, loss_weights={"marginal_kl": 10.0}, **QUICK | {"random_state": 2}).fit(
        blobs[0]
    )


@pytest.fixture
def session(blobs, clusters):
    return ActiveLearner(blobs[0], clusters=clusters, classifier=SemiSupervisedAAE(**QUICK | {"max_steps": 150}))


def test_first_questions_are_typical_of_each_cluster(session, clusters, blobs):
    p = clusters.cluster_proba(blobs[0])
    used = len(np.unique(p.argmax(1)))
    rows = session.query(used)
    assert sorted(p[rows].argmax(1)) == sorted(np.unique(p.argmax(1)))
    for row in rows:  # among the surest half of its cluster
        members = p[p.argmax(1) == p[row].argmax(), p[row].argmax()]
        assert p[row].max() >= np.median(members)
    few, many = session.query(2), session.query(used + 5)
    largest = np.argsort(-np.bincount(p.argmax(1)))[:2]
    assert set(p[few].argmax(1)) == set(largest) and len(set(many.tolist())) == used + 5
    assert set(p[many].argmax(1)) == set(p[rows].argmax(1))


def test_names_of_clusters_reach_their_members(session, blobs):
    """With a label for each cluster, nearly every row is right; five rows more do no harm."""
    X, y = blobs
    rows = session.query(K + 2)
    assert (session.teach(rows, y[rows]).predict(X) == y).mean() > 0.9
    more = session.query(5)
    assert not set(more.tolist()) & set(rows.tolist()) and len(set(more.tolist())) == 5
    assert (session.teach(more, y[more]).predict(X) == y).mean() > 0.9
    assert session.labels == {int(i): y[i] for i in [*rows, *more]}


def test_later_questions_are_doubtful_and_unlike(session, blobs):
    X, y = blobs
    rows = session.query(K + 2)
    session.teach(rows, y[rows])
    p = np.sort(session.model.predict_proba(X), 1)
    doubt = 1 - (p[:, -1] - p[:, -2])
    asked = session.query(4)
    left = np.setdiff1d(np.arange(len(X)), rows)
    assert doubt[asked].min() >= np.sort(doubt[left])[-80] and np.array_equal(asked, session.query(4))
    apart = np.linalg.norm(X[asked][:, None] - X[asked], axis=2)[np.triu_indices(4, 1)]
    assert apart.min() > 0.5


@pytest.mark.parametrize(
    ("given", "steps"), [({}, [40, 20, 20]), ({"max_steps": 30}, [30] * 3), ({"max_epochs": 1}, [6] * 3)]
)
def test_later_answers_take_half_the_steps_unless_they_were_given(given, steps, blobs, clusters, monkeypatch):
    monkeypatch.setattr(semi_supervised, "taught_steps", lambda n_rows: 40)
    session = ActiveLearner(
        blobs[0], clusters=clusters, classifier=SemiSupervisedAAE(hidden=(32,), random_state=0, **given)
    )
    taken = []
    for _ in steps:
        rows = session.query(K)
        taken.append(session.teach(rows, blobs[1][rows]).model.n_steps_)
    assert taken == steps


def test_nobody_waits_longer_for_later_answers_than_for_1500_steps(blobs, clusters, monkeypatch):
    monkeypatch.setattr(semi_supervised, "taught_steps", lambda n_rows: 8000)

    def untrained(model, X, y, **_):
        model.plan_ = model.plan_for(X, y)
        return model

    monkeypatch.setattr(SemiSupervisedAAE, "fit", untrained)
    session = ActiveLearner(blobs[0], clusters=clusters)
    session.teach(np.arange(20), blobs[1][:20])
    assert session.model.max_steps is None and session.model.plan_.n_steps == 5000
    assert session.teach(np.arange(20, 30), blobs[1][20:30]).model.max_steps == 1500


@pytest.mark.parametrize("names", [np.array(list("abcdef")), np.array([-1, 3, 5, 8, 9, 11]), np.arange(K) * 1.5])
def test_labels_of_any_kind(names, session, blobs):
    X, y = blobs
    rows = session.query(K + 2)
    found = session.teach(rows, names[y[rows]]).predict(X)
    assert found.dtype.kind == names.dtype.kind and (found == names[y]).mean() > 0.9


def test_a_row_told_again_takes_its_new_label(session, blobs):
    X, y = blobs
    rows = session.query(K + 2)
    session.teach(rows, (y[rows] + 1) % K).teach(rows, y[rows])
    assert [session.labels[int(i)] for i in rows] == y[rows].tolist()


def test_a_class_may_appear_later(blobs, clusters, monkeypatch):
    X, y = blobs
    monkeypatch.setattr(semi_supervised, "taught_steps", lambda n_rows: 8)
    session = ActiveLearner(X, clusters=clusters, classifier=SemiSupervisedAAE(hidden=(32,), random_state=0))
    first, more = (np.concatenate([np.flatnonzero(y == k)[:2] for k in classes]) for classes in ([0, 1], [2, 3]))
    assert session.teach(first, y[first]).model.classes_.tolist() == [0, 1]
    assert session.teach(more, y[more]).model.classes_.tolist() == [0, 1, 2, 3]


def test_names_of_clusters_do_not_drown_the_answers(session, blobs, monkeypatch):
    X, y = blobs
    taught, fit = [], SemiSupervisedAAE.fit
    monkeypatch.setattr(
        SemiSupervisedAAE, "fit", lambda self, X, y, **k: taught.append(y.copy()) or fit(self, X, y, **k)
    )
    rows = session.query(K + 2)
    session.teach(rows, y[rows])
    more = session.query(4)
    session.teach(more, y[more])
    for known, n_told in zip(taught, (K + 2, K + 6), strict=True):
        n_named = (known >= 0).sum()
        assert 5 * n_told <= n_named <= (1 + 10) * n_told + K, "some names, and not too many beside the answers"


def test_models_that_were_given_stay_as_they_were(session, clusters, blobs):
    before = {k: v.clone() for k, v in clusters.networks_.state_dict().items()}
    rows = session.query(K + 2)
    session.teach(rows, blobs[1][rows])
    assert all(torch.equal(v, clusters.networks_.state_dict()[k]) for k, v in before.items())
    assert not hasattr(session.classifier, "networks_") and session.classifier.class_prior == "auto"


def test_clusters_are_found_if_need_be(blobs):
    session = ActiveLearner(blobs[0], clusters=ClusteringAAE(n_clusters=4, **QUICK), random_state=1)
    assert len(session.query(4)) == 4 and session.clusters_.n_clusters == 4
    assert not hasattr(session.clusters, "networks_") and ActiveLearner(blobs[0]).clusters.n_clusters == 20


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda s: s.query(0), "n: expected a number from 1 to 600, .* got 0"),
        (lambda s: s.query(601), "n: expected a number from 1 to 600, .* got 601"),
        (lambda s: s.teach([1, 2], [0]), r"as many labels, got \(2,\) and \(1,\)"),
        (lambda s: s.teach([0.5, 2], [0, 1]), "expected whole row numbers"),
        (lambda s: s.teach([1, 600], [0, 1]), "from 0 to 599, got 1 to 600"),
        (lambda s: s.teach([-1, 3], [0, 1]), "from 0 to 599, got -1 to 3"),
        (lambda s: s.teach([1, 2], [7, 7]), r"at least 2 classes, got \[7\]"),
        (lambda s: s.teach([1, 2], [0, None]), "got None or NaN: leave out"),
        (lambda s: s.teach([1, 2, 3], [0, 1, "?"]), "all texts or all numbers"),
        (lambda s: s.predict(np.zeros((1, 8))), "expected labels before predictions, got none"),
        (lambda s: ActiveLearner(np.zeros((1, 3))), "at least 2 rows, got 1"),
    ],
)
def test_one_line_says_what_is_wrong(call, words, session):
    with pytest.raises(InputError, match=words) as caught:
        call(session)
    assert "\n" not in str(caught.value) and session.labels == {}


# --- warm starts -----------------------------------------------------------------------------------------------------
def test_a_fit_starts_where_another_ended(blobs, clusters):
    """Networks of the same names and shapes are taken over; the head of y has another shape and is new."""
    X, y = blobs
    still = {"max_steps": 1, "ema_decay": 0.0, "learning_rate": 1e-12, "hidden": (32,), "random_state": 0}

    def distance(model):
        own, theirs = (m.networks_.encoder.backbone.state_dict() for m in (model, clusters))
        return max(float((own[k] - theirs[k]).abs().max()) for k in own if "running" not in k and "num" not in k)

    model = SemiSupervisedAAE(**still, warm_start_from=clusters)
    assert distance(model.fit(X, y)) < 1e-6
    assert model.networks_.encoder.head_y.out_features == K
    assert distance(model.fit(X, y)) < 1e-6, "as often as it is fitted"
    assert distance(model.set_params(warm_start_from=None).fit(X, y)) > 0.01


def test_class_frequencies_are_not_started_from(blobs):
    """Those of the other's fit do not matter any more."""
    X, y = blobs
    other = SemiSupervisedAAE(**(QUICK | {"max_steps": 2}), class_prior="uniform").fit(X, y)
    given = (0.5, 0.1, 0.1, 0.1, 0.1, 0.1)
    model = SemiSupervisedAAE(**(QUICK | {"max_steps": 2}), class_prior=given, warm_start_from=other).fit(X, y)
    assert model.networks_.class_frequencies.expected.tolist() == pytest.approx(given)


def test_only_a_fitted_model_can_be_started_from(blobs):
    with pytest.raises(NotFittedError, match="warm_start_from: expected a fitted estimator, got"):
        SemiSupervisedAAE(**QUICK, warm_start_from=AdversarialAutoencoder()).fit(*blobs)


def test_classes_count_as_equally_frequent_unless_clusters_say_otherwise():
    """A cluster of two classes makes them look unlike; one class of most rows is unlike."""
    sizes, votes = np.array([50, 40, 100]), np.array([[1, 0, 0], [0, 1, 0], [0, 2, 2]])
    assert _frequencies(sizes, votes) == pytest.approx(1 / 3)
    assert _frequencies(np.array([20, 100, 80]), votes) == pytest.approx((0.1, 0.7, 0.2))
    unnamed = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 0]])[:, :2]
    assert _frequencies(np.array([20, 100, 500]), unnamed) == pytest.approx((20 / 120, 100 / 120))


@pytest.mark.parametrize("given", ["labelled", (0.5, 0.1, 0.1, 0.1, 0.1, 0.1)])
def test_frequencies_that_were_given_are_kept(blobs, clusters, given):
    X, y = blobs
    classifier = SemiSupervisedAAE(**(QUICK | {"max_steps": 2}), class_prior=given)
    session = ActiveLearner(X, clusters=clusters, classifier=classifier)
    rows = np.concatenate([np.flatnonzero(y == k)[:2] for k in range(K)])
    model = session.teach(rows, y[rows]).model
    assert model.class_prior == given and not hasattr(model, "class_frequencies_")


def test_rows_that_were_asked_for_do_not_say_how_frequent_classes_are(blobs, clusters):
    """Nine labels of one class and one of each other: a fit begins with classes that are alike all the same."""
    X, y = blobs
    classifier = SemiSupervisedAAE(**(QUICK | {"max_steps": 2}), loss_weights={"soft_label": 0})
    session = ActiveLearner(X, clusters=clusters, classifier=classifier)
    rows = np.concatenate([np.flatnonzero(y == 0)[:9], *(np.flatnonzero(y == k)[:1] for k in range(1, K))])
    model = session.teach(rows, y[rows]).model
    assert model.class_prior == ("auto", *[1 / K] * K) and model.class_frequencies_ == pytest.approx([1 / K] * K)
    assert classifier.class_prior == "auto", "what was given stays as it was"


@pytest.fixture
def seen(monkeypatch):
    """The labels of each fit of a classifier."""
    given, fit = [], SemiSupervisedAAE.fit
    monkeypatch.setattr(SemiSupervisedAAE, "fit", lambda self, X, y, **k: given.append(y) or fit(self, X, y, **k))
    return given


@pytest.mark.parametrize("where", ["middle", "edge"])
def test_a_cluster_has_a_name_while_no_answer_in_its_middle_differs(where, blobs, clusters, seen):
    """A row at the edge may be of another class than its cluster, and is just what is asked for."""
    X, y = blobs
    session = ActiveLearner(X, clusters=clusters, classifier=SemiSupervisedAAE(**(QUICK | {"max_steps": 2})))
    rows = session.query(K)
    session.teach(rows, y[rows])
    p = clusters.cluster_proba(X)
    of, sure = p.argmax(1), p.max(1)
    k = of[rows[0]]
    members = np.flatnonzero(of == k)
    ranked = members[np.argsort(-sure[members], kind="stable")]
    more = np.setdiff1d(ranked[: len(ranked) // 2] if where == "middle" else ranked[len(ranked) // 2 + 1 :], rows)[:1]
    session.teach(more, y[more])  # of the same class, as told before
    assert (seen[1][of == k] >= 0).sum() > 10
    session.teach(more, (y[more] + 1) % K)  # another one
    named = (seen[2][of == k] >= 0).sum()
    assert named == 2 if where == "middle" else named > 10
    assert seen[2][more] == (y[more] + 1) % K and (seen[2] >= 0).sum() > 10 * (K - 2)


def test_an_answer_at_the_edge_of_a_cluster_does_not_name_it(blobs, clusters, seen):
    X, y = blobs
    p = clusters.cluster_proba(X)
    of, sure = p.argmax(1), p.max(1)
    edges = [min(np.flatnonzero(of == k), key=lambda i: sure[i]) for k in np.unique(of)]
    session = ActiveLearner(X, clusters=clusters, classifier=SemiSupervisedAAE(**(QUICK | {"max_steps": 2})))
    session.teach(np.array(edges), y[edges])
    assert (seen[0] >= 0).sum() == len(edges)


def test_a_session_is_saved_whole_wherever_it_goes(session, blobs, tmp_path):
    """Also once it was loaded; and nothing stays of another session that was there."""
    X, y = blobs
    rows = session.query(K)
    session.teach(rows, y[rows]).save(tmp_path / "a")
    again = ActiveLearner.load(tmp_path / "a", X)
    again.save(tmp_path / "b")
    moved = ActiveLearner.load(tmp_path / "b", X)
    np.testing.assert_array_equal(moved.clusters.cluster_proba(X), session.clusters_.cluster_proba(X))
    np.testing.assert_array_equal(moved.predict(X), session.predict(X))
    ActiveLearner(X).save(tmp_path / "a")
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["session.json"]


@pytest.mark.parametrize("function, is_new", [("write_json", False), ("os.replace", True)])
def test_a_save_that_is_interrupted_leaves_the_old_session_or_the_new_one(
    function, is_new, clusters, blobs, tmp_path, monkeypatch
):
    X, y = blobs
    session = ActiveLearner(X, clusters=clusters, classifier=SemiSupervisedAAE(**(QUICK | {"max_steps": 2})))
    rows = session.query(K)
    old = session.teach(rows, y[rows]).model
    session.save(tmp_path)
    more = session.query(2)
    new = session.teach(more, y[more]).model
    with monkeypatch.context() as patch:
        if function == "write_json":
            patch.setattr("aaekit.active.write_json", lambda path, value: (_ for _ in ()).throw(KeyboardInterrupt))
        else:
            replace = os.replace

            def interrupted(source, target):
                if str(source).endswith("-new.safetensors"):
                    raise KeyboardInterrupt
                replace(source, target)

            patch.setattr("aaekit.active.os.replace", interrupted)
        with pytest.raises(KeyboardInterrupt):
            session.save(tmp_path)
    again = ActiveLearner.load(tmp_path, X)
    assert again.is_taught and len(again.labels) == K + 2 * is_new
    np.testing.assert_array_equal(again.model.predict_proba(X), (new if is_new else old).predict_proba(X))
    again.save(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"session.json", "clusters.safetensors", "model.safetensors"}
    (tmp_path / "model.safetensors").write_bytes((tmp_path / "clusters.safetensors").read_bytes())
    with pytest.raises(InputError, match="model.safetensors: expected the file of the session, got another"):
        ActiveLearner.load(tmp_path, X)


def test_a_session_with_objects_is_loaded_with_them(blobs, clusters, tmp_path):
    X, y = blobs
    vary = lambda x: x + 0.1 * torch.randn_like(x)
    quick = {**QUICK, "max_steps": 2}
    session = ActiveLearner(X, clusters=clusters, classifier=SemiSupervisedAAE(augmentation=vary, **quick))
    rows = session.query(K)
    session.teach(rows, y[rows]).save(tmp_path)
    again = ActiveLearner.load(tmp_path, X, classifier=SemiSupervisedAAE(augmentation=vary, **quick))
    np.testing.assert_array_equal(again.predict(X), session.predict(X))


def test_row_numbers_are_whole(session):
    for rows in ([], [1.0, 2.0]):
        with pytest.raises(InputError, match="expected whole row numbers, at least one"):
            session.teach(rows, [1, 2][: len(rows)])
