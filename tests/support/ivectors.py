"""What the tests of i-vectors share: background models that are given, not trained."""

import numpy as np

from skdistort.ivector import UniversalBackgroundModel


def make_ubm(weights, means, variances):
    """Make a fitted background model of these parameters."""
    ubm = UniversalBackgroundModel(len(weights))
    ubm.weights_, ubm.means_, ubm.variances_ = weights, means, variances
    ubm.n_features_in_ = means.shape[1]
    return ubm


def random_ubm(rng, n_components, d):
    """Draw a fitted background model."""
    weights = rng.dirichlet(np.full(n_components, 5.0))
    variances = rng.uniform(0.3, 2.0, (n_components, d))
    return make_ubm(weights, 2 * rng.standard_normal((n_components, d)), variances)


def make_utterances(rng, lengths, d):
    """Draw utterances of these lengths, each about a place of its own."""
    return [rng.standard_normal((n, d)) + rng.standard_normal(d) for n in lengths]
