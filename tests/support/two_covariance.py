"""Samples of classes drawn from the two-covariance model, and their density in full."""

import numpy as np
from hypothesis import strategies as st
from scipy.stats import multivariate_normal

# At least one class has two samples.
counts_of_classes = st.lists(st.integers(1, 5), min_size=2, max_size=6).filter(
    lambda counts: max(counts) > 1
)


def random_covariance(rng, d, rank=None):
    factor = rng.standard_normal((d, rank or 2 * d))
    return factor @ factor.T / d


def draw_model(seed, d, rank=None):
    rng = np.random.default_rng(seed)
    return rng.standard_normal(d), random_covariance(rng, d, rank), random_covariance(rng, d)


def draw_classes(seed, counts, mean, between, within):
    rng = np.random.default_rng(seed)
    codes = np.repeat(np.arange(len(counts)), counts)
    centres = rng.multivariate_normal(mean, between, len(counts))
    noise = rng.multivariate_normal(np.zeros(len(mean)), within, len(codes))
    return centres[codes] + noise, codes


def log_density(samples, mean, between, within):
    """Log-density of samples of one class, as the one long Gaussian vector that they are."""
    n = len(samples)
    joint = np.kron(np.ones((n, n)), between) + np.kron(np.eye(n), within)
    return multivariate_normal(np.tile(mean, n), joint).logpdf(np.ravel(samples))
