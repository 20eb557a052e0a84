"""Recordings, of which only the samples that are asked for are decoded.

What an utterance may be is checked in :mod:`skdistort.audio._decoding`. Nothing here knows of
frames.
"""

from __future__ import annotations

import io
from contextlib import contextmanager, nullcontext
from math import gcd, inf

import numpy as np

from ._decoding import check_waveform, to_samples

# Frames of a file decoded at a time: what a header claims never decides what is allocated.
_BLOCK = 1 << 16

# libsndfile counts this many frames where a header does not say how many there are.
_UNKNOWN = (1 << 63) - 1

# Seconds by which a file may be shorter than its header says: encoders pad, and the frames of MP3
# are at most 72 ms long.
_SHORTFALL = 0.1

# Seconds by which a segment may end after its recording, as in Kaldi's extract-segments.
_OVERSHOOT = 0.5

# Seconds on either side from which resampled samples are computed: longer than soxr's filters.
_MARGIN = 0.1


@contextmanager
def open_recording(utterance, sampling_rate, channel=None, resample=False):
    """Get at the samples of one utterance, from its file where it has one.

    Parameters
    ----------
    utterance : Utterance
        What :func:`check_utterances` returned.
    sampling_rate : int
        Samples a second that a file must have, or gets.
    channel : int or None, default=None
        Which channel of a file, from 0 on; None is the mean of all.
    resample : bool, default=False
        Whether a file of another sampling rate is resampled.

    Yields
    ------
    recording
        With its number of samples, `n_samples`, a method ``read(start, stop)`` that returns finite
        float32, and a `hint` to follow an error about what they hold.

    Raises
    ------
    ImportError
        If a file is to be decoded and `soundfile` is not installed, or resampled and `soxr` is
        not.
    ValueError
        If a file cannot be decoded, ends before its header says, has another sampling rate, no
        such channel or no samples; if a sample is not finite; if a segment lies outside.
    """
    if isinstance(utterance.source, np.ndarray):
        samples = to_samples(utterance.source, utterance.name)
        begin, end = _segment_bounds(utterance, len(samples), sampling_rate)
        yield _Waveform(samples[begin:end])
        return
    with utterance.lock or nullcontext(), _Decoder(utterance.source, utterance.name) as decoder:
        yield _File(utterance, decoder, sampling_rate, channel, resample)


class _Waveform:
    """Samples in memory."""

    def __init__(self, samples):
        self.samples, self.hint = samples, ""
        self.n_samples = len(samples)

    def read(self, start, stop):
        """Return some samples."""
        return self.samples[start:stop]


