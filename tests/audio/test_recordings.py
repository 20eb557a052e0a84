"""Reading: what is decoded of a file, and what is said of one that cannot be."""

import io
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import soundfile

from skdistort.audio import CepstralCoefficients, LogMelSpectrogram
from skdistort.ivector import IVectorExtractor, UniversalBackgroundModel

RATE = 16000
# What is no speech is the matter of test_speech.py.
CROP = LogMelSpectrogram(n_mels=8, n_frames=30, cmvn=False, detector=None)


def make_waveform(n_samples, seed=0):
    """Noise whose level is another in every tenth of a second."""
    rng = np.random.default_rng(seed)
    levels = np.repeat(rng.uniform(0.01, 0.3, n_samples // 1600 + 1), 1600)[:n_samples]
    return np.float32(levels * rng.uniform(-1, 1, n_samples))


def encode(samples, rate=RATE, **options):
    file = io.BytesIO()
    soundfile.write(file, samples, rate, **{"format": "WAV", **options})
    return file.getvalue()


def claim_frames(flac, n_frames):
    """Let a FLAC header claim a number of frames: 36 bits in its first block."""
    flac = bytearray(flac)
    flac[21] = flac[21] & 0xF0 | n_frames >> 32
    flac[22:26] = (n_frames & 0xFFFFFFFF).to_bytes(4, "big")
    return bytes(flac)


class CountingFile(io.BytesIO):
    """Counts the bytes that are read of it."""

    n_read = 0

    def readinto(self, buffer):
        n = super().readinto(buffer)
        self.n_read += n
        return n


@pytest.mark.parametrize(
    ("options", "seeks"),
    [
        ({"format": "WAV"}, True),
        ({"format": "WAV", "subtype": "FLOAT"}, True),
        ({"format": "WAV", "subtype": "ULAW"}, True),
        ({"format": "WAV", "subtype": "IMA_ADPCM"}, True),
        ({"format": "WAV", "subtype": "GSM610"}, False),
        ({"format": "WAV", "subtype": "G721_32"}, False),
        ({"format": "AU"}, True),
        ({"format": "AIFF"}, True),
        ({"format": "FLAC"}, True),
        # libsndfile looks through these for their length.
        ({"format": "OGG"}, False),
        ({"format": "MP3"}, False),
    ],
)
def test_only_what_is_kept_is_decoded(options, seeks):
    content = encode(make_waveform(60 * RATE), **options)
    # In blocks, since soundfile refuses to read all of what does not seek.
    with soundfile.SoundFile(io.BytesIO(content)) as file:
        decoded = [file.read(50000, dtype="float32") for _ in range(-(-file.frames // 50000))]
    file = CountingFile(content)
    found = CROP.transform([file])
    np.testing.assert_allclose(found, CROP.transform([np.concatenate(decoded)]), atol=1e-5)
    assert not seeks or file.n_read < len(content) / 5


def test_results_do_not_depend_on_blocks(monkeypatch):
    content = encode(make_waveform(19920), format="FLAC")
    whole = LogMelSpectrogram(n_frames=None, detector=None)
    expected = whole.transform([content])[0]
    monkeypatch.setattr("skdistort.audio._recordings._BLOCK", 777)
    np.testing.assert_array_equal(whole.transform([content])[0], expected)
    np.testing.assert_array_equal(
        LogMelSpectrogram(n_frames=expected.shape[1], detector=None).transform([content])[0],
        expected,
    )


@pytest.mark.parametrize("claimed", [2**36 - 1, 500000])
def test_a_header_that_claims_too_much(claimed):
    waveform = make_waveform(160000)
    content = claim_frames(encode(waveform, format="FLAC"), claimed)
    message = (
        rf"^X\[1\] \({len(content)} bytes\) can be decoded up to 10.00 s only, its header says "
        rf"{claimed / RATE:.2f} s.*: a segment, \(file, 0, 10.00\), takes what is there"
    )
    for transformer in (CROP, LogMelSpectrogram(n_frames=None, detector=None)):
        with pytest.raises(ValueError, match=message):
            transformer.transform([waveform, content])
    found, expected = CROP.transform([(content, 0, 10), np.round(waveform * 2**15) / 2**15])
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_a_header_that_does_not_know_the_length():
    waveform = make_waveform(160000)
    plain = encode(waveform, format="FLAC")
    unknown = claim_frames(plain, 0)
    np.testing.assert_array_equal(CROP.transform([unknown]), CROP.transform([plain]))
    whole = LogMelSpectrogram(n_frames=None, detector=None).transform([unknown, plain])
    np.testing.assert_array_equal(*whole)


@pytest.mark.parametrize("format", ["FLAC", "MP3"])
def test_a_file_that_was_cut_off(format):
    content = encode(make_waveform(160000), format=format)
    cut = content[: len(content) // 3]
    with pytest.raises(ValueError, match=r"^X\[0\] .* its header says 10.00 s") as error:
        CROP.transform([cut])
    end = float(str(error.value).split("up to ")[1].split(" s")[0])
    assert 2.5 < end < 4
    both = CROP.transform([(cut, 0, end), (content, 0, end)])
    np.testing.assert_allclose(both[0], both[1], atol=1e-3)


def test_a_wave_file_that_was_cut_off_is_what_is_left():
    waveform = np.int16(make_waveform(160000) * 2**15)
    cut = encode(waveform)[: 44 + 2 * 50000]
    np.testing.assert_array_equal(*CROP.transform([cut, waveform[:50000]]))


def test_channels(tmp_path):
    left, right = (np.int16(2**15 * make_waveform(20000, seed)) for seed in (1, 2))
    path = tmp_path / "call.wav"
    soundfile.write(path, np.stack([left, right], axis=1), RATE)
    for channel, expected in ((0, left), (1, right), (None, (left / 2**16 + right / 2**16))):
        images = CROP.__class__(**{**CROP.get_params(), "channel": channel}).transform(
            [path, expected]
        )
        np.testing.assert_allclose(images[0], images[1], atol=1e-4)
    third = LogMelSpectrogram(channel=2)
    with pytest.raises(ValueError, match=r"call.wav\) has 2 channel\(s\), none of number 2"):
        third.transform([path])


def test_segments(tmp_path):
    waveform = np.int16(2**15 * make_waveform(5 * RATE))
    path = tmp_path / "long.flac"
    soundfile.write(path, waveform, RATE)
    segments = [(path, 1.5, 3.25), (str(path), None, 1), (path, 4, None), (path, 4.0, -1)]
    parts = [waveform[24000:52000], waveform[:16000], waveform[64000:], waveform[64000:]]
    expected = CROP.transform(parts)
    np.testing.assert_allclose(CROP.transform(segments), expected, atol=1e-5)
    arrays = [(waveform, start, end) for _, start, end in segments]
    np.testing.assert_array_equal(CROP.transform(arrays), expected)
    rows = np.array([list(segment) for segment in segments], dtype=object)
    np.testing.assert_allclose(CROP.transform(rows), expected, atol=1e-5)
    # Kaldi lets segments end half a second late.
    np.testing.assert_array_equal(*CROP.transform([(path, 4, 5.4), (path, 4, 5)]))
    # Three samples are a waveform.
    with pytest.raises(ValueError, match=r"X\[0\] has 3 samples"):
        CROP.transform([(0.1, 0.2, 0.3)])


@pytest.mark.parametrize(
    ("start", "end", "message"),
    [
        (1, 1, r"segment \(1, 1\) must hold 0 <= start < end, in seconds"),
        (-1, 1, r"segment \(-1, 1\) must hold 0 <= start < end"),
        ("a", 1, r"segment \('a', 1\) must be seconds, or None for the end"),
        (np.nan, 1, r"segment \(nan, 1\) must be seconds"),
        (0, 6, r"long.wav, 0 s to 6 s\) ends after the 5.00 s"),
        (7, None, r"long.wav, 7 s to the end\) has no samples in a recording of 5.00 s"),
        (1, 1.01, r"long.wav, 1 s to 1.01 s\) has 160 samples, fewer than the 400 of one frame"),
    ],
)
def test_segments_are_refused(tmp_path, start, end, message):
    path = tmp_path / "long.wav"
    soundfile.write(path, make_waveform(5 * RATE), RATE)
    with pytest.raises(ValueError, match=r"X\[0\].*" + message):
        CROP.transform([(path, start, end)])


def test_content_and_file_objects(tmp_path):
    path = tmp_path / "a.flac"
    soundfile.write(path, make_waveform(40000), RATE)
    expected = CROP.transform([path])[0]
    content = path.read_bytes()
    with open(path, "rb") as file:
        file.seek(100)
        X = [content, bytearray(content), memoryview(content), io.BytesIO(content), file] * 4
        for n_jobs in (None, 2):
            parallel = LogMelSpectrogram(**{**CROP.get_params(), "n_jobs": n_jobs})
            for image in parallel.transform(X):
                np.testing.assert_array_equal(image, expected)
        segments = [(file, 0.1 * i, 2) for i in range(8)]
        np.testing.assert_array_equal(
            parallel.transform(segments), CROP.transform([(content, *s[1:]) for s in segments])
        )
        assert not file.closed
    with pytest.raises(ValueError, match=r"X\[0\] .*a.flac\) is a closed file"):
        CROP.transform([file])
    with open(path) as text, pytest.raises(ValueError, match="open it in mode 'rb'"):
        CROP.transform([text])

    class Pipe(io.RawIOBase):
        def readable(self):
            return True

    with pytest.raises(ValueError, match=r"is no file that can seek: pass its content"):
        CROP.transform([Pipe()])


class BrokenFile(io.BytesIO):
    def seek(self, *_):
        raise OSError("the disk is gone")


def test_what_cannot_be_decoded_has_a_way_out(tmp_path):
    m4a = tmp_path / "voice.m4a"
    m4a.write_bytes(b"\0\0\0\x18ftypM4A \0\0\0\0" + bytes(5000))
    with pytest.raises(ValueError, match=r"^X\[0\] \(.*voice.m4a\) could not be .*ffmpeg -i"):
        CROP.transform([m4a])
    with pytest.raises(ValueError, match=r"^X\[0\] \(5 bytes\) could .* a path is a str or a Path"):
        CROP.transform([b"a.wav"])
    with pytest.raises(ValueError, match=r"^X\[0\] \(BrokenFile\) could not .* the disk is gone"):
        CROP.transform([BrokenFile(b"RIFF")])


def test_resampling():
    rate = 44100
    time = np.arange(20 * rate) / rate
    chirp = np.float32(0.5 * np.sin(2 * np.pi * (300 + 100 * time) * time))
    content = encode(chirp, rate, subtype="FLOAT")
    with pytest.raises(ValueError, match="44100 Hz, expected 16000 Hz: set resample=True"):
        CROP.transform([content])
    time = np.arange(20 * RATE) / RATE
    expected = np.float32(0.5 * np.sin(2 * np.pi * (300 + 100 * time) * time))
    for options in ({}, {"n_frames": 500}, {"n_frames": None}):
        transformer = LogMelSpectrogram(
            **{**CROP.get_params(), "resample": True, "n_mels": 20, **options}
        )
        found, wanted = transformer.transform([content, expected])
        assert found.shape == wanted.shape
        loud = wanted > wanted.max() - 8
        # The first and the last frame of all miss what came before and after.
        inside = slice(2, -2)
        difference = np.where(loud, found - wanted, 0)[:, inside]
        np.testing.assert_allclose(difference, 0, atol=0.02)


@pytest.mark.parametrize("rate", [8000, 11025, 22051, 48000, 96000])
def test_resampled_crops_are_crops_of_what_is_resampled(rate):
    content = encode(make_waveform(8 * rate), rate, subtype="FLOAT")
    transformer = LogMelSpectrogram(n_mels=8, cmvn=False, detector=None, resample=True)
    whole = transformer.set_params(n_frames=None).transform([content])[0]
    crop = transformer.set_params(n_frames=30).transform([content])[0]
    first = (whole.shape[1] - 30) // 2
    np.testing.assert_allclose(crop, whole[:, first : first + 30], atol=0.01)
    assert whole.shape[1] == 798


def test_resampling_needs_soxr(monkeypatch):
    content = encode(make_waveform(8000), 8000)
    monkeypatch.setitem(sys.modules, "soxr", None)
    with pytest.raises(ImportError, match=r"Resampling needs soxr .* 'skdistort\[audio\]'"):
        LogMelSpectrogram(resample=True, detector=None).transform([content])


def make_folder(folder):
    """Two good files among bad ones of several kinds, and how messages on these begin."""
    good, slow, text, short, deaf = (
        folder / f"{name}.wav" for name in ("good", "slow", "text", "short", "deaf")
    )
    soundfile.write(good, make_waveform(8000), RATE)
    soundfile.write(slow, make_waveform(8000), 8000)
    text.write_text("no audio")
    soundfile.write(short, make_waveform(300), RATE)
    soundfile.write(deaf, np.full(8000, np.nan), RATE, subtype="FLOAT")
    X = [good, slow, text, good, short, deaf]
    said = {1: "has a sampling rate", 2: "could not be decoded", 4: "has 300", 5: "holds NaN"}
    return X, [rf"X\[{i}\] \({X[i]}\) {message}" for i, message in said.items()]


@pytest.mark.parametrize("n_jobs", [None, 2])
def test_all_bad_files_are_in_one_message(tmp_path, n_jobs):
    X, said = make_folder(tmp_path)
    transformer = LogMelSpectrogram(**{**CROP.get_params(), "n_jobs": n_jobs})
    pattern = r"4 of 6 utterances cannot be used:\n  " + ".*\n  ".join(said)
    with pytest.raises(ValueError, match=pattern):
        transformer.transform(X)
    with pytest.warns(UserWarning, match=pattern):
        images, usable = transformer.transform_usable(X)
    assert usable.tolist() == [True, False, False, True, False, False]
    np.testing.assert_array_equal(images, transformer.transform([X[0], X[3]]))


def test_missing_files_are_in_one_message_before_any_is_decoded(tmp_path):
    X, _ = make_folder(tmp_path)
    missing = [tmp_path / "a.wav", X[2], tmp_path / "b.wav"]
    pattern = r"2 of 3 .*\n  X\[0\]: there is no file .*a.wav'.\n  X\[2\]: there is no"
    for method in (CROP.fit, CROP.transform):
        with pytest.raises(FileNotFoundError, match=pattern):
            method(missing)
    with pytest.raises(ValueError, match=r"2 of 2 .*\n  X\[0\]: there is no .*\n  X\[1\] must be"):
        CROP.transform([missing[0], np.zeros((2, 2))])
    with pytest.warns(UserWarning, match="3 of 4"):
        images, usable = CROP.transform_usable([*missing, X[0]])
    assert usable.tolist() == [False, False, False, True]
    assert len(images) == 1
    with pytest.raises(ValueError, match="3 of 3 utterances cannot be used"):
        CROP.transform_usable(missing)


def test_nothing_is_said_where_all_can_be_used():
    X = [make_waveform(n) for n in (8000, 400)]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        images, usable = CROP.transform_usable(X)
    assert usable.tolist() == [True, True]
    np.testing.assert_array_equal(images, CROP.transform(X))


def test_whole_utterances():
    X = [make_waveform(n, n) for n in (400, 16000, 50000)]
    whole = LogMelSpectrogram(n_mels=8, n_frames=None, detector=None)
    images = whole.transform(X)
    assert [image.shape for image in images] == [(8, 1, 1), (8, 98, 1), (8, 311, 1)]
    for waveform, image in zip(X, images, strict=True):
        cut = LogMelSpectrogram(n_mels=8, n_frames=image.shape[1], detector=None)
        # What is left after the last frame shifts the mean of the samples, and so the rounding.
        np.testing.assert_allclose(cut.transform([waveform])[0], image, atol=1e-4)
        assert image.dtype == np.float32
        assert image.flags.c_contiguous
    with pytest.warns(UserWarning, match="1 of 4"):
        usable_images, usable = whole.transform_usable([X[0], X[0][:9], *X[1:]])
    assert usable.tolist() == [True, False, True, True]
    for found, expected in zip(usable_images, images, strict=True):
        np.testing.assert_array_equal(found, expected)


def test_whole_utterances_to_ivectors():
    X = [make_waveform(n, n) for n in (9000, 16000, 22000, 30000)]
    spectrograms = LogMelSpectrogram(n_mels=8, n_frames=None, detector=None).transform(X)
    cepstra = CepstralCoefficients(4)
    features = cepstra.fit_transform(spectrograms)
    assert cepstra.image_shape_ == (8, None, 1)
    assert [part.shape for part in features] == [(s.shape[1], 8) for s in spectrograms]
    for part, spectrogram in zip(features, spectrograms, strict=True):
        one = CepstralCoefficients(4).fit_transform(spectrogram[None])
        np.testing.assert_allclose(part, one[0], atol=1e-5)
    ubm = UniversalBackgroundModel(2, random_state=0)
    extractor = IVectorExtractor(2, ubm=ubm, random_state=0).fit(features)
    vectors = extractor.transform(features)
    assert vectors.shape == (4, 2)
    # One of the four alone is an array of one, and has the same vector.
    alone = extractor.transform(cepstra.transform(spectrograms[2:3]))
    np.testing.assert_allclose(alone, vectors[2:3], atol=1e-4)


def test_paths_of_any_kind(tmp_path):
    path = tmp_path / "ä b.wav"
    soundfile.write(path, make_waveform(8000), RATE)
    images = CROP.transform([path, str(path), Path(path)])
    np.testing.assert_array_equal(images[0], images[1])
