"""Spectrograms as verifiers take them: which are refused, how they are changed and embedded."""

from numbers import Integral

import numpy as np
from sklearn.preprocessing import normalize
from sklearn.utils._param_validation import Interval, StrOptions

from ..audio import SpeechAugmentation, without_variation
from ..audio._augmentation import repeat_stretches
from ..exceptions import InputMismatchError
from ..images import ImageAugmentation
from ..images._augmentation import PRESETS, as_augmentation

AUGMENTATION_CONSTRAINTS: dict = {
    "augmentation": [
        StrOptions({"speech", *PRESETS}),
        SpeechAugmentation,
        ImageAugmentation,
        None,
    ],
    "n_crops": [Interval(Integral, 1, None, closed="left")],
}
_SPEECH = {
    "crop": 2 / 3,
    "tempo": 0.1,
    "noise": 0.2,
    "time_mask": 0.1,
    "band_mask": 0.1,
    "n_masks": 1,
}

# Images looked at together, and samples named in a message.
_BLOCK = 512
_NAMED = 10


def refuse_without_variation(images, first=0, name="X"):
    """Raise if no row of an image varies along it: of a spectrogram, no band over time.

    Silence, a constant and a hum are such. Any two of them are equal, and so are verified.

    Parameters
    ----------
    images : ndarray or StoredImages of shape (n_samples, height, width, channels)
        Spectrograms, or images. Those of one row, of one column, or of several channels are none
        that have bands over time, and pass.
    first : int, default=0
        Number of the first of them.
    name : str, default="X"
        What to call them.

    Raises
    ------
    InputMismatchError
        If there are any, naming them.
    """
    n_samples, height, width, n_channels = images.shape
    if height == 1 or width == 1 or n_channels > 1:
        return
    found = []
    for start in range(0, n_samples, _BLOCK):
        found += (first + start + without_variation(images[start : start + _BLOCK])).tolist()
    if found:
        named = ", ".join(map(str, found[:_NAMED])) + (", ..." if len(found) > _NAMED else "")
        raise InputMismatchError(
            f"{len(found)} sample(s) of {name} vary along no row, that is, hold no sound that "
            f"varies over time: {named}. Silence, a constant and a hum all give the same image, "
            "which would be verified as that of anybody else's silence. Leave them out: "
            "skdistort.audio.without_variation finds them, LogMelSpectrogram refuses their files.",
            found[0],
            "rows that do not vary",
            "rows that vary",
        )


def as_any_augmentation(augmentation):
    """Take what a verifier's parameter `augmentation` may be.

    Parameters
    ----------
    augmentation : None, str, SpeechAugmentation or ImageAugmentation
        Nothing, the name of a preset, or what is meant itself.

    Returns
    -------
    SpeechAugmentation, ImageAugmentation or None
        What to apply.

    Raises
    ------
    ValueError
        If a parameter of it is out of its bounds.
    """
    if isinstance(augmentation, str) and augmentation == "speech":
        return SpeechAugmentation(**_SPEECH)
    return as_augmentation(augmentation)


def embed_crops(network, images, batch_size, n_crops, unit_length):
    """Embed samples whole, or by the mean of what stretches of half their width give.

    Parameters
    ----------
    network : StoredNetwork
        The encoder.
    images : ndarray of shape (n_samples, height, width, channels)
        Samples.
    batch_size : int
        Samples at a time.
    n_crops : int
        How many stretches; 1 means whole.
    unit_length : bool
        Whether embeddings are of unit length.

    Returns
    -------
    ndarray of shape (n_samples, m), dtype float32
        Embeddings.
    """
    if n_crops == 1:
        return network.predict(images, batch_size)
    n, width = len(images), images.shape[2]
    lengths = np.full(n, max(1, width // 2))
    codes = 0
    for start in np.linspace(0, width - lengths[0], n_crops).astype(int):
        crops = repeat_stretches(images, np.full(n, start), lengths, np.ones(n))
        codes = codes + network.predict(crops, batch_size)
    return normalize(codes) if unit_length else codes / np.float32(n_crops)
