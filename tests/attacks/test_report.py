"""The protection report, on generators whose leaks are known since nothing in them is learned."""

import warnings

import keras
import numpy as np
import pytest
from matplotlib.figure import Figure
from sklearn.decomposition import PCA
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.pipeline import make_pipeline
from support.attacked import HELD_OUT, OWN, VICTIMS, ExactGenerator, NegatingGenerator
from support.frames import WAYS

from skdistort import DistortionGenerator, TripletEmbedder
from skdistort.attacks import ProtectionReport, RidgeInversion, _sections, protection_report
from skdistort.attacks._system import AttackedSystem
from skdistort.template_baselines import Pixelation

MATCH_RATES = ["F_fmr_1%", "F_fmr_0.1%", "F'_fmr_1%", "F'_fmr_0.1%"]
QUALITY = ["ssim", "mse", "abs_pearson"]
ATTACKS = [
    ("negation", "T"),
    ("affine per pixel", "T"),
    ("ridge", "T"),
    ("kernel ridge", "T"),
    ("U-Net", "T"),
    ("kernel ridge", "F(T)"),
    ("decoder", "F(T)"),
]
LIMITS = [("kernel ridge", "F(X)"), ("decoder", "F(X)")]
SMALL = {"filters": (8,), "epochs": 8, "learning_rate": 0.01, "random_state": 0}


