"""Searches on Dask and Ray through joblib: two local workers find what one process finds."""

import os
from contextlib import contextmanager
from unittest.mock import patch

import joblib
import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV

from skdistort import TripletEmbedder

X, y = load_digits(return_X_y=True)
X, y = X[:200].astype(np.float32), y[:200]
SMALL = {"epochs": 1, "filters": (4,), "random_state": 0}


@contextmanager
def dask_workers():
    distributed = pytest.importorskip("distributed")
    cluster = distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None
    )
    with cluster, distributed.Client(cluster):
        yield


@contextmanager
def ray_workers():
    ray = pytest.importorskip("ray")
    from ray.util.joblib import register_ray

    with patch.dict(os.environ, RAY_USAGE_STATS_ENABLED="0"):
        ray.init(num_cpus=2, include_dashboard=False, logging_level="ERROR", log_to_driver=False)
    register_ray()
    try:
        yield
    finally:
        ray.shutdown()


@pytest.fixture(scope="module")
def serial():
    return search()


def search():
    grid = GridSearchCV(TripletEmbedder(**SMALL), {"margin": [0.2, 1.0]}, cv=2).fit(X, y)
    return grid.cv_results_["mean_test_score"], grid.transform(X)


@pytest.mark.parametrize(("backend", "start"), [("dask", dask_workers), ("ray", ray_workers)])
def test_search_on_two_workers_equals_the_serial_one(serial, backend, start):
    with start(), joblib.parallel_config(backend=backend, n_jobs=2):
        scores, embeddings = search()
    np.testing.assert_allclose(scores, serial[0], atol=1e-5)
    np.testing.assert_allclose(embeddings, serial[1], atol=1e-5)
