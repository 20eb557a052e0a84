"""Which clients and impostors SiameseVerifier learns from: spaces, vectors, databases, labels."""

import numpy as np
import pytest
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.datasets import load_digits
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import FeatureUnion, make_pipeline
from sklearn.preprocessing import FunctionTransformer
from support.backends import TINY_VERIFIER

from skdistort import SiameseVerifier


@pytest.fixture(scope="module")
def digits():
    X, y = load_digits(return_X_y=True)
    return X[:600], y[:600]


class Recorder(TransformerMixin, BaseEstimator):
    """A space of centred pixels that remembers the shapes it was given, one list for all."""

    shapes = []

    def __init__(self, images=False):
        self.images = images

    def fit(self, X, y=None):
        self.is_fitted_ = True
        return self

    def transform(self, X):
        self.shapes.append(X.shape)
        rows = X.reshape(len(X), -1)
        return rows - rows.mean(axis=0)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = self.images
        return tags


@pytest.mark.parametrize(("images", "shape"), [(True, (100, 8, 8, 1)), (False, (100, 64))])
@pytest.mark.parametrize(
    "hold",
    [
        lambda space: space,
        lambda space: make_pipeline(space, FunctionTransformer()),
        lambda space: make_pipeline("passthrough", space),
        lambda space: FeatureUnion([("first", space), ("second", "drop")]),
        lambda space: FrozenEstimator(make_pipeline(space).fit(np.ones((2, 3)))),
    ],
)
def test_selection_space_is_given_what_its_tags_ask_for(images, shape, hold, digits):
    X, _ = digits
    space = hold(Recorder(images))
    Recorder.shapes.clear()
    SiameseVerifier(selection_space=space, epochs=1, **TINY_VERIFIER).fit(X[:100])
    assert set(Recorder.shapes) == {shape}


def test_second_database_gives_the_impostors(digits, monkeypatch):
    X, y = digits
    triplets = spy_on_selection(monkeypatch)
    SiameseVerifier(epochs=1, random_state=0, impostor_threshold=-1.0, **TINY_VERIFIER).fit(
        X[y < 5], impostor_database=X[y >= 5]
    )
    n = np.sum(y < 5)
    anchors, clients, impostors = np.transpose(triplets)
    assert (anchors < n).all()
    assert (clients < n).all()
    assert (impostors >= n).all()


