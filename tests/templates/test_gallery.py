"""The gallery's scores and search against one pair at a time, and in many blocks."""

from contextlib import contextmanager

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skdistort.templates import _gallery
from skdistort.templates._gallery import Gallery

pytestmark = pytest.mark.fast

properties = settings(deadline=None, max_examples=60)


def squared_distance(a, b):
    return sum((float(x) - float(y)) ** 2 for x, y in zip(a, b, strict=True))


@properties
@given(
    n_templates=st.integers(1, 120),
    n_names=st.integers(1, 40),
    n_probes=st.integers(1, 12),
    k=st.integers(1, 12),
    block=st.sampled_from([1, 64, 500, 2**20]),
    scale=st.sampled_from([1e-3, 1.0, 300.0]),
    seed=st.integers(0, 2**32 - 1),
)
def test_search_against_one_pair_at_a_time(n_templates, n_names, n_probes, k, block, scale, seed):
    rng = np.random.default_rng(seed)
    # Small integers, so that many distances are equal.
    embeddings, probes = (
        (scale * rng.integers(-3, 4, (n, 3))).astype(np.float32) for n in (n_templates, n_probes)
    )
    subjects = [str(i) for i in rng.integers(0, n_names, n_templates)]
    gallery = Gallery(subjects, embeddings)
    assert gallery.names == list(dict.fromkeys(subjects))
    np.testing.assert_array_equal(gallery.embeddings, embeddings)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_gallery, "_SCORES", block)
        patch.setattr(_gallery, "_PROBES", 5)
        patch.setattr(_gallery, "_CLAIMS", 5)
        found, scores = gallery.search(probes, min(k, len(gallery.names)))
        claims = [gallery.names[i] for i in rng.integers(0, len(gallery.names), n_probes)]
        claimed_scores = gallery.scores(claims, probes)
    for i, probe in enumerate(probes):
        best = {}
        for subject, embedding in zip(subjects, embeddings, strict=True):
            score = -squared_distance(probe, embedding)
            best[subject] = max(best.get(subject, -np.inf), score)
        # sorted() is stable: equal ids stay in the order of their first templates.
        order = sorted(best, key=best.get, reverse=True)[: found.shape[1]]
        assert [gallery.names[j] for j in found[i]] == order
        assert scores[i].tolist() == [best[name] for name in order]
        assert claimed_scores[i] == best[claims[i]]


@pytest.mark.parametrize("threaded", [1, 2**62])
@pytest.mark.parametrize("duplicates", [1, 50])
def test_search_in_many_blocks(duplicates, threaded, monkeypatch):
    monkeypatch.setattr(_gallery, "_THREADED", threaded)
    rng = np.random.default_rng(0)
    distinct = rng.standard_normal((60_000 // duplicates, 16), dtype=np.float32)
    embeddings = distinct.repeat(duplicates, axis=0)
    probes = rng.standard_normal((300, 16), dtype=np.float32)
    gallery = Gallery([str(i // 2) for i in range(len(embeddings))], embeddings)
    found, scores = gallery.search(probes, 5)
    differences = [
        np.square(embeddings - probe, dtype=np.float64).sum(axis=1) for probe in probes[:9]
    ]
    for i, distances in enumerate(differences):
        by_name = distances.reshape(-1, 2).min(axis=1)
        np.testing.assert_allclose(-scores[i], np.sort(by_name)[:5], rtol=1e-5)
        np.testing.assert_array_equal(found[i], np.argsort(by_name, kind="stable")[:5])


def test_gallery_without_templates():
    gallery = Gallery([], np.empty((0, 0), np.float32))
    assert gallery.names == []
    with pytest.raises(KeyError, match="2 of the ids"):
        gallery.scores(["a", "b", "a"], np.zeros((3, 4), np.float32))


@pytest.mark.parametrize("n_threads", [1, 3, 64])
def test_parts_of_the_gallery_are_searched_side_by_side(n_threads, monkeypatch):
    class Library:
        limits = []

        def select(self, user_api):
            assert user_api == "blas"
            return self

        def info(self):
            return [{"num_threads": 1}, {"num_threads": n_threads}]

        @contextmanager
        def limit(self, limits):
            self.limits.append(limits)
            yield

    rng = np.random.default_rng(0)
    embeddings, probes = (rng.integers(-3, 4, (n, 3)).astype(np.float32) for n in (50, 20))
    gallery = Gallery([str(i % 40) for i in range(50)], embeddings)
    expected = gallery.search(probes, 7)
    monkeypatch.setattr(_gallery, "ThreadpoolController", Library)
    # What was found before is kept.
    monkeypatch.setattr(_gallery, "_blas", _gallery._blas.__wrapped__)
    monkeypatch.setattr(_gallery, "_THREADED", 1000)
    found = gallery.search(probes, 7)
    np.testing.assert_array_equal(found[0], expected[0])
    np.testing.assert_array_equal(found[1], expected[1])
    assert Library.limits == [1]
