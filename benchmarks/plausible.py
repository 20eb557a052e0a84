"""Images, labels and sounds that look right and are not, for fuzz.py.

Each kind of input says what the guide's page "What is checked" promises of it: that it is refused,
told of (refused or warned of), decided as the right one is, or passed without a word. Of other
kinds nothing is promised; they are counted, with how often the decision differed from that of the
right input. What breaks a promise ends the run.
"""

import re
import unicodedata
import warnings
from collections import Counter, defaultdict
from dataclasses import dataclass
from functools import partial

import numpy as np
from scipy import ndimage
from sklearn.datasets import load_digits, load_sample_images
from sklearn.frozen import FrozenEstimator

from skdistort import (
    DistortionGenerator,
    LogMelSpectrogram,
    SiameseVerifier,
    SoftmaxEmbedder,
    TemplateStore,
    TripletEmbedder,
)
from skdistort.exceptions import InputMismatchError, InputMismatchWarning
from skdistort.metrics import equal_error_rate, pair_scores
from skdistort.template_baselines import GaussianBlur

REFUSED, TOLD, SAME, SILENT, NOTHING = "refused", "told", "same", "silent", "nothing"
# Images of one input: a probe, a few, and as many as tell what most of them are like.
SIZES = 1, 1, 2, 5, 12
POOL = 60
SMALL = {"filters": (4, 8), "hidden_units": 16, "random_state": 0}
DOCUMENTED = ValueError, TypeError


@dataclass
class Subject:
    """What was fitted on images of one unit, and right images to ask it about."""

    name: str
    images: np.ndarray
    # decide(rows, images): whether images are of whom the right images of those rows are.
    decide: object
    # Other methods that take images: they decide nothing.
    others: tuple

    def __post_init__(self):
        self.right = self.decide(np.arange(len(self.images)), self.images)
        spans = np.ptp(self.images.reshape(len(self.images), -1), axis=1)
        self.usual = np.median(spans)
        self.low, self.high = float(self.images.min()), float(self.images.max())


def cut_photos(rng, n_places=40, n_each=8, size=16):
    """Cut photos of places, 96 pixels made 16, out of scikit-learn's two pictures."""
    factor = 6
    pictures = load_sample_images().images
    photos = []
    while len(photos) < n_places * n_each:
        picture = pictures[rng.integers(2)]
        top, left = (rng.integers(8, side - factor * size - 8) for side in picture.shape[:2])
        views = []
        for _ in range(n_each):
            i, j = top + rng.integers(-8, 9), left + rng.integers(-8, 9)
            view = picture[i : i + factor * size, j : j + factor * size].astype(np.float32)
            views.append(view.reshape(size, factor, size, factor, 3).mean(axis=(1, 3)))
        # The sky is as blank as what is to be refused.
        if min(map(np.ptp, views)) > 100:
            photos += views
    return np.array(photos), np.repeat(np.arange(n_places), n_each)


def make_voices(rng, n_voices=20, n_each=8, seconds=0.8, rate=16000):
    """Make sounds of syllables, of a pitch and a timbre of each voice."""
    time = np.arange(int(seconds * rate)) / rate
    waves = []
    for _ in range(n_voices):
        pitch, timbre = rng.uniform(90, 260), rng.uniform(0.1, 1, 12)
        for _ in range(n_each):
            phase = pitch * (time + 0.004 * np.sin(2 * np.pi * rng.uniform(2, 4) * time))
            # Each harmonic comes and goes by itself, as when vowels change.
            rates, starts = rng.uniform(2, 5, 12), rng.uniform(0, 3, 12)
            swells = np.sin(np.pi * rates[:, None] * time + starts[:, None]) ** 4
            harmonics = np.sin(2 * np.pi * np.arange(1, 13)[:, None] * phase)
            syllables = np.sin(np.pi * rng.uniform(3, 5) * time + rng.uniform(0, 3)) ** 4
            wave = syllables * (timbre @ (swells * harmonics))
            wave += 0.001 * rng.standard_normal(len(time))
            waves.append(np.float32(0.3 * wave / np.abs(wave).max()))
    return np.array(waves), np.repeat(np.arange(n_voices), n_each)


