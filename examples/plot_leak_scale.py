"""
Leak scale: what an attacker reconstructs
=========================================

An attacker who has some images with their templates learns to undo the distortion and applies it to
the templates of others. The attack here is a ridge regression, which takes no time and no skill;
:func:`skdistort.attacks.protection_report` runs stronger ones. Where it does no better than a blind
guess, it has found nothing.
"""

# %%
# Templates of every kind
# -----------------------
import matplotlib.pyplot as plt
import numpy as np
from sklearn.frozen import FrozenEstimator

from skdistort import DistortionGenerator, TripletEmbedder
from skdistort.datasets import load_images
from skdistort.metrics import dssim, ridge_inversion, trivial_templates
from skdistort.template_baselines import GaussianBlur, Pixelation

X_train, y_train, X_test, y_test = load_images("digits")
embedder = FrozenEstimator(TripletEmbedder(epochs=6, random_state=0).fit(X_train, y_train))
training = {"epochs": 8, "pixel_range": (0, 16), "random_state": 0}
unet = DistortionGenerator(embedder, architecture="unet", **training).fit(X_train)
bottleneck = DistortionGenerator(embedder, **training).fit(X_train)
images = X_test[..., None] / 16
trivial = trivial_templates(images, random_state=0)
templates = {
    "U-Net": unet.transform(X_test),
    "bottleneck": bottleneck.transform(X_test),
    "the embedding F(X) itself": embedder.transform(X_test),
    "blur": GaussianBlur().fit_transform(X_test),
    "pixelation": Pixelation().fit_transform(X_test),
    "negative, 1 - x": trivial["1-x"],
    "noise": trivial["noise"],
}

# %%
# Attack: half of the pairs are known, the other half is reconstructed
# --------------------------------------------------------------------
known, unknown = slice(0, 300), slice(300, None)
found = {
    name: ridge_inversion(stack[known], images[known], stack[unknown])
    for name, stack in templates.items()
}
found["blind guess"] = np.broadcast_to(np.median(images[known], axis=0), images[unknown].shape)
ssim = {name: np.mean(1 - 2 * dssim(images[unknown], stack)) for name, stack in found.items()}
ssim = dict(sorted(ssim.items(), key=lambda item: item[1]))
for name, value in ssim.items():
    print(f"{name:26} {value:.2f}")

# %%
# The scale
# ---------
figure, ax = plt.subplots(figsize=(7, 3.6), layout="constrained")
figure.suptitle("Leak scale: SSIM of held-out images and what is reconstructed of them")
ax.hlines(range(len(ssim)), 0, list(ssim.values()), color="tab:gray")
ax.plot(list(ssim.values()), range(len(ssim)), "o")
ax.axvline(ssim["blind guess"], linestyle=":", color="tab:red")
ax.set(yticks=range(len(ssim)), yticklabels=ssim, xlim=(0, 1), xlabel="0 nothing, 1 the image")

# %%
# What the attacker sees
# ----------------------
figure, axes = plt.subplots(len(ssim) + 1, 10, figsize=(8, 6.5), layout="constrained")
figure.suptitle("Images, and what is reconstructed from their templates")
for line, name in zip(axes, ["image", *ssim], strict=True):
    stack = images[unknown] if name == "image" else found[name]
    for axis, image in zip(line, stack[:10], strict=True):
        axis.imshow(image.squeeze(), cmap="gray", vmin=0, vmax=1)
        axis.set(xticks=[], yticks=[])
    line[0].set_ylabel(name, rotation=0, ha="right", va="center")
