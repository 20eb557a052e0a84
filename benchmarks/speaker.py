"""Speaker verification on short words: every system of paper B, beside what needs labels.

Wants a folder with ``index.csv`` (columns ``speaker`` and ``file``) and 16 kHz mono files, such
as the test set of Google Speech Commands v0.02 sorted by speaker. A third of the speakers each make
database A, database B and the test set, drawn by ``--seed``. Paper B is Khan and Hernando,
"Unsupervised Training of Siamese Networks for Speaker Verification" (Interspeech 2020).

Run ``python benchmarks/speaker.py --data FOLDER``; ``--no-cmvn`` keeps what the channel adds, which
in this data tells speakers apart by itself. "s-norm" is the adaptive one, its cohort A and B.
After the table: what enrolment by several utterances gains, and whether PLDA's ratios can be read.
``--telephone`` judges again after the test speakers changed the channel. ``--develop`` is to choose
settings by: it leaves the test speakers out and makes all three parts of the others.
"""

import argparse
import csv
import time
from functools import partial
from pathlib import Path

import numpy as np
import soundfile
from scipy.signal import butter, resample_poly, sosfiltfilt
from sklearn.base import clone
from sklearn.pipeline import make_pipeline

from skdistort import SiameseVerifier
from skdistort.audio import CepstralCoefficients, LogMelSpectrogram
from skdistort.displays import DetDisplay
from skdistort.fusion import ScoreFusion
from skdistort.ivector import IVectorExtractor, UniversalBackgroundModel
from skdistort.metrics import bootstrap_interval, cllr, equal_error_rate, min_cllr, min_dcf
from skdistort.normalisation import ScoreNormaliser
from skdistort.plda import PLDA
from skdistort.verification import SoftmaxEmbedder

# Mode, neighbours, lowest cosine of a client and what is learned from. With A and B as one, no
# network can learn to tell the two apart instead of comparing. "by channel" learns from the same
# spectrograms, but clients are chosen by i-vectors that keep each utterance's mean.
SIAMESE = {
    "double, k = 2": ("double", 2, 0.2, "A, B"),
    "double, k = 5": ("double", 5, 0.2, "A, B"),
    "double, k = 10": ("double", 10, 0.2, "A, B"),
    "triple, k = 10": ("triple", 10, 0.2, "A, B"),
    "double, pooled, k = 10": ("double", 10, 0.2, "pooled"),
    "triple, pooled, k = 10": ("triple", 10, 0.2, "pooled"),
    "triple, pooled, k = 2": ("triple", 2, 0.2, "pooled"),
    "double, pooled, strict": ("double", 10, 0.4, "pooled"),
    "triple, pooled, strict": ("triple", 10, 0.4, "pooled"),
    "double, by channel": ("double", 10, 0.35, "by channel"),
    "triple, by channel": ("triple", 10, 0.35, "by channel"),
    "triple, labels": ("triple", 10, 0.2, "labels"),
}
LOSSES = ("softmax", "am_softmax", "aam_softmax")
FUSIONS = {
    "double + triple": ("double, k = 10", "triple, k = 10"),
    "pooled: double + triple": ("double, pooled, k = 10", "triple, pooled, k = 10"),
    "pooled: triple + i-v.": ("triple, pooled, k = 10", "i-vector + cosine"),
    "strict: double + triple": ("double, pooled, strict", "triple, pooled, strict"),
    "strict: triple + i-v.": ("triple, pooled, strict", "i-vector + cosine"),
    "by channel: double + triple": ("double, by channel", "triple, by channel"),
    "by channel: triple + i-v.": ("triple, by channel", "i-vector + cosine"),
}
LABELLED = {"i-vector + PLDA", "triple, labels", "triple, labels, s-norm", *LOSSES}
HEADER = f"{'system':28}{'labels':>8}{'EER %':>8}{'95 % interval':>16}{'minDCF':>8}{'fit s':>7}"
# As many as colours.
IN_FIGURE = (
    "i-vector + cosine",
    "i-vector, channel kept",
    "i-vector + PLDA",
    "softmax",
    "double, k = 10",
    "double, pooled, k = 10",
    "triple, pooled, strict",
    "double, by channel",
    "triple, by channel",
    "by channel: triple + i-v.",
)


def read_index(folder):
    """Files, and who speaks in each."""
    folder = Path(folder)
    with open(folder / "index.csv", newline="") as lines:
        rows = list(csv.DictReader(lines))
    files = np.array([folder / row["file"] for row in rows])
    return files, np.array([row["speaker"] for row in rows])


