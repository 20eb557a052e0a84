"""Features in a folder: what they are, who makes them, going on after a stop, what is refused."""

import io
import os
import pickle
from contextlib import nullcontext

import joblib
import numpy as np
import pytest
import soundfile
from PIL import Image
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline
from support.clusters import dask_workers, ray_workers
from support.faces import make_ramp, write_detector

from skdistort import features as module
from skdistort._samples import make_part
from skdistort.audio import CepstralCoefficients, LogMelSpectrogram
from skdistort.exceptions import InputMismatchWarning
from skdistort.faces import CenterFace, FaceAligner
from skdistort.features import read_features, write_features
from skdistort.images._sources import is_stored

RATE = 16000
FIXED = LogMelSpectrogram(n_mels=8, n_frames=20, detector=None)
WHOLE = LogMelSpectrogram(n_mels=8, n_frames=None, detector=None)


def noise(n_samples, seed=0):
    return np.float32(0.1 * np.random.default_rng(seed).standard_normal(n_samples))


def write_noise(folder, n):
    """Write recordings of several lengths; their paths."""
    paths = [folder / f"{i}.wav" for i in range(n)]
    for i, path in enumerate(paths):
        soundfile.write(path, noise(3000 + 500 * (i % 4), i), RATE)
    return paths


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


@pytest.mark.fast
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


@pytest.mark.fast
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


@pytest.mark.fast
def test_vectors_of_whole_recordings(folder):
    pipeline = make_pipeline(FIXED, CepstralCoefficients(4, deltas=False)).fit(X)
    found, _ = write_features(pipeline, X, folder, part_size=4)
    np.testing.assert_array_equal(found, pipeline.transform(X))


@pytest.mark.fast
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


@pytest.mark.fast
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


@pytest.mark.fast
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


@pytest.mark.fast
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


@pytest.mark.fast
def test_aligned_faces_and_what_follows(folder, tmp_path):
    detector = CenterFace(str(write_detector(tmp_path / "detector.onnx")))
    aligner = FaceAligner(detector=detector, image_size=16, min_size=5)
    photos = [make_ramp(64, 64) // 4 for _ in range(7)]
    for i, photo in enumerate(photos):
        photo[20:24, 20 + i : 24 + i] = 255
    photos[3] = tmp_path / "photo.png"
    Image.fromarray(photos[4]).save(photos[3])
    images, usable = write_features(aligner, photos, folder, part_size=3)
    assert images.dtype == np.uint8
    assert usable.all()
    np.testing.assert_array_equal(images, aligner.transform(photos))
    with pytest.raises(ValueError, match="n_photos, photos differ"):
        write_features(aligner, photos[:3], folder, part_size=3)
    dark = [*photos[:4], 0 * photos[4]]
    with pytest.warns(UserWarning, match=r"1 of 5 photos cannot be used:\n  X\[4\] shows no face"):
        images, usable = write_features(aligner, dark, f"{folder} 2", skip_unusable=True)
    assert usable.tolist() == [True] * 4 + [False]
    np.testing.assert_array_equal(images, aligner.transform(photos[:4]))


@pytest.mark.fast
def test_other_units_are_warned_of_once(folder):
    loud = [X[0], 40 * X[1], X[2], 40 * X[3]]
    message = r"^X\[1\] holds samples of up to .* \(2 of 4 such utterances\)$"
    with pytest.warns(InputMismatchWarning, match=message) as told:
        write_features(FIXED, loud, folder, part_size=1)
    assert len(told) == 1
    assert told[0].filename == __file__


@pytest.mark.parametrize(
    ("backend", "start"),
    [("loky", nullcontext), ("dask", dask_workers), ("ray", ray_workers)],
)
def test_two_workers_elsewhere_make_the_parts(backend, start, tmp_path, monkeypatch):
    paths = write_noise(tmp_path, 9)
    transformer = make_pipeline(FIXED, CepstralCoefficients(4)).fit(paths)
    expected, images = transformer.transform(paths), FIXED.transform(paths)

    def fail(*args):
        raise AssertionError("computed in the process that asks for it")

    with start(), joblib.parallel_config(backend=backend, n_jobs=2):
        monkeypatch.setattr(LogMelSpectrogram, "_compute_features", fail)
        # Where the workers are not.
        monkeypatch.chdir(tmp_path)
        names = [path.name for path in paths]
        features, _ = write_features(transformer, names, "features", part_size=2)
        if backend != "ray":  # Each call costs it seconds.
            np.testing.assert_array_equal(FIXED.transform(names), images)
    np.testing.assert_allclose(features, expected, rtol=1e-6)
    assert sorted(os.listdir("features")) == ["features.json", "features.npy", "problems.json"]


@pytest.mark.fast
def test_the_transformer_goes_to_workers_once(tmp_path):
    steps = FIXED, np.zeros(10**6)
    sent = module._Sent(steps, tmp_path / "transformer")
    sent.write()
    assert sent.steps() is steps
    task = pickle.dumps(sent)
    # A scheduler passes it on without a look at the file.
    assert pickle.dumps(pickle.loads(task)) == task
    assert len(task) < 1000
    first, rest = pickle.loads(task).steps()
    assert str(first) == str(FIXED)
    np.testing.assert_array_equal(rest, steps[1])
    assert pickle.loads(task).steps()[0] is first
    # Somebody else may write to a folder that is shared, and unpickling runs code.
    module._read_steps.cache_clear()
    (tmp_path / "transformer").write_bytes(pickle.dumps(steps))
    with pytest.raises(ValueError, match="is not what was written there"):
        pickle.loads(task).steps()


@pytest.mark.fast
def test_workers_that_see_other_disks_are_told_of(folder, tmp_path, monkeypatch):
    paths = write_noise(tmp_path, 2)
    utterances, _ = FIXED._check_samples(paths)
    paths[1].rename(tmp_path / "moved.wav")
    with pytest.raises(FileNotFoundError, match=r"X\[1\] .* must see the files under the same"):
        make_part(FIXED, utterances)
    task = pickle.dumps(module._Sent((FIXED, None), tmp_path / "transformer", "nowhere"))
    monkeypatch.setattr(module, "_PATIENCE", 1)
    with pytest.raises(FileNotFoundError, match="must see the folder under the same path"):
        pickle.loads(task).steps()
    # Parts that were written to another folder of this name.
    monkeypatch.setattr(module, "_write_part", lambda *args: None)
    with pytest.raises(FileNotFoundError, match=r"part-000000.npz', which another process wrote"):
        write_features(FIXED, X, folder)
    with pytest.raises(ValueError, match="are not finished"):
        read_features(folder)