def make_subjects(folder):
    """Fit estimators on images of several units.

    Returns
    -------
    subjects : list of Subject
        Digits of 0 to 16, flat, and a store; colour photos of 0 to 255; flat grey photos of 0 to 1;
        normalised spectrograms.
    to_image : LogMelSpectrogram
        What makes such a spectrogram of a sound.
    waves : ndarray of shape (POOL, n_samples)
        The sounds of the last subject's right images.
    """
    rng = np.random.default_rng(0)
    X, y = load_digits(return_X_y=True)
    X = X.astype(np.float32)
    digits = TripletEmbedder(4, epochs=10, **SMALL).fit(X[600:], y[600:])
    small = {"filters": (4, 8), "random_state": 0}
    generator = DistortionGenerator(
        FrozenEstimator(digits), architecture="bottleneck", key=1, epochs=3, **small
    ).fit(X[600:])
    store = TemplateStore(
        generator, folder / "plausible.db", key_cost=1, allow_weak_keys=True
    ).calibrate_threshold(X[300:600], y[300:600])
    people = [f"Zoë {i}" for i in range(POOL)]
    same = [np.flatnonzero(y[100:300] == y[i])[i % 10] + 100 for i in range(POOL)]
    store.enrol(people, X[same])
    subjects = [
        Subject(
            "digits, 0 to 16",
            X[:POOL],
            lambda rows, images: store.verify([people[i] for i in rows], images),
            (generator.transform, store.identify, digits.transform, blur(X[600:])),
        )
    ]
    photos, places = cut_photos(rng)
    # Photos 0 to 5 of each place to learn from, 6 enrolled, 7 to ask about.
    kind = np.arange(len(photos)) % 8
    learned = kind < 6
    colour = SiameseVerifier(8, epochs=10, image_shape=(16, 16, 3), **SMALL)
    colour.fit(photos[learned], places[learned]).calibrate_threshold(photos, places)
    asked, enrolled = np.resize(photos[kind == 7], (POOL, 16, 16, 3)), photos[kind == 6]
    enrolled = np.resize(enrolled, (POOL, 16, 16, 3))
    subjects.append(
        Subject(
            "colour photos, 0 to 255",
            asked,
            lambda rows, images: colour.verify(enrolled[rows], images),
            (colour.transform, blur(photos[learned])),
        )
    )
    grey = np.float32(photos.mean(axis=3).reshape(len(photos), -1) / 255)
    embedder = TripletEmbedder(8, epochs=10, **SMALL).fit(grey[learned], places[learned])
    known = embedder.transform(np.resize(grey[kind == 6], (POOL, 256)))
    subjects.append(
        Subject(
            "flat grey photos, 0 to 1",
            np.resize(grey[kind == 7], (POOL, 256)),
            lambda rows, images: (
                np.square(known[rows] - embedder.transform(images)).sum(axis=1) < 0.5
            ),
            (embedder.transform, blur(grey[learned])),
        )
    )
    waves, voices = make_voices(rng)
    kind = np.arange(len(waves)) % 8
    to_image = LogMelSpectrogram(n_mels=20, n_frames=60)
    images = to_image.fit_transform(list(waves))
    speakers = SoftmaxEmbedder(8, epochs=10, **SMALL)
    speakers.fit(images[kind < 6], voices[kind < 6]).calibrate_threshold(images, voices)
    enrolled_voices = np.resize(images[kind == 6], (POOL, 20, 60, 1))
    subjects.append(
        Subject(
            "spectrograms",
            np.resize(images[kind == 7], (POOL, 20, 60, 1)),
            lambda rows, images: speakers.verify(enrolled_voices[rows], images),
            (speakers.transform, blur(images[kind < 6])),
        )
    )
    return subjects, store, to_image, np.resize(waves[kind == 7], (POOL, waves.shape[1]))


def blur(X):
    """Give the method of what learns no more of images than their units and shape."""
    return GaussianBlur().fit(X).transform


def scaled(factor, offset=0.0):
    """Give all pixels in another unit; the offset is a share of the range."""

    def change(images, subject, rng):
        return np.float32(images * factor + offset * (subject.high - subject.low))

    return change


def in_range(low, high):
    """Give pixels in another range."""

    def change(images, subject, rng):
        share = (images - subject.low) / (subject.high - subject.low)
        return np.float32(share * (high - low) + low)

    return change


def clipped(change):
    """Keep a change within the range, as a camera does."""
    return lambda images, subject, rng: np.clip(
        change(images, subject, rng), subject.low, subject.high
    )


