"""Features in a folder: what they are, going on after a stop, what is refused."""

import io
import os

import numpy as np
import pytest
import soundfile
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline

from skdistort.audio import CepstralCoefficients, LogMelSpectrogram
from skdistort.features import read_features, write_features
from skdistort.images._sources import is_stored

pytestmark = pytest.mark.fast
RATE = 16000
FIXED = LogMelSpectrogram(n_mels=8, n_frames=20, detector=None)
WHOLE = LogMelSpectrogram(n_mels=8, n_frames=None, detector=None)


def noise(n_samples, seed=0):
    return np.float32(0.1 * np.random.default_rng(seed).standard_normal(n_samples))


X = [noise(3000 + 500 * (i % 4), i) for i in range(11)]


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "features"


@pytest.fixture
def counted(monkeypatch):
    """Count the recordings that are decoded."""
    computed = []
    compute = LogMelSpectrogram._compute_features

    def count(self, utterance, analysis):
        computed.append(utterance.name)
        return compute(self, utterance, analysis)

    monkeypatch.setattr(LogMelSpectrogram, "_compute_features", count)
    return computed


@pytest.mark.parametrize("n_jobs", [None, 2])
def test_features_of_one_length_are_one_mapped_array(folder, n_jobs, capsys):
    features, usable = write_features(FIXED, X, folder, part_size=4, n_jobs=n_jobs, verbose=1)
    assert "11/11 utterances [====" in capsys.readouterr().out
    np.testing.assert_array_equal(features, FIXED.transform(X))
    assert is_stored(features)
    assert not features.flags.writeable
    assert usable.tolist() == [True] * 11
    assert sorted(path.name for path in folder.iterdir()) == [
        "features.json",
        "features.npy",
        "problems.json",
    ]
    np.testing.assert_array_equal(read_features(folder), features)


@pytest.mark.parametrize("part_size", [1, 3, 256])
def test_features_of_several_lengths_are_lists(folder, part_size):
    for name, transformer in (
        ("spectrograms", WHOLE),
        ("cepstra", make_pipeline(WHOLE, CepstralCoefficients(4)).fit(X)),
        # Some parts have the lengths of fit, and are arrays.
        ("of one", make_pipeline(WHOLE, CepstralCoefficients(4)).fit(X[:1])),
    ):
        found, _ = write_features(transformer, X, f"{folder} {name}", part_size=part_size)
        expected = transformer.transform(X)
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            np.testing.assert_array_equal(one, other)


def test_vectors_of_whole_recordings(folder):
    pipeline = make_pipeline(FIXED, CepstralCoefficients(4, deltas=False)).fit(X)
    found, _ = write_features(pipeline, X, folder, part_size=4)
    np.testing.assert_array_equal(found, pipeline.transform(X))


def test_a_call_goes_on_where_one_was_stopped(folder, counted, monkeypatch):
    compute = LogMelSpectrogram._compute_features

    def stop(self, utterance, analysis):
        if len(counted) == 6:
            raise KeyboardInterrupt
        return compute(self, utterance, analysis)

    with monkeypatch.context() as patch:
        patch.setattr(LogMelSpectrogram, "_compute_features", stop)
        with pytest.raises(KeyboardInterrupt):
            write_features(FIXED, X, folder, part_size=2)
    with pytest.raises(ValueError, match="are not finished: call write_features again"):
        read_features(folder)
    assert len(list(folder.glob("part-*.npz"))) == 3
    counted.clear()
    same = LogMelSpectrogram(n_mels=8, n_frames=20, detector=None, n_jobs=2)
    features, _ = write_features(same, X, folder, part_size=2)
    assert sorted(counted) == sorted(f"X[{i}]" for i in range(6, 11))
    np.testing.assert_array_equal(features, FIXED.transform(X))
    counted.clear()
    write_features(FIXED, X, folder, part_size=2)
    assert counted == []


def test_unusable_recordings_are_named_in_the_end_or_left_out(folder, counted, tmp_path):
    slow = tmp_path / "slow.wav"
    soundfile.write(slow, X[0], 8000)
    mixed = [*X[:3], X[0][:100], *X[3:], str(slow), X[0][:50], X[0][:50]]
    message = r"4 of 15 utterances cannot be used:\n  X\[3\] has 100 .*\n  X\[12\] .*8000 Hz"
    with pytest.raises(ValueError, match=message):
        write_features(FIXED, mixed, folder, part_size=2)
    counted.clear()
    with pytest.warns(UserWarning, match=message):
        features, usable = write_features(FIXED, mixed, folder, part_size=2, skip_unusable=True)
    assert counted == []
    assert np.flatnonzero(~usable).tolist() == [3, 12, 13, 14]
    np.testing.assert_array_equal(features, FIXED.transform(X))
    with pytest.raises(ValueError, match=message):
        write_features(FIXED, mixed, folder, part_size=2)
    with pytest.warns(UserWarning, match=message):
        _, again = write_features(FIXED, mixed, folder, part_size=2, skip_unusable=True)
    np.testing.assert_array_equal(again, usable)
    with pytest.raises(ValueError, match="2 of 2 utterances cannot be used"):
        write_features(FIXED, mixed[-2:], tmp_path / "none", skip_unusable=True)


def test_a_folder_belongs_to_its_recordings_and_settings(folder, tmp_path):
    path = tmp_path / "one.wav"
    soundfile.write(path, X[0], RATE)
    recordings = [path, X[1], (path, 0, 0.1)]
    write_features(FIXED, recordings, folder)
    other = LogMelSpectrogram(n_mels=9, n_frames=20, detector=None)
    for transformer, some, options, what in (
        (other, recordings, {}, "transformer"),
        (FIXED, [path, X[2], (path, 0, 0.1)], {}, "utterances"),
        (FIXED, [path, X[1], (path, 0, 0.15)], {}, "utterances"),
        (FIXED, recordings[:2], {}, "n_utterances, utterances"),
        (FIXED, recordings, {"part_size": 2}, "part_size"),
    ):
        with pytest.raises(ValueError, match=rf"holds features of others: {what} differ"):
            write_features(transformer, some, folder, **options)
    write_features(FIXED, recordings, folder)
    os.utime(path, (0, 0))
    with pytest.raises(ValueError, match="features of others: utterances differ"):
        write_features(FIXED, recordings, folder)


def test_what_cannot_be_written_is_refused_before_any_work(folder, tmp_path, counted):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("mine")
    for call, error, message in (
        (lambda: write_features(CepstralCoefficients(), X, folder), TypeError, "begins with one"),
        (lambda: write_features(FIXED, [io.BytesIO(b"")], folder), TypeError, "is an open file"),
        (lambda: write_features(FIXED, [], folder), ValueError, "holds no utterance"),
        (lambda: write_features(FIXED, X, folder, part_size=0), ValueError, "part_size must be"),
        (lambda: write_features(FIXED, X, tmp_path / "full"), ValueError, "holds other things"),
        (lambda: write_features(FIXED, X, folder / "deep"), FileNotFoundError, "deep"),
        (lambda: write_features(FIXED, ["nowhere.wav"], folder), FileNotFoundError, "nowhere"),
        (
            lambda: write_features(make_pipeline(FIXED, CepstralCoefficients()), X, folder),
            NotFittedError,
            "not fitted",
        ),
        (lambda: read_features(folder), FileNotFoundError, "There are no features in"),
    ):
        with pytest.raises(error, match=message):
            call()
    assert counted == []
    assert not folder.exists()
    assert (tmp_path / "full" / "thesis.txt").read_text() == "mine"