@pytest.mark.parametrize("given", ["y", "groups", None])
@pytest.mark.parametrize("fraction", ["impostor_fraction", "validation_fraction", None])
def test_given_vectors_stand_in_for_the_selection_space(given, fraction, digits):
    X, y = digits[0][:100] - digits[0][:100].mean(axis=0), digits[1][:100]
    fit = {"y": y, "groups": np.arange(100) // 3, None: None}[given]
    fit = {} if given is None else {given: fit}
    verifier = SiameseVerifier(epochs=1, random_state=0, **TINY_VERIFIER)
    if fraction is not None:
        verifier.set_params(**{fraction: 0.4})
    by_space = clone(verifier).set_params(selection_space=FunctionTransformer()).fit(X, **fit)
    for name, vectors in (("the same", X), ("others", X[::-1])):
        by_vectors = clone(verifier).fit(X, selection_vectors=vectors, **fit)
        assert (by_vectors.history_ == by_space.history_) == (name == "the same")
        same = np.array_equal(by_vectors.transform(X), by_space.transform(X))
        assert same == (name == "the same")


def test_given_vectors_choose_in_a_second_database_too(digits, monkeypatch):
    X, y = digits
    triplets = spy_on_selection(monkeypatch)
    classes = class_vectors(y)
    SiameseVerifier(epochs=1, random_state=0, impostor_threshold=0.9, **TINY_VERIFIER).fit(
        X[:200],
        impostor_database=X[200:],
        selection_vectors=classes[:200],
        impostor_vectors=classes[200:][::-1],
    )
    anchors, clients, impostors = np.transpose(triplets)
    assert (y[clients] == y[anchors]).all()
    assert (y[200:][::-1][impostors - 200] == y[anchors]).all()


def test_samples_without_clients_are_not_learned_from(digits, monkeypatch):
    X, y = digits
    triplets = spy_on_selection(monkeypatch)
    vectors = class_vectors(y)
    # A vector of zeros has no direction, and no neighbours.
    vectors[:20] = 0
    SiameseVerifier(epochs=1, random_state=0, **TINY_VERIFIER).fit(X, selection_vectors=vectors)
    anchors, clients, impostors = np.transpose(triplets)
    assert set(anchors) == set(range(20, 600))
    assert min(clients) == min(impostors) == 20


@pytest.mark.parametrize("drawn", [True, False])
def test_held_out_impostors_are_not_learned_from(drawn, digits, monkeypatch):
    X, _ = digits
    verifier = SiameseVerifier(
        epochs=1, random_state=0, impostor_threshold=-1.0, validation_fraction=0.3, **TINY_VERIFIER
    )
    triplets = spy_on_selection(monkeypatch, splits := [])
    if drawn:
        verifier.set_params(impostor_fraction=0.5).fit(X)
    else:
        verifier.fit(X[:400], impostor_database=X[400:])
    assert len(splits) == 2
    learned, watched = (set(np.ravel(triplets[split])) for split in splits)
    assert not learned & watched


def test_drawn_database_keeps_groups_whole(digits, monkeypatch):
    X, _ = digits
    groups = np.arange(len(X)) // 5
    triplets = spy_on_selection(monkeypatch)
    SiameseVerifier(
        epochs=1, random_state=0, impostor_fraction=0.5, impostor_threshold=-1.0, **TINY_VERIFIER
    ).fit(X, groups=groups)
    anchors, clients, impostors = groups[np.transpose(triplets)]
    assert (anchors != clients).all()
    assert not {*anchors, *clients} & set(impostors)
    assert len(set(impostors)) > 20


def test_labels_give_clients_and_impostors(digits, monkeypatch):
    X, y = digits
    triplets = spy_on_selection(monkeypatch)
    SiameseVerifier(epochs=1, random_state=0, **TINY_VERIFIER).fit(X, y)
    anchors, clients, impostors = y[np.transpose(triplets)]
    assert (anchors == clients).all()
    assert (anchors != impostors).all()


def test_a_search_without_labels_is_judged_by_labels(digits):
    X, y = digits
    verifier = SiameseVerifier(epochs=1, random_state=0, use_labels=False, **TINY_VERIFIER)
    search = GridSearchCV(verifier, {"client_threshold": [0.0, 0.6]}, cv=2).fit(X[:200], y[:200])
    assert len(set(search.cv_results_["mean_test_score"])) == 2
    alone = clone(search.best_estimator_).fit(X[:200])
    assert alone.history_ == search.best_estimator_.history_
    with_labels = clone(alone).set_params(use_labels=True).fit(X[:200], y[:200])
    assert with_labels.history_ != alone.history_


def class_vectors(y):
    """Draw vectors that tell the classes, and no two of which are equal."""
    return np.eye(10)[y] + np.random.default_rng(0).normal(0, 0.01, (len(y), 10))


def spy_on_selection(monkeypatch, splits=None):
    """Collect the row numbers of anchors, clients and impostors: a list of their triplets.

    Where a list is given for them, it gets a slice of triplets for each call.
    """
    from skdistort.verification import _siamese

    triplets = []
    original = _siamese.triplet_batches

    def spying(images, selection, rows, **options):
        anchors, clients, impostors = selection
        before = len(triplets)
        for i, anchor in enumerate(anchors):
            for client, impostor in zip(clients[i], impostors[i], strict=True):
                if client >= 0 and impostor >= 0:
                    triplets.append(rows[[anchor, client, impostor]])
        if splits is not None:
            splits.append(slice(before, len(triplets)))
        return original(images, selection, rows, **options)

    monkeypatch.setattr(_siamese, "triplet_batches", spying)
    return triplets
