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
    SoftmaxEmbedder,
    UniversalBackgroundModel,
)
from skdistort.displays import DetDisplay
from skdistort.metrics import bayes_threshold, bootstrap_interval, equal_error_rate, min_dcf

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
spectrograms = LogMelSpectrogram(n_mels=40, n_frames=94, cmvn=False)
X, usable = spectrograms.transform_usable(waveforms)  # what has no speech would be left out
speakers = speakers[usable]
seen, test = speakers < 40, speakers >= 40

# %%
# Train: i-vectors, networks that choose their training pairs by them, networks that see labels
# ---------------------------------------------------------------------------------------------
# Clients and impostors come from one database here. Paper B takes impostors from a second one; from
# that, the double branch learns to tell the databases apart rather than the speakers
# (:doc:`what was measured </measurements_speakers>`).
ubm = UniversalBackgroundModel(32)
space = make_pipeline(CepstralCoefficients(13), IVectorExtractor(30, ubm=ubm, random_state=0))
network = {"filters": (8, 16), "epochs": 6, "learning_rate": 5e-3, "random_state": 0}
verifiers = {
    mode: SiameseVerifier(mode=mode, selection_space=space, n_neighbors=5, **network).fit(X[seen])
    for mode in ("double", "triple")
}
for loss, name in (("softmax", "softmax (labels)"), ("am_softmax", "AM-softmax (labels)")):
    verifiers[name] = SoftmaxEmbedder(loss=loss, **network).fit(X[seen], speakers[seen])

# %%
# Score all pairs of test utterances
# ----------------------------------
left, right = np.triu_indices(np.sum(test), 1)
identities = speakers[test]
genuine = identities[left] == identities[right]
scores = {name: v.score_trials(X[test], left, right) for name, v in verifiers.items()}
ivectors = space.fit(X[seen]).transform(X)
centred = ivectors - ivectors[seen].mean(axis=0)
unit = (centred / np.linalg.norm(centred, axis=1, keepdims=True))[test]
scores["i-vector + cosine"] = np.sum(unit[left] * unit[right], axis=1)
plda = PLDA().fit(ivectors[seen], speakers[seen])
scores["i-vector + PLDA (labels)"] = plda.pair_score(ivectors[test][left], ivectors[test][right])
columns = np.column_stack([scores["triple"], scores["i-vector + cosine"]])
scores["triple + i-vector"] = ScoreFusion().fit(columns).decision_function(columns)

# %%
# The table: error rates, with 95 % intervals over speakers
# ---------------------------------------------------------
subjects = identities[left], identities[right]
intervals = {
    name: bootstrap_interval(equal_error_rate, genuine, values, *subjects, random_state=0)
    for name, values in scores.items()
}
print(f"{'system':26} {'EER':>6} {'95 % interval':>15} {'minDCF':>7}")
for name, (eer, low, high, _) in intervals.items():
    cost = min_dcf(genuine, scores[name])[0]
    print(f"{name:26} {eer:6.1%} {low:6.1%} to {high:5.1%} {cost:7.3f}")

# %%
# The same as a picture, and the trade-off at every threshold
# -----------------------------------------------------------
figure, (table, ax) = plt.subplots(1, 2, figsize=(10, 5), layout="constrained")
figure.suptitle("Speaker verification: equal error rates with intervals, and DET curves")
for row, (name, (eer, low, high, _)) in enumerate(intervals.items()):
    table.errorbar(eer, row, xerr=[[eer - low], [high - eer]], fmt="o", capsize=3)
    DetDisplay.from_predictions(genuine, scores[name], name=name, ax=ax)
table.set(yticks=range(len(intervals)), yticklabels=intervals, xlabel="equal error rate")
table.invert_yaxis()

# %%
# A calibrated decision
# ---------------------
# As in :doc:`the guide's recipe </guide/speakers>`: half of the test speakers say where to accept,
# the others enrol by three utterances each, and the rest of theirs are probes, of themselves and of
# one another.
turns = np.concatenate([np.arange(n) for n in np.bincount(speakers)])
held_out, users = test & (speakers < 50), speakers >= 50
enrolled, probes = users & (turns < 3), users & (turns >= 3)
plda.calibrate_threshold(ivectors[held_out], speakers[held_out], strategy="fmr", target_fmr=0.05)
decisions = {}
for name, models, threshold in (
    ("one, where 5 % of strangers pass", users & (turns == 0), plda.threshold_),
    ("three, at the same threshold", enrolled, plda.threshold_),
    ("three, at even odds", enrolled, bayes_threshold(p_target=0.5)),
):
    ratios = plda.score_models(ivectors[models], speakers[models], ivectors[probes])
    decisions[name] = ratios >= threshold
own = np.unique(speakers[users])[:, None] == speakers[probes]
print(f"{'utterances to enrol by':34} {'accepted':>8} {'strangers':>9}")
for name, accepted in decisions.items():
    print(f"{name:34} {accepted[own].mean():8.1%} {accepted[~own].mean():9.2%}")