def one_odd(change):
    """Change one image among many."""

    def changed(images, subject, rng):
        images = np.array(images, dtype=np.float32)
        i = rng.integers(len(images))
        images[i] = change(images[i : i + 1], subject, rng)[0]
        return images

    return changed


def pixel(value):
    """Change one pixel of each image."""

    def change(images, subject, rng):
        rows = np.array(images, dtype=np.float32).reshape(len(images), -1)
        rows[:, rng.integers(rows.shape[1])] = subject.high if value is None else value
        return rows.reshape(images.shape)

    return change


def blank(share):
    """Make blank images, at a share of the range."""

    def change(images, subject, rng):
        value = subject.low + share * (subject.high - subject.low)
        return np.full(images.shape, value, dtype=np.float32)

    return change


def standardised(images, subject, rng):
    """Bring each image to mean 0 and variance 1."""
    rows = images.reshape(len(images), -1)
    rows = (rows - rows.mean(axis=1, keepdims=True)) / rows.std(axis=1, keepdims=True)
    return np.float32(rows.reshape(images.shape))


def swapped_bytes(dtype):
    """Read numbers of one byte order as those of the other."""
    return lambda images, subject, rng: images.astype(dtype).byteswap().astype(np.float64)


def signed_bytes(images, subject, rng):
    """Read bytes above 127 as negative numbers."""
    return np.clip(images, 0, 255).astype(np.uint8).view(np.int8).astype(np.float32)


def grey_of(images):
    """Give images as (n, height, width)."""
    if images.ndim == 2:
        side = int(np.sqrt(images.shape[1]))
        return images.reshape(-1, side, side)
    return images.mean(axis=3)


def with_channels(n):
    """Repeat grey images in so many channels."""
    return lambda images, subject, rng: np.stack([grey_of(images)] * n, axis=3)


def channels_first(images, subject, rng):
    colour = images.ndim == 4 and images.shape[3] == 3
    return np.moveaxis(images if colour else with_channels(3)(images, subject, rng), 3, 1)


def other_channels(images, subject, rng):
    """Give grey images where colour is expected, and colour for grey."""
    colour = images.ndim == 4 and images.shape[3] == 3
    return grey_of(images) if colour else with_channels(3)(images, subject, rng)


def noise(images, subject, rng):
    return rng.uniform(subject.low, subject.high, images.shape).astype(np.float32)


def black_and_white(images, subject, rng):
    return np.where(images > np.median(images), subject.high, subject.low).astype(np.float32)


def blurred(images, subject, rng):
    sigma = (0, 2, 2) if images.ndim == 2 else (0, 2, 2, 0)
    square = grey_of(images) if images.ndim == 2 else images
    return ndimage.gaussian_filter(square, sigma).reshape(images.shape)


def turned(images, subject, rng):
    square = grey_of(images) if images.ndim == 2 else images
    return np.rot90(square, axes=(1, 2)).reshape(images.shape)


def mirrored(images, subject, rng):
    square = grey_of(images) if images.ndim == 2 else images
    return square[:, :, ::-1].reshape(images.shape)


def read_only(images, subject, rng):
    images = images.copy()
    images.flags.writeable = False
    return images


