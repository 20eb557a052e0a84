"""
From photos to a verified person and a revoked one
==================================================

Photos become templates under keys, a person is verified against his, a stolen one is replaced, and
at last the person is taken out.

No photos of people come with scikit-learn, so this page runs on its digits: each digit is a
"person". With photos of your own, in a folder with a subfolder for each person, the first step is

.. code-block:: python

    from skdistort.datasets import ImageFolder
    from skdistort.faces import FaceAligner

    folder = ImageFolder("photos")  # photos/NAME/*.jpg, of any size
    X, y = FaceAligner(n_jobs=-1).fit_transform(folder), folder.y

and the embedder is one that others have trained on many faces,
``skdistort.onnx.load_onnx("arcface.onnx", mean=127.5, std=127.5)``. What follows stays as it is,
but for the people: hold out some of them, whom neither G nor the threshold has seen.
"""

# %%
# Photos
# ------
# Three parts: to learn from, to choose the threshold on, and the people who come to be enrolled.
import secrets
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import train_test_split

from skdistort import DistortionGenerator, TemplateStore, TripletEmbedder

digits = load_digits()
X, X_rest, y, y_rest = train_test_split(
    digits.images, digits.target, test_size=0.5, stratify=digits.target, random_state=0
)
X_held_out, X_people, y_held_out, y_people = train_test_split(
    X_rest, y_rest, test_size=0.2, stratify=y_rest, random_state=0
)

# %%
# An embedder and a generator
# ---------------------------
# F is trained here; a network of others goes in its place. Whether the generator is fitted with a
# key matters, which key it is does not.
embedder = FrozenEstimator(TripletEmbedder(random_state=0).fit(X, y))
generator = DistortionGenerator(embedder, key=0, random_state=0).fit(X)

# %%
# Enrol
# -----
# Each person has a key of his own, which is kept elsewhere than the file. The threshold is chosen
# on held-out images, so that 1 % of the impostors pass.
path = Path(tempfile.mkdtemp()) / "templates.db"
store = TemplateStore(generator, path)
store.calibrate_threshold(
    X_held_out, y_held_out, keys=secrets.token_bytes(16), strategy="fmr", target_fmr=0.01
)
names = ["ada", "bob", "eve"]
first = [int(np.flatnonzero(y_people == digit)[0]) for digit in range(3)]
again = [int(np.flatnonzero(y_people == digit)[1]) for digit in range(3)]
keys = {name: secrets.token_bytes(16) for name in names}
store.enrol(names, X_people[first], keys=[keys[name] for name in names])

# %%
# Verify
# ------
# Another image of the person, under the key that he claims. Somebody else's image, and the right
# image with a wrong key, are refused (but for errors, which the threshold lets be).
probes = X_people[again]
print("ada as ada:", store.verify(["ada"], probes[:1], keys=keys["ada"]))
print("bob as ada:", store.verify(["ada"], probes[1:2], keys=keys["ada"]))
print("ada, another key:", store.verify(["ada"], probes[:1], keys=secrets.token_bytes(16)))

# %%
# A template is stolen
# --------------------
# ``rotate`` makes one under a new key, without the image. The old key opens nothing any more.
old_key, keys["ada"] = keys["ada"], secrets.token_bytes(16)
store.rotate("ada", keys["ada"], key=old_key)
print("ada, new key:", store.verify(["ada"], probes[:1], keys=keys["ada"]))
print("ada, old key:", store.verify(["ada"], probes[:1], keys=old_key))

# %%
# A person leaves
# ---------------
# ``revoke`` erases his templates from the file. Who claims to be him is unknown.
store.revoke("bob")
try:
    store.verify(["bob"], probes[1:2], keys=keys["bob"])
except KeyError as error:
    print("bob:", error)
store.close()

# %%
# What was in the file
# --------------------
# Images, and the templates that were kept of them, each under its key. What attackers make of such
# templates, :func:`skdistort.attacks.protection_report` measures.
templates = generator.transform(X_people[first], keys=[secrets.token_bytes(16) for _ in first])
figure, axes = plt.subplots(2, 3, figsize=(4.5, 3.2), layout="constrained")
for axis, image, name in zip(axes[0], X_people[first], names, strict=True):
    axis.imshow(image, cmap="gray", vmin=0, vmax=16)
    axis.set_title(name)
for axis, image in zip(axes[1], templates, strict=True):
    axis.imshow(image, cmap="gray", vmin=0, vmax=16)
for axis in axes.flat:
    axis.set_axis_off()
