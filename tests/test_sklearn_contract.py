"""scikit-learn's contract: all of its checks, none expected to fail, none skipped."""

from unittest import SkipTest

import keras
import pytest
from sklearn.utils.estimator_checks import (
    check_dataframe_column_names_consistency,
    check_get_feature_names_out_error,
    check_global_output_transform_pandas,
    check_param_validation,
    check_set_output_transform,
    check_set_output_transform_pandas,
    check_transformer_get_feature_names_out,
    check_transformer_get_feature_names_out_pandas,
    estimator_checks_generator,
    parametrize_with_checks,
)

from skdistort import DistortionGenerator, SiameseVerifier, TripletEmbedder
from skdistort.baselines import SoftmaxEmbedder

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
    DistortionGenerator(keras.layers.Flatten(), **TINY),
    *ESTIMATORS[2:],
]
EXTRA_CHECKS = [
    check_dataframe_column_names_consistency,
    check_get_feature_names_out_error,
    check_global_output_transform_pandas,
    check_param_validation,
    check_set_output_transform,
    check_set_output_transform_pandas,
    check_transformer_get_feature_names_out,
    check_transformer_get_feature_names_out_pandas,
]

# An epoch on noise does not distort well, and says so.
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def run(check, *args):
    try:
        check(*args)
    except SkipTest as skip:
        pytest.fail(f"skipped: {skip}")


@parametrize_with_checks(ESTIMATORS)
def test_check(estimator, check):
    run(check, estimator)


# Several of these fit on a data frame and transform an array, or the reverse, on purpose.
@pytest.mark.filterwarnings("ignore:X (does not have valid|has) feature names")
@pytest.mark.parametrize("estimator", EXTRA_ESTIMATORS, ids=lambda e: type(e).__name__)
@pytest.mark.parametrize("check", EXTRA_CHECKS, ids=lambda check: check.__name__)
def test_extra_check(estimator, check):
    run(check, type(estimator).__name__, estimator)


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=lambda estimator: type(estimator).__name__)
def test_number_of_checks(estimator):
    names = [
        getattr(check, "func", check).__name__ for _, check in estimator_checks_generator(estimator)
    ]
    assert len(names) >= 45, names