def keyless_report(X=VICTIMS[0], X_attack=OWN[0], y_attack=OWN[1], **options):
    """Report on a keyless generator, with ridge regression for the networks."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_sections, "NetworkInversion", lambda **_: RidgeInversion())
        return protection_report(
            NegatingGenerator(),
            HELD_OUT,
            X,
            VICTIMS[1],
            X_attack,
            y_attack,
            **{"multiplicities": (1, 3), "random_state": 0, **options},
        )


@pytest.fixture(scope="module")
def keyless():
    return keyless_report()


@pytest.fixture(scope="module")
def keyed():
    return protection_report(
        ExactGenerator(), HELD_OUT, *VICTIMS, OWN[0], multiplicities=(2,), **SMALL
    )


@pytest.fixture(scope="module", params=[None, 3])
def trained(request):
    """A real generator, keyless and keyed, on which hardly any training was spent."""
    architecture = "unet" if request.param is None else "bottleneck"
    generator = DistortionGenerator(
        keras.layers.Flatten(),
        architecture=architecture,
        key=request.param,
        image_shape=(4, 4),
        filters=(4,),
        epochs=1,
        random_state=0,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return generator.fit(OWN[0])


def rows_of(rows, **wanted):
    return [row for row in rows if all(row[name] == value for name, value in wanted.items())]


def row_of(rows, **wanted):
    (row,) = rows_of(rows, **wanted)
    return row


def test_every_attack_lies_between_named_ends(keyless):
    rows = keyless.inversion
    ends = [("blind guess", "nothing")], LIMITS
    assert [(row["attack"], row["sees"]) for row in rows] == [*ends[0], *ATTACKS, *ends[1]]
    assert {row["key"] for row in rows[1:-2]} == {"none"}
    for row in rows:
        assert list(row) == ["attack", "sees", "key", *QUALITY, *MATCH_RATES]
        assert min(row[name] for name in MATCH_RATES) >= 0
        assert row["F_fmr_0.1%"] <= row["F_fmr_1%"] <= 1
    assert keyless.blind_ssim == rows[0]["ssim"]
    assert keyless.limit_ssim == max(rows[-2]["ssim"], rows[-1]["ssim"])


def test_a_negative_gives_the_image_away(keyless):
    for attack, sees in ATTACKS[:3]:
        assert row_of(keyless.inversion, attack=attack, sees=sees)["ssim"] > 0.95
    negated = row_of(keyless.inversion, attack="negation")
    for name in ("F", "F'"):
        # As often as other images of the subject: every subject has as many.
        honest = row_of(keyless.verification, comparison=f"{name}, image - image")
        assert negated[f"{name}_fmr_1%"] == pytest.approx(1 - honest["fnmr_at_fmr_1%"], abs=0.01)
    assert row_of(keyless.inversion, attack="U-Net")["ssim"] > keyless.limit_ssim + 0.2
    # F(T) is F(X), of which the limit knows no less.
    for attack, _ in LIMITS:
        found, limit = (
            row_of(keyless.inversion, attack=attack, sees=sees) for sees in ("F(T)", "F(X)")
        )
        assert found["ssim"] == pytest.approx(limit["ssim"], abs=0.05)
    blind = keyless.inversion[0]
    assert blind["F'_fmr_1%"] < 0.1


def test_a_keyless_template_is_a_probe(keyless):
    assert [row["probe"] for row in keyless.replay] == ["image", "template", "template"]
    same = row_of(keyless.replay, store="the same template")
    assert (same["eer"], same["fmr_1%"], same["fmr_0.1%"]) == (1, 1, 1)
    eer = row_of(keyless.verification, comparison="system, image - template")["eer"]
    honest = row_of(keyless.replay, probe="image")
    assert honest["eer"] == pytest.approx(1 - eer, abs=0.02)


def test_keyless_templates_of_a_subject_link(keyless):
    assert [(row["keys"], row["linker"]) for row in keyless.linkage] == [
        ("none", "distance"),
        ("none", "trained"),
    ]
    for row in keyless.linkage:
        assert row["corrected"] > 0.2
        assert row["p_value"] < 0.01
    # Not 1: mated templates are of two images, whose embeddings differ.
    assert keyless.linkage[0]["corrected"] < 0.95
    assert keyless.key_recovery is None
    assert keyless.pairs_to_recover_key(0.5) is None


def test_multiplicity_of_keyless_templates(keyless):
    assert [(row["templates"], row["pooling"]) for row in keyless.multiplicity] == [
        (1, "mean"),
        (3, "mean"),
        (3, "stacked"),
    ]
    one, three, _ = keyless.multiplicity
    assert list(one) == ["templates", "pooling", *QUALITY, *MATCH_RATES]
    # What the photos share remains, what they do not goes.
    assert three["F_fmr_1%"] > one["F_fmr_1%"] - 0.1


def test_report_prints_every_section(keyless, keyed):
    text = str(keyless)
    for title in ("Verification", "Inversion", "Replay", "Linkage", "Multiplicity"):
        assert f"\n\n{title}" in f"\n\n{text}"
    assert "Key recovery" not in text
    assert max(map(len, text.splitlines())) < 140
    half = keyed.pairs_to_recover_key(0.5)
    assert f"half of that from {half} known pairs" in str(keyed)


def test_leak_scale(keyed):
    ax = keyed.plot(Figure().subplots())
    names = [", ".join(attack) for attack in ATTACKS]
    assert [label.get_text() for label in ax.get_yticklabels()] == names
    assert [text.get_text() for text in ax.get_legend().get_texts()] == [
        "key: known",
        "key: unknown",
    ]
    drawn = {
        (round(x, 6), names[int(row)])
        for line in ax.lines[2:]
        for x, row in zip(*line.get_data(), strict=True)
    }
    assert drawn == {
        (round(row["ssim"], 6), f"{row['attack']}, {row['sees']}") for row in keyed.inversion[1:-2]
    }
    assert [line.get_xdata()[0] for line in ax.lines[:2]] == [keyed.blind_ssim, keyed.limit_ssim]
    assert keyed.limit_ssim > keyed.blind_ssim + 0.1


def test_leak_scale_makes_a_figure_of_its_own(keyed):
    import matplotlib.pyplot as plt

    ax = keyed.plot()
    assert ax.figure in map(plt.figure, plt.get_fignums())
    plt.close(ax.figure)


def test_an_unknown_key_hides_the_image_and_a_known_one_does_not(keyed):
    def mse_of(attack, key):
        return row_of(keyed.inversion, attack=attack, key=key)["mse"]

    blind = keyed.inversion[0]["mse"]
    for attack in ("ridge", "decoder"):
        assert mse_of(attack, "known") < 0.5 * blind
        assert mse_of(attack, "unknown") > 0.8 * blind
    matched = {
        key: row_of(keyed.inversion, attack="ridge", key=key)["F'_fmr_1%"]
        for key in ("known", "unknown")
    }
    assert matched["known"] > 0.8
    assert matched["unknown"] < 0.1


def test_a_keyed_template_is_no_probe(keyed):
    assert row_of(keyed.replay, probe="image")["fmr_1%"] > 0.9
    for row in keyed.replay[1:]:
        assert row["fmr_1%"] < 0.05
    assert len(keyed.replay) == 5


def test_keyed_templates_do_not_link(keyed):
    assert [(row["keys"], row["linker"]) for row in keyed.linkage] == [
        ("one per record", "distance"),
        ("one per record", "trained"),
        ("one for all", "distance"),
        ("one for all", "trained"),
    ]
    for row in keyed.linkage:
        assert row["mated"] == 240
        assert row["corrected"] < 0.12


def test_known_pairs_recover_the_key_for_all(keyed):
    rates = {row["n_pairs"]: row["match_rate"] for row in keyed.key_recovery}
    # F(T) is R F(X) exactly, so that m - 1 pairs leave no more than a reflection open.
    assert rates[1] < 0.2
    assert rates[16] == pytest.approx(keyed.key_known_match_rate)
    assert 2 < keyed.pairs_to_recover_key(0.5) <= keyed.pairs_to_recover_key(0.9) <= 16


def test_the_key_is_recovered_by_the_measure_of_what_it_gives():
    curve = [{"n_pairs": n, "match_rate": n / 20} for n in range(1, 11)]
    report = ProtectionReport([], [], [], [], key_recovery=curve, key_known_match_rate=0.5)
    assert [report.pairs_to_recover_key(share) for share in (0.5, 0.9, 1.1)] == [5, 9, None]


def test_many_keys_of_one_image_give_nothing_away(keyed):
    assert [(row["templates"], row["pooling"]) for row in keyed.multiplicity] == [
        (2, "mean"),
        (2, "stacked"),
    ]
    for row in keyed.multiplicity:
        assert row["mse"] > 0.8 * keyed.inversion[0]["mse"]


def test_a_generator_without_a_key_of_its_own_gets_one():
    system = system_of(ExactGenerator(key=None), HELD_OUT)
    assert isinstance(system.key, bytes)
    images = system.images(VICTIMS[0])
    templates = system.templates(images)
    np.testing.assert_allclose(system.embed(templates), system.embed_probe(images), atol=1e-5)
    other = system.templates(images, system.fresh_keys(len(images)))
    assert np.abs(other - templates).max(axis=(1, 2, 3)).min() > 0.05


def test_seeded_and_layouts_agree(keyless):
    images, own = (X.reshape(-1, 4, 4) for X in (VICTIMS[0], OWN[0]))
    assert str(keyless_report(images, own)) == str(keyless)
    assert str(keyless_report(random_state=1)) != str(keyless)


@pytest.fixture(scope="module")
def held_out_pipeline():
    """An F' with a step whose images no data frame can hold."""
    embedder = TripletEmbedder(3, filters=(4,), epochs=1, random_state=0)
    return make_pipeline(Pixelation(2), embedder).fit(OWN[0][:80].reshape(-1, 4, 4, 1), OWN[1][:80])