# What is made of right images, and what the page promises. A factor of 1 / 255 stands for 0 to 1
# after 0 to 255.
IMAGES = {
    "divided by 255": (REFUSED, scaled(1 / 255)),
    "divided by 16": (REFUSED, scaled(1 / 16)),
    "divided by 65535": (REFUSED, scaled(1 / 65535)),
    "times 255": (REFUSED, scaled(255)),
    "times 257: 16 bits for 8": (REFUSED, scaled(257)),
    "times 65535": (REFUSED, scaled(65535)),
    "blank, as dark as can be": (REFUSED, blank(0)),
    "blank, in between": (REFUSED, blank(0.4)),
    "blank, as bright as can be": (REFUSED, blank(1)),
    "blank, far outside": (REFUSED, blank(300)),
    "a pixel NaN": (REFUSED, pixel(np.nan)),
    "a pixel infinite": (REFUSED, pixel(-np.inf)),
    "a pixel of 1e30": (REFUSED, pixel(1e30)),
    "a pixel of -1e30": (REFUSED, pixel(-1e30)),
    "one of many divided by 255": (REFUSED, one_odd(scaled(1 / 255))),
    "one of many times 255": (REFUSED, one_odd(scaled(255))),
    "one of many blank": (REFUSED, one_odd(blank(0.3))),
    "one of many with NaN": (REFUSED, one_odd(pixel(np.nan))),
    "one of many with a pixel of 1e30": (REFUSED, one_odd(pixel(1e30))),
    "bytes of float32 swapped": (REFUSED, swapped_bytes(np.float32)),
    "bytes of float64 swapped": (REFUSED, swapped_bytes(np.float64)),
    "complex numbers": (REFUSED, lambda images, subject, rng: images.astype(complex)),
    "text": (REFUSED, lambda images, subject, rng: np.full(images.shape, "dark")),
    "None among pixels": (
        REFUSED,
        lambda images, subject, rng: np.where(rng.random(images.shape) < 0.1, None, images),
    ),
    "a row or column less": (REFUSED, lambda images, subject, rng: images[:, :-1]),
    "one image, not in a list": (REFUSED, lambda images, subject, rng: images[0]),
    "no image": (REFUSED, lambda images, subject, rng: images[:0]),
    "twice the size": (
        REFUSED,
        lambda images, subject, rng: grey_of(images).repeat(2, axis=1).repeat(2, axis=2),
    ),
    "channels first": (REFUSED, channels_first),
    "grey for colour, or colour for grey": (REFUSED, other_channels),
    "with an alpha channel": (REFUSED, with_channels(4)),
    "divided by 8": (NOTHING, scaled(1 / 8)),
    "-1 to 1": (NOTHING, in_range(-1, 1)),
    "0 to 1": (NOTHING, in_range(0, 1)),
    "0 to 100": (NOTHING, in_range(0, 100)),
    "0 to 255": (NOTHING, in_range(0, 255)),
    "0 to 1023: 10 bits": (NOTHING, in_range(0, 1023)),
    "divided by 2: 7 bits for 8": (NOTHING, scaled(1 / 2)),
    "divided by 4: 6 bits for 8": (NOTHING, scaled(1 / 4)),
    "each of mean 0 and variance 1": (NOTHING, standardised),
    "negative": (NOTHING, lambda images, subject, rng: subject.low + subject.high - images),
    "bytes of int16 swapped": (NOTHING, swapped_bytes(np.int16)),
    "bytes taken for signed ones": (NOTHING, signed_bytes),
    "bytes that overflow": (
        NOTHING,
        lambda images, subject, rng: (images * 16).astype(np.int64).astype(np.uint8),
    ),
    "black and white": (NOTHING, black_and_white),
    "noise": (NOTHING, noise),
    "mirrored": (NOTHING, mirrored),
    "turned by a quarter": (NOTHING, turned),
    "last axis backwards: BGR for RGB": (
        NOTHING,
        lambda images, subject, rng: images[..., ::-1].copy(),
    ),
    "blurred": (NOTHING, blurred),
    "the same image many times": (
        NOTHING,
        lambda images, subject, rng: np.repeat(images[:1], len(images), axis=0),
    ),
    "in another order": (NOTHING, lambda images, subject, rng: rng.permutation(images)),
    "a pixel as bright as can be": (NOTHING, pixel(None)),
    "right, as float64": (SAME, lambda images, subject, rng: images.astype(np.float64)),
    "right, in the other byte order": (
        SAME,
        lambda images, subject, rng: images.astype(images.dtype.newbyteorder()),
    ),
    "right, as objects": (SAME, lambda images, subject, rng: images.astype(object)),
    "right, as lists": (SAME, lambda images, subject, rng: images.tolist()),
    "right, not contiguous": (
        SAME,
        lambda images, subject, rng: np.repeat(images, 2, axis=0)[::2],
    ),
    "right, not to be written to": (SAME, read_only),
    "right": (SILENT, scaled(1)),
    "right, in half the light": (SILENT, scaled(0.5)),
    "right, in a third of the light": (SILENT, scaled(1 / 3)),
    "right, in a third more light": (SILENT, scaled(1.3)),
    "right, in a third more light, clipped": (SILENT, clipped(scaled(1.3))),
    "right, brighter by a fifth": (SILENT, scaled(1, 0.2)),
    "right, brighter by a fifth, clipped": (SILENT, clipped(scaled(1, 0.2))),
    "right, darker by a fifth": (SILENT, scaled(1, -0.2)),
    "right, darker by a fifth, clipped": (SILENT, clipped(scaled(1, -0.2))),
}


