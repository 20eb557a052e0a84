"""What templates protect, on MNIST or digits: every attack against each way of making them.

The subjects are the ten digits, so that the report warns that the attacker knows them. F and the
generators learn from the first training images, the held-out embedder F' from others, the attacker
from others again; the victims are test images, and every attack sees them for the first time. With
``--disjoint`` the attacker has images of the digits 5 to 9 only and the victims are 0 to 4.

    python benchmarks/protection.py --data FILE.npz

reports each configuration of ``CONFIGURATIONS``, or those that ``--only`` names, and draws its leak
scale. The file has the layout of ``keras.datasets.mnist``; without ``--data`` Keras fetches it, and
``--data digits`` takes scikit-learn's 8x8 digits, in a few minutes:

    python benchmarks/protection.py --data digits --only "keyed, F as it is" unet
"""

import argparse
import time
from functools import partial

import numpy as np
from sklearn.frozen import FrozenEstimator
from sklearn.metrics import euclidean_distances
from sklearn.metrics.pairwise import cosine_similarity
from sklearn.random_projection import GaussianRandomProjection

from skdistort import DistortionGenerator, TripletEmbedder
from skdistort.attacks import protection_report
from skdistort.datasets import load_images
from skdistort.metrics import distortion_report, equal_error_rate, pair_scores, unlinkability
from skdistort.template_baselines import (
    GaussianBlur,
    Pixelation,
    biohash,
    hamming_similarity,
    iom_hash,
    mlp_hash,
    polyprotect,
)
from skdistort.templates import storage_error_rates

# The first is paper A's. A keyed generator has to reach every direction of the embedding, which
# takes an embedder with more hidden units than components, and training of both together; many
# components keep a wrong key's directions apart.
CONFIGURATIONS = {
    "unet": {"architecture": "unet"},
    "unet, adversary": {"architecture": "unet", "adversary_weight": 1.0},
    "unet, F learns": {"architecture": "unet", "train_embedder": True},
    "bottleneck": {"architecture": "bottleneck"},
    "bottleneck, F learns": {"architecture": "bottleneck", "train_embedder": True},
    # Refinement reaches what G does not, under the F that there is.
    "keyed, F as it is": {"architecture": "bottleneck", "key": 1},
    "keyed": {
        "architecture": "bottleneck",
        "key": 1,
        "train_embedder": True,
        "alpha": 0.05,
        "learning_rate": 3e-3,
    },
}
WIDE = {"n_components": 128, "hidden_units": 512}
# How F is made for a configuration; for the others as by default.
EMBEDDERS = {"keyed": WIDE, "keyed, F as it is": {"n_components": 32}}


def fit_embedders(X, y, options, **params):
    """Train F on the first images, and F' on as many others."""
    n = options.images
    return [
        TripletEmbedder(epochs=options.embedder_epochs, random_state=seed, **params).fit(
            X[start : start + n], y[start : start + n]
        )
        for seed, start in ((options.seed, 0), (options.seed + 1, n))
    ]


def wrong_keys(generator, X, y, n_keys=20):
    """Find how many genuine probes pass under a wrong key, at the threshold of the EER."""
    enrolled = generator.embed(generator.transform(X))
    pairs = pair_scores(generator.embed_probe(X), y, enrolled, y, exclude_same_index=True)
    threshold = equal_error_rate(*pairs)[1]
    passed = []
    for key in range(1000, 1000 + n_keys):
        probes = generator.embed_probe(X, keys=key)
        genuine, scores = pair_scores(probes, y, enrolled, y, exclude_same_index=True)
        passed.append(np.mean(scores[genuine] >= threshold))
    return passed


def hashed(scheme, Z, keys):
    """Hash each embedding under its key."""
    hashes = [scheme(Z[keys == key], int(key)) for key in np.unique(keys)]
    order = np.argsort(np.concatenate([np.flatnonzero(keys == key) for key in np.unique(keys)]))
    return np.concatenate(hashes)[order]


def projected(Z, key):
    """Project embeddings at random, to as many dimensions."""
    projection = GaussianRandomProjection(Z.shape[1], random_state=key).fit(Z)
    return projection.transform(Z)


def compare_hashes(Z, y):
    """Print error rates and linkability of what protects embeddings elsewhere."""
    above = np.triu_indices(len(Z), 1)
    schemes = {
        "BioHashing": (biohash, hamming_similarity),
        "MLP-Hash": (mlp_hash, hamming_similarity),
        "IoM hashing": (iom_hash, hamming_similarity),
        "PolyProtect": (polyprotect, cosine_similarity),
        "PolyProtect, overlap 0": (partial(polyprotect, overlap=0), cosine_similarity),
        "random projection": (projected, lambda a, b: -euclidean_distances(a, b)),
    }
    for name, (scheme, similarity) in schemes.items():
        rates = []
        # Each subject's own key, then one that an impostor has stolen.
        for keys in (y.astype(int) + 1, np.zeros(len(y), int)):
            found = hashed(scheme, Z, keys)
            scores = similarity(found, found)[above]
            rates.append(equal_error_rate((y[:, None] == y)[above], scores)[0])
        half = len(Z) // 2
        left, right = (scheme(Z[:half], key) for key in (101, 102))
        cross = similarity(left, right)
        others = cross[~(y[:half, None] == y[:half])]
        mated = np.diagonal(cross)
        others = np.random.default_rng(0).choice(others, len(mated), replace=False)
        linked = unlinkability(
            np.arange(2 * len(mated)) < len(mated),
            np.concatenate([mated, others]),
            random_state=0,
        )
        print(
            f"{name}: EER {rates[0]:.2%} under own keys, {rates[1]:.2%} under a stolen one, D_sys "
            f"corrected {linked.corrected:.3f}"
        )


