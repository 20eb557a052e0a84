"""
Margin sweep: identity against distortion
=========================================

The margin alpha is the squared distance by which a template's embedding may miss that of its
image. A larger one lets the generator distort more, and costs verification errors.
"""

# %%
# One embedder, a generator for each margin
# -----------------------------------------
import matplotlib.pyplot as plt
from sklearn.frozen import FrozenEstimator

from skdistort import DistortionGenerator, TripletEmbedder
from skdistort.datasets import load_images
from skdistort.metrics import mse, trivial_templates
from skdistort.scoring import dissimilarity_scorer, identifiability_scorer

X_train, y_train, X_test, y_test = load_images("digits")
embedder = FrozenEstimator(TripletEmbedder(random_state=0).fit(X_train, y_train))
alphas = [0.05, 0.2, 0.8]
identifiability, dissimilarity, distance = [], [], []
for alpha in alphas:
    generator = DistortionGenerator(embedder, alpha=alpha, random_state=0).fit(X_train)
    compared = generator.compare(X_test)
    identifiability.append(identifiability_scorer(generator, X_test, y_test))
    dissimilarity.append(dissimilarity_scorer(generator, X_test))
    distance.append(mse(compared.images, compared.templates).mean())

# %%
# The sweep, beside what trivial templates reach
# ----------------------------------------------
figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.5), layout="constrained")
figure.suptitle("What the margin alpha trades: identity, likeness and distance")
left.plot(alphas, identifiability, "o-", label="identifiability, 1 - 2 EER")
left.plot(alphas, dissimilarity, "s-", label="dissimilarity, 1 - |correlation|")
left.set(xlabel="alpha", ylim=(0, 1))
left.legend()
right.plot(alphas, distance, "o-", label="template")
for name, template in trivial_templates(compared.images, 0).items():
    level = mse(compared.images, template).mean()
    right.axhline(level, linestyle=":", color="gray")
    right.text(alphas[-1], level, name, ha="right", va="bottom")
right.set(xlabel="alpha", ylabel="MSE of image and template", ylim=(0, 1))
right.legend()
for row in zip(alphas, identifiability, dissimilarity, distance, strict=True):
    print("alpha {:.2f}: identifiability {:.3f}, dissimilarity {:.3f}, MSE {:.3f}".format(*row))