def missing(value, at=2):
    """Put something in the place of a label."""

    def change(y, rng):
        spoilt = y.astype(object)
        spoilt[at] = value
        return spoilt, y

    return change


def other_form(y, rng):
    return np.array([unicodedata.normalize("NFD", str(name)) for name in y]), y


# What is made of identities: those of the one and of the other side of the pairs.
LABELS = {
    "NaN": (REFUSED, missing(np.nan)),
    "infinite": (REFUSED, lambda y, rng: (np.where(y == y[0], np.inf, y), y)),
    "None": (REFUSED, missing(None)),
    "text among numbers": (REFUSED, missing("3")),
    "bytes among numbers": (REFUSED, missing(b"3")),
    "numbers here, text there": (REFUSED, lambda y, rng: (y, y.astype(str))),
    "text here, bytes there": (REFUSED, lambda y, rng: (y.astype(str), y.astype("S"))),
    "one less": (REFUSED, lambda y, rng: (y[1:], y)),
    "one more": (REFUSED, lambda y, rng: (np.append(y, 0), y)),
    "two columns": (REFUSED, lambda y, rng: (np.stack([y, y], axis=1), y)),
    "none": (REFUSED, lambda y, rng: (None, y)),
    "all the same": (REFUSED, lambda y, rng: (np.zeros_like(y), np.zeros_like(y))),
    "all different": (REFUSED, lambda y, rng: (np.arange(len(y)), np.arange(len(y)))),
    "of the neighbour": (NOTHING, lambda y, rng: (np.roll(y, 1), y)),
    "in another order": (NOTHING, lambda y, rng: (rng.permutation(y), y)),
    "-1 for some": (NOTHING, lambda y, rng: (np.where(y == 1, -1, y), np.where(y == 1, -1, y))),
    "a blank behind": (
        NOTHING,
        lambda y, rng: (np.char.add(y.astype(str), " "), y.astype(str)),
    ),
    "in another form of Unicode": (
        NOTHING,
        lambda y, rng: other_form(np.char.add("Zoë ", y.astype(str)), rng),
    ),
    "right, in the other byte order": (SAME, lambda y, rng: (y.astype(y.dtype.newbyteorder()), y)),
    "right, as floats": (SAME, lambda y, rng: (y.astype(float), y)),
    "right, as small integers": (SAME, lambda y, rng: (y.astype(np.int8), y)),
    "right, as objects": (SAME, lambda y, rng: (y.astype(object), y)),
    "right, as a list": (SAME, lambda y, rng: (y.tolist(), y)),
    "right, with and without a sign, beyond 2**53": (
        SAME,
        lambda y, rng: (y + 2**60, (y + 2**60).astype(np.uint64)),
    ),
    "right, as text": (SAME, lambda y, rng: (y.astype(str), y.astype("U50"))),
}

# What is made of the ids that probes of a store claim.
IDS = {
    "bytes": (REFUSED, lambda ids, rng: [name.encode() for name in ids]),
    "numbers": (REFUSED, lambda ids, rng: list(range(len(ids)))),
    "None": (REFUSED, lambda ids, rng: [None, *ids[1:]]),
    "half a character": (REFUSED, lambda ids, rng: ["\ud800", *ids[1:]]),
    "not enrolled": (REFUSED, lambda ids, rng: ["Zoë", *ids[1:]]),
    "a blank behind": (REFUSED, lambda ids, rng: [f"{name} " for name in ids]),
    "one less": (REFUSED, lambda ids, rng: ids[1:]),
    "one, not in a list": (REFUSED, lambda ids, rng: ids[0]),
    "of the neighbour": (NOTHING, lambda ids, rng: [*ids[1:], ids[0]]),
    "right, in another form of Unicode": (
        SAME,
        lambda ids, rng: [unicodedata.normalize("NFD", name) for name in ids],
    ),
    "right, as an array": (SAME, lambda ids, rng: np.array(ids)),
}


