"""What templates protect, on MNIST: every attack against each way of making them.

The subjects are the ten digits. F and the generators learn from the first training images, the
held-out embedder F' from others, the attacker from others again; the victims are test images, and
every attack sees them for the first time. With ``--disjoint`` the attacker has images of the
digits 5 to 9 only and the victims are 0 to 4.

    python benchmarks/protection.py --data FILE.npz

reports each configuration of ``CONFIGURATIONS``, or those that ``--only`` names, and draws its leak
scale. The file has the layout of ``keras.datasets.mnist``; without ``--data`` Keras fetches it.
"""

import argparse
import time

import numpy as np
from sklearn.frozen import FrozenEstimator

from skdistort import DistortionGenerator, TripletEmbedder
from skdistort.attacks import protection_report
from skdistort.datasets import load_images
from skdistort.metrics import distortion_report, equal_error_rate, pair_scores
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
    "keyed": {"architecture": "bottleneck", "key": 1, "train_embedder": True, "alpha": 0.05},
}
WIDE = {"n_components": 128, "hidden_units": 512}


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


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", default="mnist", help="mnist or FILE.npz")
    parser.add_argument("--only", nargs="+", choices=list(CONFIGURATIONS))
    parser.add_argument("--images", type=int, default=20000, help="to train F, F' and G on")
    parser.add_argument("--attack-images", type=int, default=6000)
    parser.add_argument("--victims", type=int, default=2000)
    parser.add_argument("--disjoint", action="store_true", help="attack with other digits")
    parser.add_argument("--embedder-epochs", type=int, default=6)
    parser.add_argument("--epochs", type=int, default=8, help="of generators without key")
    parser.add_argument("--keyed-epochs", type=int, default=25)
    parser.add_argument("--attack-epochs", type=int, default=8)
    parser.add_argument("--pi-emb", type=float, default=0.7)
    parser.add_argument("--keyed-pi-emb", type=float, default=0.95)
    parser.add_argument("--picture", default="protection", help="how names of pictures begin")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    X_train, y_train, X_test, y_test = load_images(options.data)
    n = options.images
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
        if keyed not in embedders:
            shape = WIDE if keyed else {}
            embedders[keyed] = fit_embedders(X_train, y_train, options, **shape)
        embedder, held_out = embedders[keyed]
        start = time.perf_counter()
        generator = DistortionGenerator(
            FrozenEstimator(embedder),
            **{
                "pi_emb": options.keyed_pi_emb if keyed else options.pi_emb,
                "epochs": options.keyed_epochs if keyed else options.epochs,
                "pixel_range": (0, 255),
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
        rates = storage_error_rates(generator, X_test, y_test)
        print(f"EER, templates as float {rates.as_float:.3%}, of 8 bits {rates.as_bytes:.3%}")
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
            random_state=options.seed,
        )
        print(f"{report}\nattacked for {time.perf_counter() - start:.0f} s", flush=True)
        figure = report.plot().figure
        figure.savefig(f"{options.picture}-{name.replace(', ', '-').replace(' ', '-')}.png")


if __name__ == "__main__":
    main()
