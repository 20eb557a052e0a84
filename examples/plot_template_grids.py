"""
Originals and templates, side by side
=====================================

What is enrolled is what the lower rows show. A U-Net sees the image that it distorts, a bottleneck
sees nothing but its embedding; with a key, the same embedding gives another template for each key.
"""

# %%
# One embedder, three generators
# ------------------------------
import matplotlib.pyplot as plt
import numpy as np
from sklearn.frozen import FrozenEstimator

from skdistort import DistortionGenerator, TripletEmbedder
from skdistort.datasets import load_images
from skdistort.metrics import abs_pearson

X_train, y_train, X_test, y_test = load_images("digits")
embedder = FrozenEstimator(TripletEmbedder(epochs=6, random_state=0).fit(X_train, y_train))
training = {"epochs": 8, "pixel_range": (0, 16), "random_state": 0}
unet = DistortionGenerator(embedder, architecture="unet", **training).fit(X_train)
bottleneck = DistortionGenerator(embedder, **training).fit(X_train)
keyed = DistortionGenerator(embedder, key=1, **training).fit(X_train)

# %%
# Two images of five classes
# --------------------------
# Templates of one class from the bottleneck are much alike, because the embedder maps a class to
# nearly one place. Another key gives other templates, with no new training.
shown = np.concatenate([np.flatnonzero(y_test == digit)[:2] for digit in range(5)])
rows = {
    "image": X_test,
    "U-Net": unet.transform(X_test),
    "bottleneck": bottleneck.transform(X_test),
    "key 1": keyed.transform(X_test, keys=1),
    "key 2": keyed.transform(X_test, keys=2),
}
figure, axes = plt.subplots(len(rows), len(shown), figsize=(8, 4.4), layout="constrained")
figure.suptitle("Digits, and their templates by three generators")
for line, (name, images) in zip(axes, rows.items(), strict=True):
    for axis, image in zip(line, images[shown], strict=True):
        axis.imshow(image, cmap="gray", vmin=0, vmax=16)
        axis.set(xticks=[], yticks=[])
    line[0].set_ylabel(name, rotation=0, ha="right", va="center")

# %%
# How much a template looks like its image
# ----------------------------------------
# Absolute correlation of the pixels, 1 for the image itself and for its negative.
for name, images in rows.items():
    correlation = abs_pearson(X_test[..., None] / 16, np.asarray(images)[..., None] / 16).mean()
    print(f"{name:10} {correlation:.2f}")
