"""Searches on Dask and Ray through joblib: two local workers find what one process finds."""

import joblib
import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV
from support.clusters import CLUSTERS

from skdistort import TripletEmbedder

X, y = load_digits(return_X_y=True)
X, y = X[:200].astype(np.float32), y[:200]
SMALL = {"epochs": 1, "filters": (4,), "random_state": 0}


@pytest.fixture(scope="module")
def serial():
    return search()


def search():
    grid = GridSearchCV(TripletEmbedder(**SMALL), {"margin": [0.2, 1.0]}, cv=2).fit(X, y)
    return grid.cv_results_["mean_test_score"], grid.transform(X)


@CLUSTERS
def test_search_on_two_workers_equals_the_serial_one(serial, backend, start):
    with start(), joblib.parallel_config(backend=backend, n_jobs=2):
        scores, embeddings = search()
    np.testing.assert_allclose(scores, serial[0], atol=1e-5)
    np.testing.assert_allclose(embeddings, serial[1], atol=1e-5)