def over_telephone(file, rng):
    """Band-pass from 300 to 3400 Hz, add white noise at 10 dB, go by way of 8 kHz."""
    waveform, rate = soundfile.read(file)
    heard = sosfiltfilt(butter(4, (300, 3400), "bandpass", fs=rate, output="sos"), waveform)
    heard += 10 ** (-10 / 20) * heard.std() * rng.standard_normal(len(heard))
    heard = resample_poly(resample_poly(heard, 8000, rate), rate, 8000)
    return (heard / max(1.0, np.abs(heard).max())).astype(np.float32)


def split_speakers(speakers, rng):
    """Three masks: database A, database B, test."""
    names = rng.permutation(np.unique(speakers))
    return [np.isin(speakers, part) for part in np.array_split(names, 3)]


def cosines(vectors, left, right):
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.einsum("ij,ij->i", unit[left], unit[right])


def enrolment_error(verifier, X, y, n_enrolled):
    """EER by the first utterances of each speaker of ten or more, against all after the fifth."""
    order = np.argsort(y, kind="stable")
    names, starts, counts = np.unique(y[order], return_index=True, return_counts=True)
    places = np.empty(len(y), dtype=int)
    places[order] = np.arange(len(y)) - np.repeat(starts, counts)
    several = np.isin(y, names[counts >= 10])
    enrolled, probes = several & (places < n_enrolled), several & (places >= 5)
    scores = verifier.score_models(X[enrolled], y[enrolled], X[probes])
    genuine = np.unique(y[enrolled])[:, None] == y[probes]
    return equal_error_rate(genuine.ravel(), scores.ravel())[0]


