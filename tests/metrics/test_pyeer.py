"""Error rates against pyeer, an independent implementation of the field's definitions."""

import numpy as np
import pytest
from pyeer import eer_stats

from skdistort.metrics import d_prime, det_points, equal_error_rate, operating_points

pytestmark = pytest.mark.fast


@pytest.mark.parametrize("distances", [False, True])
@pytest.mark.parametrize("seed", range(5))
def test_agrees_with_pyeer(seed, distances):
    rng = np.random.default_rng(seed)
    genuine, impostor = rng.normal(1 + seed / 2, 1, 700), rng.normal(0, 2, 2000)
    if distances:
        genuine, impostor = -genuine, -impostor
    thresholds, fmr, fnmr = eer_stats.calculate_roc(genuine, impostor, ds_scores=distances)
    pairs = np.repeat([True, False], [700, 2000]), np.concatenate([genuine, impostor])

    ours = {
        round(t, 9): (a, b)
        for a, b, t in zip(*det_points(*pairs, distances=distances), strict=True)
    }
    for threshold, *rates in zip(thresholds, fmr, fnmr, strict=True):
        assert ours[round(threshold, 9)] == pytest.approx(rates, abs=1e-12)

    _, low, high, _ = eer_stats.get_eer_values(fmr, fnmr)
    assert low - 1e-12 <= equal_error_rate(*pairs, distances=distances)[0] <= high + 1e-12
    # Rates of the targets themselves occur: there are 2,000 impostors.
    points = operating_points(*pairs, distances=distances)
    expected = [eer_stats.get_fmr_op(fmr, fnmr, target)[1] for target in (0.01, 0.001, 0.0)]
    assert [point.fnmr for point in points] == pytest.approx(expected, abs=1e-12)
    moments = genuine.mean(), genuine.std(), impostor.mean(), impostor.std()
    assert d_prime(*pairs, distances=distances) == pytest.approx(
        eer_stats.get_decidability_value(*moments)
    )
