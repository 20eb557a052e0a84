"""
Speaker verification without labels
===================================

Clients and impostors are chosen by nearest neighbours of i-vectors, and a Siamese network learns
from them on spectrograms. Voices are synthetic here: a buzz with a pitch, through the resonances of
a vocal tract, both of which belong to a speaker, while vowels change from syllable to syllable.
"""

# %%
# Voices
# ------
import matplotlib.pyplot as plt
import numpy as np
from scipy.signal import lfilter
from sklearn.pipeline import make_pipeline

from skdistort import (
    PLDA,
    CepstralCoefficients,
    IVectorExtractor,
    LogMelSpectrogram,
    ScoreFusion,
    SiameseVerifier,
    UniversalBackgroundModel,
)
from skdistort.displays import DetDisplay
from skdistort.metrics import bootstrap_interval, equal_error_rate, min_dcf

RATE = 16000
VOWELS = np.array([[730, 1090, 2440], [270, 2290, 3010], [300, 870, 2240], [530, 1840, 2480]])


def speak(rng, pitch, tract_length, n_syllables=12):
    """Synthesise some syllables of a voice."""
    syllables = []
    for formants in VOWELS[rng.randint(len(VOWELS), size=n_syllables)]:
        time = np.arange(int(0.08 * RATE)) / RATE
        phase = np.cumsum(pitch * (1 + 0.1 * rng.randn()) * (1 - 0.5 * time)) / RATE
        sound = np.diff(np.floor(phase), prepend=0) + 0.02 * rng.randn(len(time))
        for frequency in formants * (1 + 0.02 * rng.randn(3)) / tract_length:
            radius, angle = np.exp(-np.pi * 90 / RATE), 2 * np.pi * frequency / RATE
            sound = lfilter([1 - radius], [1, -2 * radius * np.cos(angle), radius**2], sound)
        syllables.append(sound * np.hanning(len(time)))
    sound = np.concatenate(syllables)
    return sound / np.abs(sound).max() + 0.01 * rng.randn(len(sound))


rng = np.random.RandomState(0)
speakers = np.repeat(np.arange(60), 12)
voices = np.column_stack([rng.uniform(80, 250, 60), rng.uniform(0.8, 1.2, 60)])
waveforms = [speak(rng, *voices[speaker]) for speaker in speakers]
X = LogMelSpectrogram(n_mels=40, n_frames=94, cmvn=False).fit_transform(waveforms)
database, others, test = speakers < 20, (speakers >= 20) & (speakers < 40), speakers >= 40

# %%
# Train: i-vectors, and two networks that choose their training pairs by them
# ----------------------------------------------------------------------------
# Speakers of the second database are not in the first, so that its nearest vectors are impostors.
ubm = UniversalBackgroundModel(32)
space = make_pipeline(CepstralCoefficients(13), IVectorExtractor(30, ubm=ubm, random_state=0))
network = {"filters": (8, 16), "epochs": 10, "learning_rate": 3e-3, "n_neighbors": 5}
verifiers = {
    mode: SiameseVerifier(mode=mode, selection_space=space, random_state=0, **network).fit(
        X[database], impostor_database=X[others]
    )
    for mode in ("double", "triple")
}

# %%
# Score all pairs of test utterances
# ----------------------------------
left, right = np.triu_indices(np.sum(test), 1)
identities = speakers[test]
genuine = identities[left] == identities[right]
scores = {mode: v.score_trials(X[test], left, right) for mode, v in verifiers.items()}
seen = database | others
ivectors = space.fit(X[seen]).transform(X)
centred = ivectors - ivectors[seen].mean(axis=0)
unit = (centred / np.linalg.norm(centred, axis=1, keepdims=True))[test]
scores["i-vector + cosine"] = np.sum(unit[left] * unit[right], axis=1)
plda = PLDA().fit(ivectors[seen], speakers[seen])
scores["i-vector + PLDA (labels)"] = plda.pair_score(ivectors[test][left], ivectors[test][right])
columns = np.column_stack([scores["triple"], scores["i-vector + cosine"]])
scores["triple + i-vector"] = ScoreFusion().fit(columns).decision_function(columns)

# %%
# Error rates, with 95 % intervals over speakers
# ----------------------------------------------
for name, values in scores.items():
    interval = bootstrap_interval(
        equal_error_rate, genuine, values, identities[left], identities[right], random_state=0
    )
    print(
        f"{name:26} EER {interval.estimate:6.1%} ({interval.low:.1%} to {interval.high:.1%}), "
        f"minDCF {min_dcf(genuine, values)[0]:.3f}"
    )

# %%
# The trade-off at every threshold
# --------------------------------
figure, ax = plt.subplots(figsize=(5, 5))
for name, values in scores.items():
    DetDisplay.from_predictions(genuine, values, name=name, ax=ax)
figure.tight_layout()