def report_fusions(scores, report):
    """Report the fusions whose parts were scored: they want no labels."""
    for name, parts in FUSIONS.items():
        if scores.keys() >= set(parts):
            columns = np.column_stack([scores[part] for part in parts])
            report(name, False, ScoreFusion().fit(columns).decision_function(columns), 0)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", required=True, help="folder with index.csv")
    parser.add_argument("--no-cmvn", action="store_true", help="keep each utterance's mean")
    parser.add_argument("--frames", type=int, default=98)
    parser.add_argument("--gaussians", type=int, default=64)
    parser.add_argument("--factors", type=int, default=100)
    parser.add_argument("--filters", type=int, nargs="+", default=(8, 16, 32))
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="*", choices=[*LOSSES, *SIAMESE], help="networks to train")
    parser.add_argument("--augment", action="store_true", help="change spectrograms in training")
    parser.add_argument("--telephone", action="store_true", help="judge by a changed channel too")
    parser.add_argument("--develop", action="store_true", help="without the test speakers")
    parser.add_argument("--figure", help="write DET curves to this file")
    options = parser.parse_args()
    files, speakers = read_index(options.data)
    rng = np.random.RandomState(options.seed)
    in_a, in_b, in_test = split_speakers(speakers, rng)
    if options.develop:
        files, speakers = files[in_a | in_b], speakers[in_a | in_b]
        in_a, in_b, in_test = split_speakers(speakers, rng)
    features = {"n_frames": options.frames, "detector": None}
    spectrograms = LogMelSpectrogram(cmvn=not options.no_cmvn, **features)
    X = spectrograms.fit_transform(list(files))
    if options.no_cmvn:
        level, spread = X.mean(), X.std()
        X = (X - level) / spread
    for name, mask in (("A", in_a), ("B", in_b), ("test", in_test)):
        print(f"{name}: {mask.sum()} utterances of {len(set(speakers[mask]))} speakers")
    labelled, X_test, y_test = in_a | in_b, X[in_test], speakers[in_test]
    left, right = np.triu_indices(len(X_test), 1)
    genuine = y_test[left] == y_test[right]
    print(f"seed {options.seed}, {genuine.sum()} genuine and {(~genuine).sum()} impostor trials\n")
    print(HEADER)
    scores = {}
    # What scores the test's spectrograms, of each system, to judge by another channel.
    judges = {}

    def report(name, needs_labels, values, seconds):
        scores[name] = values
        interval = bootstrap_interval(
            equal_error_rate, genuine, values, y_test[left], y_test[right], random_state=0
        )
        print(
            f"{name:28}{'yes' if needs_labels else 'no':>8}{100 * interval.estimate:8.2f}"
            f"{100 * interval.low:8.2f} -{100 * interval.high:6.2f}"
            f"{min_dcf(genuine, values)[0]:8.3f}{seconds:7.0f}",
            flush=True,
        )

    ubm = UniversalBackgroundModel(options.gaussians)
    space = make_pipeline(
        CepstralCoefficients(), IVectorExtractor(options.factors, ubm=ubm, random_state=0)
    )
    start = time.perf_counter()
    ivectors = space.fit(X[labelled]).transform(X)
    mean = ivectors[labelled].mean(axis=0)
    centred = ivectors - mean
    seconds = time.perf_counter() - start
    report("i-vector + cosine", False, cosines(centred[in_test], left, right), seconds)
    normaliser = ScoreNormaliser().fit(centred[labelled])
    report("i-vector, s-norm", False, normaliser.score_trials(centred[in_test], left, right), 0)
    judges["i-vector + cosine"] = lambda X: cosines(space.transform(X) - mean, left, right)
    channel = centred
    if not options.no_cmvn:
        start = time.perf_counter()
        raw = LogMelSpectrogram(cmvn=False, **features).fit_transform(list(files))
        channel = clone(space).fit(raw[labelled]).transform(raw)
        channel = channel - channel[labelled].mean(axis=0)
        seconds = time.perf_counter() - start
        report("i-vector, channel kept", False, cosines(channel[in_test], left, right), seconds)
    start = time.perf_counter()
    plda = PLDA().fit(ivectors[labelled], speakers[labelled])
    values = plda.score_trials(ivectors[in_test], left, right)
    report("i-vector + PLDA", True, values, time.perf_counter() - start)
    judges["i-vector + PLDA"] = lambda X: plda.score_trials(space.transform(X), left, right)
    verifiers = {"i-vector + PLDA": (plda, ivectors[in_test])}

    network = {"filters": tuple(options.filters), "epochs": options.epochs, "random_state": 0}
    if options.augment:
        network["augmentation"] = "speech"
    chosen = [*LOSSES, *SIAMESE] if options.only is None else options.only
    for loss in [name for name in LOSSES if name in chosen]:
        start = time.perf_counter()
        embedder = SoftmaxEmbedder(loss=loss, **network).fit(X[labelled], speakers[labelled])
        seconds = time.perf_counter() - start
        report(loss, True, embedder.score_trials(X_test, left, right), seconds)
        verifiers[loss] = embedder, X_test
        judges[loss] = partial(embedder.score_trials, left=left, right=right)
    data = {
        "A, B": {"X": X[in_a], "impostor_database": X[in_b]},
        "pooled": {"X": X[labelled]},
        "by channel": {"X": X[labelled], "selection_vectors": channel[labelled]},
        "labels": {"X": X[labelled], "y": speakers[labelled]},
    }
    for name in [name for name in SIAMESE if name in chosen]:
        mode, k, lowest, source = SIAMESE[name]
        start = time.perf_counter()
        verifier = SiameseVerifier(
            mode=mode, n_neighbors=k, client_threshold=lowest, selection_space=space, **network
        )
        verifier.fit(**data[source])
        seconds = time.perf_counter() - start
        report(name, source == "labels", verifier.score_trials(X_test, left, right), seconds)
        verifiers[name] = verifier, X_test
        judges[name] = partial(verifier.score_trials, left=left, right=right)
        if mode == "triple":
            normaliser = ScoreNormaliser(verifier).fit(X[labelled])
            values = normaliser.score_trials(X_test, left, right)
            report(f"{name}, s-norm", source == "labels", values, 0)
            judges[f"{name}, s-norm"] = partial(normaliser.score_trials, left=left, right=right)
    report_fusions(scores, report)

    print("\nEER % enrolled by one utterance and by five, speakers of ten or more")
    for name, (verifier, samples) in verifiers.items():
        one, five = (100 * enrolment_error(verifier, samples, y_test, n) for n in (1, 5))
        print(f"{name:28}{one:8.2f}{five:8.2f}")
    ratios = scores["i-vector + PLDA"]
    print(f"PLDA: Cllr {cllr(genuine, ratios):.3f}, at least {min_cllr(genuine, ratios):.3f}")
    in_figure = dict(scores)

    if options.telephone:
        print(f"\nThe test over a telephone\n{HEADER}")
        rng = np.random.RandomState(options.seed)
        heard = spectrograms.transform([over_telephone(file, rng) for file in files[in_test]])
        if options.no_cmvn:
            heard = (heard - level) / spread
        scores.clear()
        for name, judge in judges.items():
            report(name, name in LABELLED, judge(heard), 0)
        report_fusions(scores, report)

    if options.figure:
        import matplotlib.pyplot as plt

        _, ax = plt.subplots(figsize=(6, 6))
        for name in [name for name in IN_FIGURE if name in in_figure]:
            DetDisplay.from_predictions(genuine, in_figure[name], name=name, ax=ax)
        plt.savefig(options.figure, bbox_inches="tight", dpi=150)


if __name__ == "__main__":
    main()
