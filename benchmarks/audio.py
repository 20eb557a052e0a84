"""Hours of speech a minute: LogMelSpectrogram against librosa's melspectrogram and a logarithm.

Both turn the same generated waveforms into log-mel spectrograms of 80 bands, every 10 ms from 25 ms
padded to 512 samples, in turn, in one process; the ratio of the times is taken pair by pair. Ours
normalises, crops or repeats to the number of frames of the longest waveform as well. Noise is no
speech, so no detector looks for it here, except for a line that says what looking costs. Last, 3.5
s are taken of a stereo file of two hours. Run ``python benchmarks/audio.py``; needs librosa, of the
extra ``[test]``.
"""

import argparse
import tempfile
import time
from pathlib import Path

import librosa
import numpy as np
import soundfile
from sklearn.base import clone

from skdistort.audio import EnergyVAD, LogMelSpectrogram


def by_librosa(waveforms):
    for waveform in waveforms:
        energies = librosa.feature.melspectrogram(
            y=waveform, sr=16000, n_fft=512, win_length=400, hop_length=160, n_mels=80, center=False
        )
        np.log(np.maximum(energies, 2**-23))


def seconds(run, clock):
    start = clock()
    run()
    return clock() - start


class AsIs(EnergyVAD):
    """Looks for speech and, whatever it finds, takes all for speech."""

    def detect(self, samples, features, **lengths):
        super().detect(samples, features, **lengths)
        return np.ones(len(features), dtype=bool)


def read_two_hours():
    """Print how long 3.5 s of a file of two hours take."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "long.wav"
        minute = 0.1 * np.random.default_rng(0).standard_normal((60 * 16000, 2))
        with soundfile.SoundFile(path, "w", 16000, 2) as file:
            for _ in range(120):
                file.write(minute)
        transformer = LogMelSpectrogram(detector=None)
        times = [seconds(lambda: transformer.transform([path]), time.perf_counter) for _ in "12345"]
    print(f"3.5 s of a stereo file of 2 h: {1000 * np.median(times):.1f} ms")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--utterances", type=int, default=200)
    parser.add_argument("--seconds", type=float, nargs="+", default=[1.0, 3.5, 20.0])
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--n-jobs", type=int, help="threads of ours; librosa has one")
    options = parser.parse_args()
    # Processor time is steadier where the machine has other work, but adds up threads.
    clock = time.process_time if options.n_jobs is None else time.perf_counter
    rng = np.random.default_rng(0)
    for duration in options.seconds:
        n_utterances = max(1, round(options.utterances / duration))
        shape = n_utterances, round(16000 * duration)
        waveforms = list(0.1 * rng.standard_normal(shape, dtype=np.float32))
        n_frames = 1 + (shape[1] - 400) // 160
        ours = LogMelSpectrogram(n_frames=n_frames, n_jobs=options.n_jobs, detector=None)
        looking = clone(ours).set_params(detector=AsIs())
        ours.transform(waveforms[:1])
        by_librosa(waveforms[:1])
        pairs = np.array(
            [
                (
                    seconds(lambda: ours.transform(waveforms), clock),  # noqa: B023
                    seconds(lambda: by_librosa(waveforms), clock),  # noqa: B023
                    seconds(lambda: looking.transform(waveforms), clock),  # noqa: B023
                )
                for _ in range(options.repeats)
            ]
        )
        ratios = pairs[:, 1] / pairs[:, 0]
        mine, theirs, with_detector = n_utterances * duration / 60 / np.median(pairs, axis=0)
        print(
            f"{n_utterances} x {duration:g} s: {mine:.0f} hours of speech a minute, librosa "
            f"{theirs:.0f}; {np.median(ratios):.1f} times as fast (median of {len(ratios)} pairs, "
            f"{ratios.min():.1f} to {ratios.max():.1f}); looking for speech "
            f"{with_detector:.0f} hours",
            flush=True,
        )
    read_two_hours()


if __name__ == "__main__":
    main()