def noise_like(waves, rng, colour=0.0):
    """Make stationary noise, its spectrum falling by a power of the frequency."""
    spectrum = np.fft.rfft(rng.standard_normal(waves.shape), axis=1)
    spectrum /= np.arange(1, spectrum.shape[1] + 1) ** colour
    made = np.fft.irfft(spectrum, waves.shape[1], axis=1)
    return np.float32(0.1 * made / made.std(axis=1, keepdims=True))


def hum(waves, rng):
    time = np.arange(waves.shape[1]) / 16000
    return np.tile(
        np.float32(0.3 * np.sin(2 * np.pi * rng.uniform(50, 4000) * time)), (len(waves), 1)
    )


def one_silent(waves, rng):
    waves = waves.copy()
    waves[rng.integers(len(waves))] = 0
    return waves


def to_16_bits(waves):
    return np.round(waves * 32767).astype(np.int16)


def spoilt_sample(value):
    def change(waves, rng):
        waves = waves.copy()
        waves[:, rng.integers(waves.shape[1])] = value
        return waves

    return change


# What is made of waveforms.
SOUNDS = {
    "silence": (REFUSED, lambda waves, rng: np.zeros_like(waves)),
    "a constant": (REFUSED, lambda waves, rng: np.full_like(waves, 0.4)),
    "white noise": (REFUSED, noise_like),
    "pink noise": (REFUSED, partial(noise_like, colour=0.5)),
    "brown noise": (REFUSED, partial(noise_like, colour=1.0)),
    "a tone": (REFUSED, hum),
    "31 ms": (REFUSED, lambda waves, rng: waves[:, 6000:6496]),
    "less than a frame": (REFUSED, lambda waves, rng: waves[:, :300]),
    "no samples": (REFUSED, lambda waves, rng: waves[:, :0]),
    "one of many silent": (REFUSED, one_silent),
    "a sample NaN": (REFUSED, spoilt_sample(np.nan)),
    "a sample infinite": (REFUSED, spoilt_sample(np.inf)),
    "a sample of 1e30": (REFUSED, spoilt_sample(1e30)),
    "both channels": (REFUSED, lambda waves, rng: np.stack([waves, waves], axis=2)),
    "unsigned bytes": (REFUSED, lambda waves, rng: np.uint8(waves * 127 + 128)),
    "complex numbers": (REFUSED, lambda waves, rng: waves.astype(complex)),
    "text": (REFUSED, lambda waves, rng: np.full(waves.shape, "loud")),
    "bytes of float32 swapped": (REFUSED, lambda waves, rng: waves.byteswap()),
    "bytes of int16 swapped": (NOTHING, lambda waves, rng: to_16_bits(waves).byteswap()),
    "16 bits in int32, not scaled": (
        NOTHING,
        lambda waves, rng: to_16_bits(waves).astype(np.int32),
    ),
    "16 bits as floats, not scaled": (NOTHING, lambda waves, rng: np.float32(to_16_bits(waves))),
    "both channels interleaved": (NOTHING, lambda waves, rng: np.repeat(waves, 2, axis=1)),
    "8 kHz for 16 kHz": (NOTHING, lambda waves, rng: waves[:, ::2]),
    "backwards": (NOTHING, lambda waves, rng: waves[:, ::-1]),
    "clipped": (NOTHING, lambda waves, rng: np.clip(waves, -0.05, 0.05)),
    "a constant added": (NOTHING, lambda waves, rng: waves + np.float32(0.3)),
    "noise added": (NOTHING, lambda waves, rng: waves + 0.3 * noise_like(waves, rng)),
    "in another order": (NOTHING, lambda waves, rng: rng.permutation(waves)),
    "right, upside down": (SAME, lambda waves, rng: -waves),
    "right, in the other byte order": (SAME, lambda waves, rng: waves.astype(">f4")),
    "right, as float64": (SAME, lambda waves, rng: waves.astype(np.float64)),
    "right": (SILENT, lambda waves, rng: waves),
}


