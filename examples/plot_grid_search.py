"""
Grid search over margins inside a pipeline
==========================================

The training loss depends on its own weights, so it cannot rank them. ``score`` does not: it is the
harmonic mean of how well a distorted template identifies, of how little it looks like the image,
and of how badly a fast linear attack reconstructs the image from it. Its parts are scorers of their
own.
"""

# %%
# A pipeline of a scaler and a generator
# --------------------------------------
# The embedder is given unfitted, so that every candidate trains its own and no test image leaks.
import matplotlib.pyplot as plt
from sklearn.model_selection import GridSearchCV, ShuffleSplit
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MaxAbsScaler

from skdistort import DistortionGenerator, TripletEmbedder
from skdistort.datasets import load_images
from skdistort.scoring import (
    dissimilarity_scorer,
    distortion_score,
    identifiability_scorer,
    inversion_resistance_scorer,
)

X_train, y_train, X_test, y_test = load_images("digits")
X_train, y_train = X_train[:600].reshape(600, -1), y_train[:600]
X_test = X_test.reshape(len(X_test), -1)
generator = DistortionGenerator(
    TripletEmbedder(filters=(16, 32), epochs=5, random_state=0),
    filters=(8, 16),
    epochs=10,
    random_state=0,
)
search = GridSearchCV(
    make_pipeline(MaxAbsScaler(), generator),
    {
        "distortiongenerator__alpha": [0.1, 0.4],
        "distortiongenerator__embedder__margin": [0.2, 1.0],
    },
    scoring={
        "score": distortion_score,
        "identifiability": identifiability_scorer,
        "dissimilarity": dissimilarity_scorer,
        "inversion_resistance": inversion_resistance_scorer,
    },
    refit="score",
    cv=ShuffleSplit(n_splits=1, test_size=0.5, random_state=0),
).fit(X_train, y_train)

# %%
# What each candidate keeps and hides
# -----------------------------------
# On the held-out half; higher is better in every column.
columns = ["score", "identifiability", "dissimilarity", "inversion_resistance"]
print("alpha  margin  " + "  ".join(columns))
for i, params in enumerate(search.cv_results_["params"]):
    means = [search.cv_results_[f"mean_test_{name}"][i] for name in columns]
    margins = "{:5.1f}  {:6.1f}  ".format(*params.values())
    print(margins + "  ".join(f"{m:{len(n)}.3f}" for m, n in zip(means, columns, strict=True)))

# %%
# The same as a picture
# ---------------------
# Candidates towards the upper right keep identity and hide the image; the score prefers balance.
figure, ax = plt.subplots(figsize=(5, 4), layout="constrained")
figure.suptitle("Candidates of the search: what they keep and what they hide")
results = search.cv_results_
kept, hidden = (results[f"mean_test_{name}"] for name in ("identifiability", "dissimilarity"))
points = ax.scatter(hidden, kept, c=results["mean_test_score"])
for x, y, params in zip(hidden, kept, results["params"], strict=True):
    ax.annotate("alpha {}, margin {}".format(*params.values()), (x, y), fontsize="small")
ax.margins(x=0.3)
ax.set(xlabel="dissimilarity", ylabel="identifiability")
figure.colorbar(points, label="score")

# %%
# The best one on images that no candidate saw
# --------------------------------------------
print(f"{search.best_params_}: test score {search.score(X_test, y_test):.3f}")
