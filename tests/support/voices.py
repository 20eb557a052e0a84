"""What tests of speech share: voices that are synthesised."""

import numpy as np
import soundfile
from scipy.signal import lfilter

RATE = 16000
VOWELS = np.array([[730, 1090, 2440], [270, 2290, 3010], [300, 870, 2240], [530, 1840, 2480]])


def speak(rng, pitch, tract_length, n_syllables=12):
    """Synthesise syllables of 80 ms of a voice: a buzz through the resonances of a vocal tract."""
    syllables = []
    for formants in VOWELS[rng.integers(len(VOWELS), size=n_syllables)]:
        time = np.arange(int(0.08 * RATE)) / RATE
        phase = np.cumsum(pitch * (1 + 0.1 * rng.normal()) * (1 - 0.5 * time)) / RATE
        sound = np.diff(np.floor(phase), prepend=0) + 0.02 * rng.normal(size=len(time))
        for frequency in formants * (1 + 0.02 * rng.normal(size=3)) / tract_length:
            radius, angle = np.exp(-np.pi * 90 / RATE), 2 * np.pi * frequency / RATE
            sound = lfilter([1 - radius], [1, -2 * radius * np.cos(angle), radius**2], sound)
        syllables.append(sound * np.hanning(len(time)))
    sound = np.concatenate(syllables)
    return 0.9 * sound / np.abs(sound).max() + 0.01 * rng.normal(size=len(sound))


def write_voices(folder, n_speakers, n_each, seed):
    """Write recordings of speakers, each in a folder of its own; their voices."""
    rng = np.random.default_rng(seed)
    voices = [(rng.uniform(80, 250), rng.uniform(0.8, 1.2)) for _ in range(n_speakers)]
    for i, voice in enumerate(voices):
        (folder / f"speaker {i}").mkdir(parents=True)
        for j in range(n_each):
            soundfile.write(folder / f"speaker {i}" / f"{j}.wav", speak(rng, *voice), RATE)
    return voices
