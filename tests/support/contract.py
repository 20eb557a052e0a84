"""What tests of scikit-learn's contract share: checks beyond the usual ones, and none skipped."""

from unittest import SkipTest

import pytest
from sklearn.utils import estimator_checks

# Those that parametrize_with_checks leaves out.
TRANSFORMER_CHECKS = [
    estimator_checks.check_dataframe_column_names_consistency,
    estimator_checks.check_get_feature_names_out_error,
    estimator_checks.check_global_output_transform_pandas,
    estimator_checks.check_param_validation,
    estimator_checks.check_set_output_transform,
    estimator_checks.check_set_output_transform_pandas,
    estimator_checks.check_transformer_get_feature_names_out,
    estimator_checks.check_transformer_get_feature_names_out_pandas,
]


def parametrize_with_extra_checks(estimators, checks=TRANSFORMER_CHECKS):
    """Run a test of `estimator` and `check` on each of both, named by class and function."""

    def decorate(test):
        # Several of them fit on a data frame and transform an array, or the reverse, on purpose.
        test = pytest.mark.filterwarnings("ignore:X (does not have valid|has) feature names")(test)
        test = pytest.mark.parametrize("check", checks, ids=name)(test)
        return pytest.mark.parametrize("estimator", estimators, ids=name)(test)

    return decorate


def run_check(check, *args):
    """Run a check; one that skips fails."""
    try:
        check(*args)
    except SkipTest as skip:
        pytest.fail(f"skipped: {skip}")


def run_extra_check(check, estimator):
    """Run a check that wants the estimator's name, as those above do."""
    run_check(check, type(estimator).__name__, estimator)


def count_checks(estimator):
    """Count the checks that parametrize_with_checks runs."""
    return len(list(estimator_checks.estimator_checks_generator(estimator)))


def name(obj):
    """Name a check, or an estimator by its class, as a test's id."""
    return getattr(obj, "__name__", type(obj).__name__)
