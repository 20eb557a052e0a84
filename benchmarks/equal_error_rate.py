"""Time `skdistort.metrics.equal_error_rate` against `sklearn.metrics.det_curve`.

Both run in the same process on the same float32 scores and in turn, so that the ratio holds on a
busy machine too; the EER read off det_curve's points must agree with ours.

    python benchmarks/equal_error_rate.py --n 10000000
"""

import argparse
import time
from statistics import median

import numpy as np
from sklearn.metrics import det_curve

from skdistort.metrics import equal_error_rate


def scores(n, genuine_share, decimals, seed=0):
    """Draw normal scores, genuine ones two standard deviations higher."""
    rng = np.random.default_rng(seed)
    y_true = rng.random(n) < genuine_share
    y_score = rng.standard_normal(n, dtype=np.float32) + 2 * y_true.astype(np.float32)
    return y_true, y_score if decimals is None else np.round(y_score, decimals)


def interpolated_eer(fpr, fnr):
    """Read the EER off the points of a DET curve, linear between them."""
    after = int(np.flatnonzero(fpr < fnr)[0])
    gap = (fpr - fnr)[after - 1 : after + 1]
    weight = gap[0] / (gap[0] - gap[1])
    return fnr[after - 1] + weight * (fnr[after] - fnr[after - 1])


def timed(function, *args):
    """Call a function and return what it returns, and how many seconds it took."""
    start = time.perf_counter()
    result = function(*args)
    return result, time.perf_counter() - start


def main():
    """Print one line per kind of scores."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n", type=int, default=10_000_000, help="number of scores")
    parser.add_argument("--repeats", type=int, default=5, help="timed pairs of calls")
    args = parser.parse_args()
    cases = {
        "half genuine": (0.5, None),
        "half genuine, 3 decimals": (0.5, 3),
        "1 in 1000 genuine": (0.001, None),
    }
    print(f"{args.n} float32 scores, median of {args.repeats} paired repeats")
    for name, (genuine_share, decimals) in cases.items():
        y_true, y_score = scores(args.n, genuine_share, decimals)
        theirs, ours, ratios = [], [], []
        for _ in range(args.repeats):
            (fpr, fnr, _), slow = timed(det_curve, y_true, y_score)
            (eer, _), fast = timed(equal_error_rate, y_true, y_score)
            theirs.append(slow)
            ours.append(fast)
            ratios.append(slow / fast)
        expected = interpolated_eer(fpr, fnr)
        if not np.isclose(eer, expected, rtol=0, atol=1e-12):
            raise SystemExit(f"{name}: EER {eer} differs from det_curve's {expected}")
        print(
            f"{name:26s} det_curve {median(theirs):6.3f} s   equal_error_rate "
            f"{median(ours):6.4f} s   ratio {median(ratios):5.1f}   EER {eer:.6f}"
        )


if __name__ == "__main__":
    main()