class Counts:
    """What became of inputs, by kind; stops at what breaks a promise."""

    def __init__(self):
        self.of_kind = defaultdict(Counter)
        self.total = 0

    def judge(self, kind, promise, use, right=None, sample=None):
        """Use one input, and hold what becomes of it to what was promised.

        `right` is what the right input gives, if it decides; `sample` the number that a message
        is to name, if there is one.
        """
        self.total += 1
        found = None
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            try:
                found = use()
                became = "warned" if told else "silent"
            except (*DOCUMENTED, KeyError) as error:
                became, told = "refused", [error]
        message = "; ".join(str(getattr(one, "message", one)) for one in told)
        counts = self.of_kind[kind]
        counts[became] += 1
        differs = None
        if found is not None and right is not None:
            differs = np.shape(found) != np.shape(right) or bool(np.any(found != right))
            counts["decided"] += 1
            counts["differently"] += differs
        kept = {
            REFUSED: became == "refused",
            TOLD: became != "silent",
            SAME: became == "silent" and not differs,
            SILENT: became == "silent",
            NOTHING: True,
        }[promise]
        if kept and sample is not None and became == "refused":
            kept = bool(re.search(rf"\b\w+\[{sample}\]", message))
            promise = f"named as number {sample}"
        if not kept:
            raise SystemExit(f"{kind}: to be {promise}, but was {became} {differs}: {message}")

    def print(self):
        """Print a line for each kind."""
        for kind, counts in self.of_kind.items():
            became = ", ".join(
                f"{counts[b]} {b}" for b in ("refused", "warned", "silent") if counts[b]
            )
            line = f"  {kind}: {became}"
            if counts["decided"]:
                share = 100 * counts["differently"] / counts["decided"]
                line += f"; of {counts['decided']} decided, {share:.0f} % not as the right one"
            print(line, flush=True)


def of_some_contrast(images, subject):
    """Tell whether images have a fourth of the usual contrast left, as the page asks for."""
    return np.ptp(images.reshape(len(images), -1), axis=1).min() >= subject.usual / 4


def try_images(subjects, n, seed):
    """Ask subjects about images of all kinds in turn."""
    counts, kinds = Counts(), list(IMAGES.items())
    for i in range(n):
        rng = np.random.default_rng([seed, 1, i])
        subject = subjects[rng.integers(len(subjects))]
        kind, (promise, change) = kinds[i % len(kinds)]
        rows = rng.choice(POOL, rng.choice(SIZES), replace=False)
        images = change(subject.images[rows], subject, rng)
        if promise == SILENT and not of_some_contrast(images, subject):
            promise = NOTHING
        sample = None
        if kind.startswith("one of many"):
            odd = np.any((images != subject.images[rows]).reshape(len(rows), -1), axis=1)
            sample = int(np.flatnonzero(odd)[0])
        other = int(rng.integers(2 * len(subject.others)))
        if other < len(subject.others):
            counts.judge(kind, promise, partial(subject.others[other], images), sample=sample)
        else:
            use = partial(subject.decide, rows, images)
            counts.judge(kind, promise, use, subject.right[rows], sample)
    return counts


