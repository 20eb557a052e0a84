"""Local clusters of two workers, for tests of what runs on Dask and Ray through joblib."""

import os
from contextlib import contextmanager
from unittest.mock import patch

import pytest


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


CLUSTERS = pytest.mark.parametrize(
    ("backend", "start"), [("dask", dask_workers), ("ray", ray_workers)]
)
