"""
DET curves: what templates cost
===============================

A detection error tradeoff curve has false matches on one axis, false non-matches on the other, and
a point for every threshold: lower is better. Probes are always plain images; what differs is what
is enrolled.
"""

# %%
# Train one embedder and both generators
# --------------------------------------
import matplotlib.pyplot as plt
import numpy as np
from sklearn.frozen import FrozenEstimator

from skdistort import DistortionGenerator, TripletEmbedder
from skdistort.datasets import load_images
from skdistort.displays import DetDisplay
from skdistort.metrics import pair_scores, verification_report
from skdistort.template_baselines import IoMHashing, hamming_similarity

X_train, y_train, X_test, y_test = load_images("digits")
embedder = FrozenEstimator(TripletEmbedder(epochs=6, random_state=0).fit(X_train, y_train))
probes = embedder.transform(X_test)
comparisons = {"plain images": pair_scores(probes, y_test)}
for architecture in ("unet", "bottleneck"):
    generator = DistortionGenerator(
        embedder, architecture=architecture, epochs=8, pixel_range=(0, 16), random_state=0
    ).fit(X_train)
    enrolled = generator.embed(generator.transform(X_test))
    comparisons[f"templates, {architecture}"] = pair_scores(
        probes, y_test, enrolled, y_test, exclude_same_index=True
    )

# %%
# A keyed hash of the embedding, for comparison
# ---------------------------------------------
# Everyone has the same key here, which is how well the hash does once keys are stolen.
hashes = IoMHashing(key=b"stolen").fit_transform(probes)
left, right = np.triu_indices(len(hashes), 1)
similarity = hamming_similarity(hashes, hashes)[left, right]
comparisons["Index-of-Max hash"] = y_test[left] == y_test[right], similarity

# %%
# The curves
# ----------
figure, ax = plt.subplots(figsize=(5.5, 5), layout="constrained")
figure.suptitle("DET curves of plain, distorted and hashed enrolment")
for name, scores in comparisons.items():
    DetDisplay.from_predictions(*scores, name=name, ax=ax)
print(verification_report(comparisons))
