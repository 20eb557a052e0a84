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
from sklearn.frozen import FrozenEstimator

from skdistort import DistortionGenerator, TripletEmbedder
from skdistort.datasets import load_images
from skdistort.metrics import det_points, distortion_report, pair_scores, verification_report

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
from skdistort.plotting import plot_overview

curves = {name: det_points(*scores)[:2] for name, scores in comparisons.items()}
figure = plot_overview(X_test, templates, curves)