def try_labels(subjects, store, n, seed):
    """Compare identities of all kinds in turn, and claim ids."""
    counts, kinds = Counts(), list(LABELS.items())
    for i in range(n // 2):
        rng = np.random.default_rng([seed, 2, i])
        kind, (promise, change) = kinds[i % len(kinds)]
        y = rng.permutation(np.repeat(np.arange(4), 3))
        Z = rng.standard_normal((len(y), 3))
        left, right = change(y, rng)
        expected = pair_scores(Z, y, Z, y, exclude_same_index=True)[0]

        def use(Z=Z, left=left, right=right):
            genuine, scores = pair_scores(Z, left, Z, right, exclude_same_index=True)
            if genuine.all() or not genuine.any():
                equal_error_rate(genuine, scores)
            return genuine

        counts.judge(f"identities, {kind}", promise, use, expected)
    kinds, digits = list(IDS.items()), subjects[0]
    for i in range(n - n // 2):
        rng = np.random.default_rng([seed, 3, i])
        kind, (promise, change) = kinds[i % len(kinds)]
        rows = rng.choice(POOL, 3, replace=False)
        ids = change([f"Zoë {row}" for row in rows], rng)
        use = partial(store.verify, ids, digits.images[rows])
        counts.judge(f"ids, {kind}", promise, use, digits.right[rows])
    return counts


def try_sounds(subject, to_image, waves, n, seed):
    """Make spectrograms of sounds of all kinds in turn, and ask a verifier about them."""
    counts, kinds = Counts(), list(SOUNDS.items())
    for i in range(n):
        rng = np.random.default_rng([seed, 4, i])
        kind, (promise, change) = kinds[i % len(kinds)]
        rows = rng.choice(POOL, rng.choice([1, 1, 3]), replace=False)
        changed = change(waves[rows], rng)
        sample = None
        if kind.startswith("one of many"):
            sample = int(np.flatnonzero(~changed.any(axis=1))[0])

        def use(rows=rows, changed=changed):
            return subject.decide(rows, to_image.transform(list(changed)))

        counts.judge(f"sounds, {kind}", promise, use, subject.right[rows], sample)
    return counts


def make_fits():
    """Name what ``fit`` is to tell of before it trains, as functions of a random generator."""
    photos, places = cut_photos(np.random.default_rng(1), n_places=10, n_each=4)
    flat = photos.reshape(len(photos), -1)
    learner = TripletEmbedder(4, epochs=1, **SMALL)
    to_bytes = DistortionGenerator(learner, pixel_range=(0, 255), epochs=1)

    def with_outlier(rng):
        spoilt = photos.copy()
        spoilt[rng.integers(len(photos)), 3, 4] = 65535
        return learner.fit(spoilt, places)

    def with_nan(rng):
        spoilt = photos.copy()
        spoilt[rng.integers(len(photos)), 3, 4] = np.nan
        return learner.fit(spoilt, places)

    return {
        "a pixel of 65535 in one of the images": (TOLD, with_outlier),
        "a pixel NaN": (REFUSED, with_nan),
        "channels first": (TOLD, lambda rng: learner.fit(np.moveaxis(photos, 3, 1), places)),
        "flat rows of colour": (TOLD, lambda rng: learner.fit(flat, places)),
        "one image in colour, not in a list": (
            TOLD,
            lambda rng: learner.fit(photos[0], places[:16]),
        ),
        "0 to 1 with a pixel_range of 0 to 255": (TOLD, lambda rng: to_bytes.fit(photos / 255)),
        "0 to 16 with a pixel_range of 0 to 255": (TOLD, lambda rng: to_bytes.fit(photos / 16)),
        "0 to 65535 with a pixel_range of 0 to 255": (
            REFUSED,
            lambda rng: to_bytes.fit(photos * 257),
        ),
        "all pixels the same": (TOLD, lambda rng: learner.fit(np.full_like(photos, 7), places)),
        "all images the same": (
            TOLD,
            lambda rng: learner.fit(np.repeat(photos[:1], 40, axis=0), places),
        ),
        "one image": (REFUSED, lambda rng: learner.fit(photos[:1], places[:1])),
        "one class": (REFUSED, lambda rng: learner.fit(photos, np.zeros(len(photos)))),
        "no class with two images": (
            REFUSED,
            lambda rng: learner.fit(photos, np.arange(len(photos))),
        ),
        "a class less": (REFUSED, lambda rng: learner.fit(photos, places[1:])),
        "NaN among the classes": (
            REFUSED,
            lambda rng: learner.fit(photos, np.where(places == 3, np.nan, places)),
        ),
    }


def try_fits(n, seed):
    """Fit estimators on images and labels that are to be told of, which ends it there."""
    counts, kinds = Counts(), list(make_fits().items())
    for i in range(n):
        rng = np.random.default_rng([seed, 5, i])
        kind, (promise, fit) = kinds[i % len(kinds)]

        def use(fit=fit, rng=rng):
            warnings.simplefilter("error", InputMismatchWarning)
            try:
                fit(rng)
            except InputMismatchWarning as warning:
                raise InputMismatchError(str(warning)) from warning

        counts.judge(f"fit, {kind}", promise, use)
    return counts


def try_all(folder, n, seed):
    """Draw so many inputs, and print what became of them; the number of inputs."""
    subjects, store, to_image, waves = make_subjects(folder)
    for subject in subjects:
        print(f"{subject.name}: {subject.right.mean():.0%} of the right images are accepted")
    parts = [
        ("images", try_images(subjects, n - 3 * (n // 10), seed)),
        ("labels", try_labels(subjects, store, n // 10, seed)),
        ("sounds", try_sounds(subjects[-1], to_image, waves, n // 10, seed)),
        ("fits", try_fits(n // 10, seed)),
    ]
    for name, counts in parts:
        print(f"{name}: {counts.total}")
        counts.print()
    store.close()
    return sum(counts.total for _, counts in parts)