class _File:
    """Part of a file: one channel or the mean of all, resampled if need be."""

    def __init__(self, utterance, decoder, sampling_rate, channel, resample):
        self.name, self.decoder, self.channel = utterance.name, decoder, channel
        if channel is not None and channel >= decoder.n_channels:
            raise ValueError(
                f"{self.name} has {decoder.n_channels} channel(s), none of number {channel}; they "
                "are counted from 0."
            )
        mixed = channel is None and decoder.n_channels > 1
        hint = f" in the mean of its {decoder.n_channels} channels: channel takes one of them"
        self.hint = hint if mixed else ""
        if decoder.sampling_rate != sampling_rate and not resample:
            raise ValueError(
                f"{self.name} has a sampling rate of {decoder.sampling_rate} Hz, expected "
                f"{sampling_rate} Hz: set resample=True, or sampling_rate."
            )
        self.begin, self.end = _segment_bounds(utterance, decoder.n_frames, decoder.sampling_rate)
        common = gcd(decoder.sampling_rate, sampling_rate)
        self.up, self.down = sampling_rate // common, decoder.sampling_rate // common
        self.n_samples = (self.end - self.begin) * self.up // self.down
        if self.n_samples == 0:
            raise ValueError(f"{self.name} has no samples.")

    def read(self, start, stop):
        """Decode some samples."""
        stop = min(stop, self.n_samples)
        if self.up == self.down:
            return self._decode(start, stop)
        # Sample `period * up` of what is returned is sample `period * down` of the file.
        margin = int(_MARGIN * self.decoder.sampling_rate)
        period = max(0, (start * self.down // self.up - margin) // self.down)
        last = min(self.end - self.begin, -(-stop * self.down // self.up) + margin)
        decoded = self._decode(period * self.down, last)
        samples = _import_soxr().resample(decoded, self.down, self.up)
        samples = samples[start - period * self.up :][: stop - start]
        return np.pad(samples, (0, stop - start - len(samples)))

    def _decode(self, start, stop):
        channels = self.decoder.read(self.begin + start, self.begin + stop)
        if self.channel is not None:
            samples = channels[:, self.channel]
        else:
            samples = channels.mean(axis=1) if channels.shape[1] > 1 else channels[:, 0]
        return to_samples(check_waveform(samples, self.name), self.name)


class _Decoder:
    """An open file whose frames are read where they are asked for."""

    def __init__(self, source, name):
        self.source, self.name, self.file = source, name, None
        self._open()
        self.sampling_rate, self.n_channels = self.file.samplerate, self.file.channels
        self.n_frames = self.file.frames
        if self.n_frames == _UNKNOWN:
            self.n_frames, _ = self._find_end()
            self._open()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.file.close()

    def read(self, start, stop):
        """Decode frames, shape (stop - start, n_channels)."""
        blocks, found, error = [], 0, self._seek(start)
        while error is None and start + found < stop:
            block, error = self._read_block(min(_BLOCK, stop - start - found))
            if len(block) == 0:
                break
            blocks.append(block)
            found += len(block)
        # Where nothing is missing an error is of no account: after the last good frame of a file
        # whose header claims too much, soundfile's own seek fails.
        missing = stop - start - found
        if missing and (error or not blocks or missing > _SHORTFALL * self.sampling_rate):
            self._raise_short(error)
        return np.concatenate(blocks) if len(blocks) != 1 else blocks[0]

    def _open(self):
        """Open the file, or open it once more to read from its beginning."""
        if self.file is not None:
            self.file.close()
        source = io.BytesIO(self.source) if isinstance(self.source, bytes) else self.source
        try:
            if hasattr(source, "seek"):
                source.seek(0)
            self.file = _import_soundfile().SoundFile(source)
        except ImportError:
            raise
        # Whatever a decoder raises is to name the file: soundfile has TypeError for files without
        # a header, and what a file object raises is its own.
        except Exception as error:
            raise ValueError(
                f"{self.name} could not be decoded: {error} {_way_out(self.source)}"
            ) from error

    def _seek(self, start):
        """Go to a frame; return the error, if any."""
        if self.file.seekable():
            try:
                self.file.seek(start)
            except Exception as error:
                return error
            return None
        self._open()
        position = 0
        while position < start:
            block, error = self._read_block(min(_BLOCK, start - position))
            if error or len(block) == 0:
                return error or EOFError()
            position += len(block)
        return None

    def _read_block(self, n):
        """Read up to `n` frames; return them, and the error that ended it."""
        # What is left of it after an error tells how many frames were decoded before.
        block = np.full((n, self.n_channels), np.nan, dtype=np.float32)
        try:
            return self.file.read(out=block), None
        except Exception as error:
            unread = np.isnan(block).all(axis=1)
            return block[: np.argmax(unread) if unread.any() else n], error

    def _find_end(self):
        """Count the frames that can be decoded, from the first one on."""
        self._open()
        n_frames, error = 0, None
        while error is None:
            block, error = self._read_block(_BLOCK)
            n_frames += len(block)
            if len(block) == 0:
                break
        return n_frames, error

    def _raise_short(self, error):
        """Say where the file ends, and how to take what is there."""
        n_frames, later = self._find_end()
        error = error or later
        why = f" ({error})" if error is not None and str(error) else ""
        ends, claimed = n_frames / self.sampling_rate, self.n_frames / self.sampling_rate
        raise ValueError(
            f"{self.name} can be decoded up to {ends:.2f} s only, its header says {claimed:.2f} "
            f"s{why}: a segment, (file, 0, {ends:.2f}), takes what is there."
        ) from error


def _segment_bounds(utterance, n_samples, sampling_rate):
    """Return first and last sample of an utterance in its recording."""
    end = inf if utterance.end is None else utterance.end
    if utterance.end is not None and end * sampling_rate > n_samples + _OVERSHOOT * sampling_rate:
        raise ValueError(f"{utterance.name} ends after the {n_samples / sampling_rate:.2f} s.")
    begin = round(utterance.start * sampling_rate)
    end = n_samples if end == inf else min(round(end * sampling_rate), n_samples)
    if begin >= end and (utterance.start or utterance.end is not None):
        raise ValueError(
            f"{utterance.name} has no samples in a recording of {n_samples / sampling_rate:.2f} s."
        )
    return begin, end


def _way_out(source):
    """Say what else can be tried with what is not decoded."""
    if isinstance(source, bytes) and len(source) < 4096:
        return "Bytes are taken for the content of a file; a path is a str or a Path."
    return (
        "soundfile reads FLAC, WAV, Ogg, MP3 and more; others, such as M4A, are converted by "
        "`ffmpeg -i FILE -ac 1 -ar 16000 FILE.wav`, say."
    )


def _import_soundfile():
    """Import what decodes files, or say how to get it."""
    try:
        import soundfile
    except (ImportError, OSError) as error:
        raise ImportError(
            f"Decoding audio files needs soundfile and could not import it ({error}): install it "
            "with `pip install 'skdistort[audio]'`."
        ) from error
    return soundfile


def _import_soxr():
    """Import what resamples, or say how to get it."""
    try:
        import soxr
    except (ImportError, OSError) as error:
        raise ImportError(
            f"Resampling needs soxr and could not import it ({error}): install it with "
            "`pip install 'skdistort[audio]'`."
        ) from error
    return soxr
