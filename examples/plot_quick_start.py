"""
Quick start: distort digits, keep their identity
================================================

An embedder learns to tell ten classes of digits apart; a generator learns images that do not look
like the originals and that the embedder still recognises. Plain test digits are then verified
against the distorted ones.
"""

# %%
# Train on two thirds of scikit-learn's digits
# --------------------------------------------
import matplotlib.pyplot as plt
from sklearn.frozen import FrozenEstimator

from skdistort import DistortionGenerator, TripletEmbedder
from skdistort.datasets import load_images
from skdistort.displays import DetDisplay
from skdistort.metrics import distortion_report, pair_scores, verification_report

X_train, y_train, X_test, y_test = load_images("digits")
embedder = TripletEmbedder(random_state=0).fit(X_train, y_train)
generator = DistortionGenerator(FrozenEstimator(embedder), random_state=0).fit(X_train)
templates = generator.transform(X_test)

# %%
# What a template hides, beside trivial templates
# -----------------------------------------------
# A negative is far from its image and hides nothing: distance alone is no measure.
print(distortion_report(X_test, templates, pixel_range=(0, 16), random_state=0))

# %%
# What a template keeps
# ---------------------
# Probes are plain images; what is enrolled is plain or distorted. No probe meets its own image.
probes, enrolled = generator.embed(X_test), generator.embed(templates)
comparisons = {
    "plain vs plain": pair_scores(probes, y_test),
    "plain vs distorted": pair_scores(probes, y_test, enrolled, y_test, exclude_same_index=True),
}
print(verification_report(comparisons))

# %%
# And the picture
# ---------------
# :func:`skdistort.plotting.plot_overview` draws it in one call, without pyplot.
figure = plt.figure(figsize=(9, 3.6), layout="constrained")
figure.suptitle("Digits above their templates, and DET curves of plain and distorted enrolment")
pictures, curves = figure.subfigures(1, 2, width_ratios=(5, 4))
for row, stack in zip(pictures.subplots(2, 8), (X_test, templates), strict=True):
    for axis, image in zip(row, stack[:8], strict=True):
        axis.imshow(image, cmap="gray", vmin=0, vmax=16)
        axis.set_axis_off()
ax = curves.subplots()
for name, scores in comparisons.items():
    DetDisplay.from_predictions(*scores, name=name, ax=ax)
