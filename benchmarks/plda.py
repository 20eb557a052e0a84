"""Can the log-likelihood ratios of PLDA be read: Cllr beside its least, on draws from a model.

The model is that of two covariances in 192 dimensions, each turned at random. The k-th variance is
``1 / (1 + k)`` between the classes and ``(1 + k)^(-1/2)`` within them; with ``--spectrum flat`` all
are 0.3 and 1, with ``--spectrum few`` 30 are 1 between the classes, the others 0.001, and all 1
within. Tests are 75 other speakers with 4 utterances each, all pairs; and each of them enrolled by
one utterance and by three, against a fourth. "True" is the model that made the data.

Run ``python benchmarks/plda.py``; a few minutes.
"""

import argparse
import time
import warnings

import numpy as np
from scipy.linalg import eigh

from skdistort.metrics import cllr, equal_error_rate, min_cllr
from skdistort.plda import PLDA, llr_matrix

DIMENSIONS = 192
INDEX = np.arange(DIMENSIONS)
SPECTRA = {
    "power": (1 / (1 + INDEX), (1 + INDEX) ** -0.5),
    "flat": (np.full(DIMENSIONS, 0.3), np.ones(DIMENSIONS)),
    "few": (np.where(INDEX < 30, 1.0, 1e-3), np.ones(DIMENSIONS)),
}


def draw_root(rng, variances):
    """A matrix whose product with white noise has these variances, along directions at random."""
    directions = np.linalg.qr(rng.standard_normal((DIMENSIONS, DIMENSIONS)))[0]
    return directions * np.sqrt(variances)


def draw_speakers(rng, mean, between, within, n_speakers, n_utterances):
    speakers = np.repeat(np.arange(n_speakers), n_utterances)
    centres = mean + rng.standard_normal((n_speakers, DIMENSIONS)) @ between.T
    return centres[speakers] + rng.standard_normal((len(speakers), DIMENSIONS)) @ within.T, speakers


def compare(seed, spectrum, n_speakers, n_utterances):
    """Fit and test once: EER, Cllr, its least, those of the truth, enrolment, warnings, seconds."""
    rng = np.random.default_rng(seed)
    between, within = (draw_root(rng, variances) for variances in SPECTRA[spectrum])
    model = rng.standard_normal(DIMENSIONS), between, within
    X, y = draw_speakers(rng, *model, n_speakers, n_utterances)
    X_test, y_test = draw_speakers(rng, *model, 75, 4)
    start = time.process_time()
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        plda = PLDA().fit(X, y)
    seconds = time.process_time() - start
    left, right = np.triu_indices(len(y_test), 1)
    genuine = y_test[left] == y_test[right]
    ratios = plda.score_trials(X_test, left, right)
    variances, basis = eigh(between @ between.T, within @ within.T)
    Z = (X_test - model[0]) @ basis
    true = llr_matrix(Z, Z, np.maximum(variances, 0))[left, right]
    enrolled = [enrolment_error(plda, X_test, y_test, n_enrolled) for n_enrolled in (1, 3)]
    return (
        equal_error_rate(genuine, ratios)[0],
        cllr(genuine, ratios),
        min_cllr(genuine, ratios),
        equal_error_rate(genuine, true)[0],
        cllr(genuine, true),
        *enrolled,
        len(warned),
        seconds,
    )


def enrolment_error(plda, X, y, n_enrolled):
    """EER of each speaker's first utterances against everybody's last."""
    last = np.arange(len(y)) % 4 == 3
    first = np.arange(len(y)) % 4 < n_enrolled
    scores = plda.score_models(X[first], y[first], X[last])
    return equal_error_rate(np.eye(len(scores), dtype=bool).ravel(), scores.ravel())[0]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--spectrum", choices=SPECTRA, default="power")
    parser.add_argument("--seeds", type=int, default=10)
    options = parser.parse_args()
    print(
        "speakers      EER %   Cllr   least   most missed   true EER %   Cllr   "
        "enrolled by 1, 3: EER %   warned   fit s"
    )
    for sizes in ((20, 3), (100, 5), (2000, 5)):
        rows = [compare(seed, options.spectrum, *sizes) for seed in range(options.seeds)]
        eer, loss, least, true_eer, true_loss, one, three, warned, seconds = np.mean(rows, axis=0)
        missed = max(row[1] - row[2] for row in rows)
        print(
            f"{sizes[0]:5} x {sizes[1]}{100 * eer:11.2f}{loss:7.3f}{least:8.3f}{missed:14.3f}"
            f"{100 * true_eer:13.2f}{true_loss:7.3f}{100 * one:15.2f}{100 * three:11.2f}"
            f"{warned * len(rows):9.0f}{seconds:8.1f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
