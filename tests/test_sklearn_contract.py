"""scikit-learn's contract: all of its checks, none expected to fail, none skipped."""

import keras
import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks
from support import contract

from skdistort import DistortionGenerator, SiameseVerifier, TripletEmbedder
from skdistort.networks import UnitLength
from skdistort.verification import SoftmaxEmbedder

TINY = {"epochs": 1, "filters": (2,), "random_state": 0}
ESTIMATORS = [
    TripletEmbedder(n_components=3, hidden_units=4, **TINY),
    DistortionGenerator(TripletEmbedder(n_components=3, hidden_units=4, **TINY), **TINY),
    SiameseVerifier(n_components=3, hidden_units=4, **TINY),
    SoftmaxEmbedder(n_components=3, hidden_units=4, **TINY),
]
# These fit many times over, so that the second one's embedder is a layer, which needs no training.
EXTRA_ESTIMATORS = [
    ESTIMATORS[0],
    DistortionGenerator(keras.Sequential([keras.layers.Flatten(), UnitLength()]), **TINY),
    *ESTIMATORS[2:],
]

# An epoch on noise does not distort well, and says so.
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@parametrize_with_checks(ESTIMATORS)
def test_check(estimator, check):
    contract.run_check(check, estimator)


@contract.parametrize_with_extra_checks(EXTRA_ESTIMATORS)
def test_extra_check(estimator, check):
    contract.run_extra_check(check, estimator)


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=contract.name)
def test_number_of_checks(estimator):
    assert contract.count_checks(estimator) >= 45