@pytest.mark.parametrize(
    ("shape", "ask"), zip([(16,), (4, 4), (4, 4, 1), (4, 4, 1)], [*WAYS, WAYS[0]], strict=True)
)
def test_data_frames_asked_of_transformers_are_no_concern(trained, held_out_pipeline, shape, ask):
    images, own = (
        np.clip(X, *trained.pixel_range_).reshape(-1, *shape)
        for X in (VICTIMS[0][:40], OWN[0][:80])
    )

    def report(generator):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(_sections, "NetworkInversion", lambda **_: RidgeInversion())
            return protection_report(
                generator,
                held_out_pipeline,
                images,
                VICTIMS[1][:40],
                own,
                OWN[1][:80],
                multiplicities=(1, 2),
                n_key_pairs=4,
                random_state=0,
            )

    expected = report(trained)
    with ask(trained) as asked:
        assert str(report(asked)) == str(expected)


def test_subjects_that_the_attacker_does_not_know():
    report = keyless_report(y_attack=None)
    assert report.multiplicity is None
    assert [row["linker"] for row in report.linkage] == ["distance"]


def system_of(generator, embedder):
    return AttackedSystem(generator, embedder, VICTIMS[0], np.random.RandomState(0))


@pytest.mark.backend
def test_the_system_is_the_generator(trained):
    X = np.clip(VICTIMS[0], *trained.pixel_range_)
    system = system_of(trained, HELD_OUT)
    images = system.images(X)
    assert system.keyed == (trained.key is not None)
    many = [7, b"other"] * (len(X) // 2) if system.keyed else None
    for keys in (None, many):
        in_units = system.generator.transform(X, keys)
        templates = system.templates(images, keys)
        low, high = trained.pixel_range_
        np.testing.assert_allclose(
            low + (high - low) * templates.reshape(len(X), -1), in_units, atol=1e-4
        )
        np.testing.assert_allclose(system.embed(templates), trained.embed(in_units), atol=1e-4)
        np.testing.assert_allclose(
            system.embed_probe(images, keys), trained.embed_probe(X, keys), atol=1e-4
        )


def test_held_out_embedders_of_every_kind(trained):
    layer = keras.layers.Flatten()
    inputs = keras.layers.Input((4, 4, 1))
    model = keras.Model(inputs, layer(inputs))
    X = np.clip(VICTIMS[0], *trained.pixel_range_)
    for embedder in (layer, model, PCA(16).fit(X)):
        system = system_of(trained, embedder)
        expected = embedder.transform(X) if isinstance(embedder, PCA) else X
        np.testing.assert_allclose(system.embed_held_out(system.images(X)), expected, atol=1e-4)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"embedder": object()}, TypeError, "embedder must be a fitted estimator .* object"),
        ({"embedder": TripletEmbedder()}, NotFittedError, "TripletEmbedder"),
        ({"embedder": keras.layers.Reshape((16, 1))}, ValueError, "one vector an image"),
        ({"generator": DistortionGenerator()}, NotFittedError, "DistortionGenerator"),
        ({"X": VICTIMS[0][:4, :9]}, ValueError, "9 features"),
        ({"y": [0, 0, 1]}, ValueError, "inconsistent"),
        ({"y_attack": [0, 0, 1]}, ValueError, "inconsistent"),
        ({"y": [0, 1, 2, 3]}, ValueError, "one of them with two images; got 4 subjects"),
        ({"y": [0, 0, 0, 0]}, ValueError, "y must hold two subjects"),
        ({"multiplicities": (0,)}, ValueError, r"multiplicities .* got \(0,\)"),
    ],
)
def test_bad_input_is_refused(changes, error, message):
    arguments = {
        "generator": NegatingGenerator(),
        "embedder": HELD_OUT,
        "X": VICTIMS[0][:4],
        "y": [0, 0, 1, 1],
        "X_attack": OWN[0][:4],
        "y_attack": None,
    }
    with pytest.raises(error, match=message):
        protection_report(**{**arguments, **changes})