def compare_filters(embedder, X, y, pixel_range, seed):
    """Print what blurred and pixelated images identify and hide."""
    plain = embedder.transform(X)
    # Of MNIST's 28 pixels they are 2, 4, 4 and 7.
    sigmas, blocks = ((X.shape[1] / 14, X.shape[1] / 7), (X.shape[1] // 7 or 1, X.shape[1] // 4))
    for name, image_filter in (
        *((f"blur, sigma {sigma:.2g}", GaussianBlur(sigma)) for sigma in sigmas),
        *((f"pixelation, {size}", Pixelation(size)) for size in blocks),
    ):
        filtered = image_filter.fit_transform(X)
        Z = embedder.transform(filtered)
        rate = equal_error_rate(*pair_scores(plain, y, Z, y, exclude_same_index=True))[0]
        hidden = distortion_report(X, filtered, pixel_range=pixel_range, random_state=seed).rows[0]
        print(
            f"{name}: EER plain against filtered {rate:.3%}, |corr| {hidden['abs_pearson']:.3f}, "
            f"ridge inversion SSIM {hidden['inversion_ssim']:.3f}"
        )


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", default="mnist", help="mnist, digits or FILE.npz")
    parser.add_argument("--only", nargs="+", choices=list(CONFIGURATIONS))
    parser.add_argument("--images", type=int, default=20000, help="to train F, F' and G on")
    parser.add_argument("--attack-images", type=int, default=6000)
    parser.add_argument("--victims", type=int, default=2000)
    parser.add_argument("--disjoint", action="store_true", help="attack with other digits")
    parser.add_argument("--embedder-epochs", type=int, default=6)
    parser.add_argument("--epochs", type=int, default=6, help="of generators without key")
    parser.add_argument("--keyed-epochs", type=int, default=20)
    parser.add_argument("--attack-epochs", type=int, default=6)
    parser.add_argument("--pi-emb", type=float, default=0.7)
    parser.add_argument("--keyed-pi-emb", type=float, default=0.99)
    parser.add_argument("--refinement-steps", type=int, default=20)
    parser.add_argument("--gradient-steps", type=int, default=60, help="of attacks through F")
    parser.add_argument("--renewals", type=int, default=5)
    parser.add_argument("--picture", default="protection", help="how names of pictures begin")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    X_train, y_train, X_test, y_test = load_images(options.data)
    pixel_range = (0, float(X_train.max()))
    # F and F' learn from one part each, and the attacker has a third.
    n = options.images = min(options.images, len(X_train) // 3)
    X_attack, y_attack = X_train[2 * n :], y_train[2 * n :]
    if options.disjoint:
        X_attack, y_attack = X_attack[y_attack > 4], y_attack[y_attack > 4]
        X_test, y_test = X_test[y_test < 5], y_test[y_test < 5]
    X_attack, y_attack = X_attack[: options.attack_images], y_attack[: options.attack_images]
    X_test, y_test = X_test[: options.victims], y_test[: options.victims]

    embedders = {}
    for name in options.only or CONFIGURATIONS:
        params = CONFIGURATIONS[name]
        keyed = params.get("key") is not None
        shape = EMBEDDERS.get(name, {})
        if str(shape) not in embedders:
            embedders[str(shape)] = fit_embedders(X_train, y_train, options, **shape)
        embedder, held_out = embedders[str(shape)]
        if name in ("bottleneck", "keyed, F as it is"):
            print("\n==== what else there is, on the same embeddings and images ====")
            compare_hashes(embedder.transform(X_test), y_test)
            compare_filters(embedder, X_test, y_test, pixel_range, options.seed)
        start = time.perf_counter()
        generator = DistortionGenerator(
            FrozenEstimator(embedder),
            **{
                "pi_emb": options.keyed_pi_emb if keyed else options.pi_emb,
                "epochs": options.keyed_epochs if keyed else options.epochs,
                "pixel_range": pixel_range,
                "refinement_steps": options.refinement_steps,
                "random_state": options.seed,
                **params,
            },
        ).fit(X_train[:n], y_train[:n])
        print(f"\n==== {name} ====\n{generator}\ntrained {time.perf_counter() - start:.0f} s")
        print({part: round(values[-1], 4) for part, values in generator.history_.items()})
        before = equal_error_rate(*pair_scores(embedder.transform(X_test), y_test))[0]
        print(f"EER of plain images under F as it was: {before:.3%}")
        compared = generator.compare(X_test)
        print(distortion_report(compared.images, compared.templates, random_state=options.seed))
        rates = storage_error_rates(generator, X_test, y_test, jpeg_quality=90)
        print(
            f"EER, templates as float {rates.as_float:.3%}, of 8 bits {rates.as_bytes:.3%}, as "
            f"JPEG of quality 90 {rates.as_jpeg:.3%}"
        )
        if keyed:
            passed = wrong_keys(generator, X_test[:1000], y_test[:1000])
            print(
                f"genuine probes that pass under a wrong key at the EER threshold: mean "
                f"{np.mean(passed):.3%}, worst of {len(passed)} keys {np.max(passed):.3%}"
            )
        start = time.perf_counter()
        report = protection_report(
            generator,
            held_out,
            X_test,
            y_test,
            X_attack,
            y_attack,
            epochs=options.attack_epochs,
            n_renewals=options.renewals,
            gradient_steps=options.gradient_steps,
            X_train=X_train[:n][: len(X_test)],
            y_train=y_train[:n][: len(X_test)],
            random_state=options.seed,
        )
        print(f"{report}\nattacked for {time.perf_counter() - start:.0f} s", flush=True)
        figure = report.plot().figure
        figure.savefig(f"{options.picture}-{name.replace(', ', '-').replace(' ', '-')}.png")


if __name__ == "__main__":
    main()
