"""
Embeddings of images and of their templates
===========================================

What F(X) and F(G(X)) look like in the first three principal components. The templates keep the
clusters, which is what verification needs, and what tells an attacker the class.
"""

# %%
# Train, and embed both
# ---------------------
import matplotlib.pyplot as plt
from sklearn.decomposition import PCA
from sklearn.frozen import FrozenEstimator

from skdistort import DistortionGenerator, TripletEmbedder
from skdistort.datasets import load_images

X_train, y_train, X_test, y_test = load_images("digits")
embedder = TripletEmbedder(epochs=6, random_state=0).fit(X_train, y_train)
generator = DistortionGenerator(
    FrozenEstimator(embedder), epochs=8, pixel_range=(0, 16), random_state=0
).fit(X_train)
compared = generator.compare(X_test)
pca = PCA(3).fit(embedder.transform(X_train))
print(f"variance in three components: {pca.explained_variance_ratio_.sum():.0%}")

# %%
# The same axes for both
# ----------------------
figure = plt.figure(figsize=(9, 4.8), layout="constrained")
figure.suptitle("Embeddings of images and of their templates, three principal components")
panels = {"F(X), images": compared.embeddings, "F(G(X)), templates": compared.template_embeddings}
for place, (title, embeddings) in enumerate(panels.items(), 1):
    axis = figure.add_subplot(1, 2, place, projection="3d")
    points = axis.scatter(*pca.transform(embeddings).T, c=y_test, cmap="tab10", s=8)
    axis.set(title=title, xlim=(-1, 1), ylim=(-1, 1), zlim=(-1, 1))
    for side in (axis.xaxis, axis.yaxis, axis.zaxis):
        side.set_ticklabels([])
figure.legend(*points.legend_elements(), title="digit", loc="outside right center")

# %%
# How far a template strays
# -------------------------
# Squared distances between 0 and 4; the margin alpha is what training lets pass.
strayed = ((compared.embeddings - compared.template_embeddings) ** 2).sum(axis=1)
print(f"median of ||F(G(X)) - F(X)||^2: {sorted(strayed)[len(strayed) // 2]:.3f}")
print(f"share beyond alpha = {generator.alpha}: {(strayed > generator.alpha).mean():.1%}")
