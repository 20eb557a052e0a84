"""The protection report, on generators whose leaks are known since nothing in them is learned."""

import warnings

import keras
import numpy as np
import pytest
from matplotlib.figure import Figure
from sklearn.decomposition import PCA
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.pipeline import make_pipeline
from support.attacked import (
    HELD_OUT,
    OWN,
    VICTIMS,
    ExactGenerator,
    NegatingGenerator,
    Pixels,
)
from support.frames import WAYS

from skdistort import DistortionGenerator, TripletEmbedder
from skdistort.attacks import (
    ProtectionReport,
    RidgeInversion,
    _sections,
    protection_report,
    refined_carriers,
)
from skdistort.attacks._system import AttackedSystem
from skdistort.exceptions import InputMismatchError, InputMismatchWarning
from skdistort.template_baselines import Pixelation

MATCH_RATES = ["F_fmr_1%", "F_fmr_0.1%", "F'_fmr_1%", "F'_fmr_0.1%"]
JUDGED = [
    *("ssim", "ssim_95%", "mse", "abs_pearson", "F_fmr_1%", "F_fmr_0.1%"),
    *("F'_fmr_1%", "F'_fmr_1%_95%", "F'_fmr_0.1%", "than_guessing"),
]
SHARES = ["eer", "fmr_1%", "fmr_0.1%"]
QUICK = {"n_tries": 20, "n_renewals": 1, "gradient_steps": 2}
ATTACKS = [
    ("negation", "T"),
    ("affine per pixel", "T"),
    ("ridge", "T"),
    ("kernel ridge", "T"),
    ("U-Net", "T"),
    ("kernel ridge", "F(T)"),
    ("decoder", "F(T)"),
]
WHITE_BOX = [
    (f"gradients from {start}", "F(T)") for start in ("the mean image", "another person", "T")
]
INVERSE = ("G as the inverse of F", "F(T)")
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
            **{"multiplicities": (1, 3), "random_state": 0, **QUICK, **options},
        )


@pytest.fixture(scope="module")
def keyless():
    return keyless_report()


@pytest.fixture(scope="module")
def keyed():
    return protection_report(
        ExactGenerator(),
        HELD_OUT,
        *VICTIMS,
        OWN[0],
        multiplicities=(2,),
        n_tries=300,
        n_renewals=2,
        X_train=OWN[0][:200],
        y_train=OWN[1][:200],
        **SMALL,
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
        refinement_steps=1,
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
    assert [(row["attack"], row["sees"]) for row in rows] == [
        *ends[0],
        *ATTACKS,
        *WHITE_BOX,
        *ends[1],
    ]
    assert {row["key"] for row in rows[1:-2]} == {"none"}
    for row in rows:
        assert list(row) == ["attack", "sees", "key", *JUDGED]
        assert row["ssim_95%"][0] <= row["ssim"] <= row["ssim_95%"][1]
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
    assert list(one) == ["templates", "pooling", *JUDGED]
    # What the photos share remains, what they do not goes.
    assert three["F_fmr_1%"] > one["F_fmr_1%"] - 0.1


def test_report_prints_every_section(keyless, keyed):
    text = str(keyless)
    for title in ("Verification", "Inversion", "Replay", "Linkage", "Multiplicity"):
        assert f"\n\n{title}" in f"\n\n{text}"
    for title in ("Templates beside", "Impersonation", "Several templates"):
        assert f"\n\n{title}" in text
    for title in ("Key recovery", "Renewal", "Membership"):
        assert f"\n\n{title}" not in text
        assert f"\n\n{title}" in str(keyed)
    assert max(map(len, text.splitlines())) < 240
    # A term of the standards stands below each title.
    titled = str(keyed).split("\n\n")
    assert len(titled) == 11
    assert all(part.splitlines()[1][0] + part.splitlines()[1][-1] == "[]" for part in titled)
    half = keyed.pairs_to_recover_key(0.5)
    assert f"half of that from {half} known pairs" in str(keyed)


def test_leak_scale(keyed):
    ax = keyed.plot(Figure().subplots())
    names = [", ".join(attack) for attack in (*ATTACKS, INVERSE, *WHITE_BOX)]
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
    empty = [[] for _ in range(7)]
    report = ProtectionReport(*empty, key_recovery=curve, key_known_match_rate=0.5)
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
    np.testing.assert_allclose(system.embed(templates), system.embed_probe(images), atol=0.02)
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


def quick_report(generator, held_out, shape):
    """Report on a trained generator, on few images of some layout."""
    images, own = (
        np.clip(X, *generator.pixel_range_).reshape(-1, *shape)
        for X in (VICTIMS[0][:40], OWN[0][:80])
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_sections, "NetworkInversion", lambda **_: RidgeInversion())
        return protection_report(
            generator,
            held_out,
            images,
            VICTIMS[1][:40],
            own,
            OWN[1][:80],
            multiplicities=(1, 2),
            n_key_pairs=4,
            random_state=0,
            **QUICK,
        )


@pytest.fixture(scope="module")
def plain(trained, held_out_pipeline):
    return quick_report(trained, held_out_pipeline, (16,))


@pytest.mark.parametrize(
    ("shape", "ask"), zip([(16,), (4, 4), (4, 4, 1), (4, 4, 1)], [*WAYS, WAYS[0]], strict=True)
)
def test_data_frames_asked_of_transformers_are_no_concern(
    trained, held_out_pipeline, plain, shape, ask
):
    with ask(trained) as asked:
        assert str(quick_report(asked, held_out_pipeline, shape)) == str(plain)


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
            low + (high - low) * templates.reshape(len(X), -1), in_units, atol=0.51 / 255 * 2
        )
        # As they are stored: 8 bits a pixel.
        np.testing.assert_allclose(templates * 255, np.rint(templates * 255), atol=1e-4)
        rounded = low + (high - low) * templates.reshape(len(X), -1)
        np.testing.assert_allclose(system.embed(templates), trained.embed(rounded), atol=1e-4)
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
        ({"n_tries": 0}, ValueError, "n_tries must be an integer of at least 1, got 0"),
        ({"gradient_steps": 1.5}, ValueError, "gradient_steps must be .* got 1.5"),
        ({"X_train": OWN[0][:4], "y_train": [0, 1]}, ValueError, "inconsistent"),
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


# ---- Who gets in


def test_a_leaked_key_and_template_open_the_reissued_record(keyed):
    rows = rows_of(keyed.impersonation, against="reissued, new key")
    assert [row["attack"] for row in rows] == [
        "G as the inverse of F",
        "gradients through F, from the mean image",
        "gradients through F, from another person",
        "gradients through F, from the template",
    ]
    for row in rows:
        assert row["attacker_has"] == "an old key and template"
        assert row["fmr_1%"] > 0.9
        assert row["than_guessing"] == "better"
    # The stolen template itself, as the row of replay has it, says nothing of that.
    assert row_of(keyed.replay, probe="template", store="reissued, new key")["fmr_1%"] < 0.05


def test_scores_and_searched_keys_open_records(keyed):
    oracle = row_of(keyed.impersonation, attacker_has="scores of verify")
    assert (oracle["tries"], oracle["tries_needed"]) == (18, 18.0)
    assert oracle["fmr_0.1%"] > 0.9
    searched = row_of(keyed.impersonation, attacker_has="the templates")
    assert searched["tries"] == 300
    assert 1 < searched["tries_needed"] < 300
    assert searched["fmr_1%"] > 0.9
    once = row_of(keyed.impersonation, attack="noise")
    assert once["tries"] == once["tries_needed"] == 1
    assert once["fmr_1%"] < 0.1
    for row in keyed.impersonation:
        assert [name for name in row if name in SHARES] == SHARES
        for name in SHARES:
            assert row[f"{name}_95%"][0] <= row[name] <= row[f"{name}_95%"][1]


def test_a_keyless_template_opens_other_records(keyless):
    assert {row["attacker_has"] for row in keyless.impersonation} == {
        "nothing",
        "scores of verify",
        "the template",
    }
    # The template is where F sees what it has to already.
    replayed, moved = (
        row_of(keyless.replay, probe="template", store="template of another image"),
        row_of(keyless.impersonation, attack="gradients through F, from the template"),
    )
    assert moved["fmr_1%"] == pytest.approx(replayed["fmr_1%"], abs=0.02)


def test_more_templates_accept_more_impostors(keyed):
    one, two = keyed.several_templates
    assert [(row["templates"], row["subjects"]) for row in (one, two)] == [(1, 60), (2, 60)]
    assert one["fmr_1%"] == pytest.approx(0.01, abs=0.004)
    assert 1.2 * one["fmr_1%"] < two["fmr_1%"] < 2.2 * one["fmr_1%"]
    assert two["genuine_fmr_1%"] >= one["genuine_fmr_1%"] - 0.01


def test_renewals_are_measured(keyed, keyless):
    assert keyless.renewal is None
    assert [row["renewals"] for row in keyed.renewal] == [0, 1, 2]
    distances = [row["distance"] for row in keyed.renewal]
    # Rounding to 8 bits is all that this generator loses, and it adds up.
    assert 0 < distances[0] < distances[1] < distances[2] < 0.01
    for row in keyed.renewal:
        assert row["enrolled_image_fmr_0.1%"] == 1
        assert row["eer_95%"][0] <= row["eer"] <= row["eer_95%"][1]
    assert keyed.renewal[0]["impostors_fmr_1%"] <= 0.011


def test_baselines_stand_beside_the_generator(keyed):
    names = [row["template"] for row in keyed.baselines]
    carriers = [f"{name}, refined" for name in ("mean image", "another person", "noise")]
    assert names == ["template", "1-x", "constant", "noise", *carriers]
    honest = row_of(keyed.verification, comparison="system, image - template")
    assert keyed.baselines[0]["eer"] == pytest.approx(honest["eer"])
    for row in keyed.baselines[1:4]:
        assert row["eer"] > 0.4
    mean_image = row_of(keyed.baselines, template="mean image, refined")
    assert mean_image["distance"] < 0.1
    assert mean_image["eer"] < 0.02
    assert row_of(keyed.baselines, template="1-x")["ridge_ssim"] > 0.9


def test_what_is_not_learned_has_no_members(keyed, keyless):
    assert keyless.membership is None
    signs = [row["sign"] for row in keyed.membership]
    assert len(signs) == 2
    assert "spread" in signs[1]
    for row in keyed.membership:
        assert (row["members"], row["others"]) == (200, 240)
        assert row["auc_95%"][0] <= row["auc"] <= row["auc_95%"][1]
        assert abs(row["auc"] - 0.5) < 0.2


def test_links_that_are_found(keyed, keyless):
    for row in keyed.linkage:
        assert row["linked_at_1%"] < 0.08
    assert keyless.linkage[0]["linked_at_1%"] > 0.1
    assert keyless.linkage[0]["than_guessing"] == "better"


# ---- What cannot be meant, and too few images


def test_the_report_refuses_victims_as_attackers_and_f_as_held_out():
    images, labels = VICTIMS
    with pytest.raises(InputMismatchError, match="X_attack holds 240 of the 240 images of X"):
        keyless_report(X_attack=images, y_attack=labels)
    for embedder in (NegatingGenerator().embedder_.rebuild(), FOfStub().fit(images)):
        with pytest.raises(InputMismatchError, match="embedder is the generator's own F"):
            protection_report(NegatingGenerator(), embedder, images, labels, OWN[0])
    with pytest.warns(InputMismatchWarning, match="share 60 of the 60 subjects of y, such as 0"):
        keyless_report(y_attack=OWN[1] - 1000, multiplicities=(1,))


class FOfStub(Pixels):
    """The stub's own F as an estimator."""

    def transform(self, X):
        return NegatingGenerator()._embed(np.asarray(X).reshape(len(X), 4, 4, 1))


def test_no_rate_from_fewer_pairs_than_it_needs():
    images, labels = (stack[:40] for stack in VICTIMS)
    report = protection_report(
        NegatingGenerator(),
        HELD_OUT,
        images[::2],
        labels[::2],
        OWN[0][:60],
        multiplicities=(1,),
        filters=(4,),
        epochs=1,
        random_state=0,
        **QUICK,
    )
    # 20 images of 10 people: 180 impostor pairs of images, 360 with templates.
    for row in report.verification:
        assert np.isfinite(row["fnmr_at_fmr_1%"])
        assert np.isnan(row["fnmr_at_fmr_0.1%"])
    for rows in (report.replay, report.impersonation, report.several_templates):
        for row in rows:
            assert np.isnan(row["fmr_0.1%"])
            assert np.isnan(row["fmr_0.1%_95%"]).all()
    assert all(np.isnan(row["F'_fmr_0.1%"]) for row in report.inversion)
    assert all(np.isnan(row["linked_at_1%"]) for row in report.linkage)
    cells = [line.split() for line in str(report).splitlines() if line.startswith("blank image")]
    assert cells[0].count("-") == 2


def test_refined_carriers(trained):
    X = np.clip(VICTIMS[0][:6], *trained.pixel_range_)
    other = np.clip(OWN[0][:20], *trained.pixel_range_)
    found = refined_carriers(trained, X, other, n_steps=30, random_state=0)
    assert list(found) == [
        "mean image, refined",
        "another person, refined",
        "noise, refined",
    ]
    start = refined_carriers(trained, X, other, n_steps=0, random_state=0)
    targets = trained.embed_probe(X)
    for name, templates in found.items():
        assert templates.shape == X.shape
        before, after = (
            np.mean(np.sum((trained.embed(stack) - targets) ** 2, axis=1))
            for stack in (start[name], templates)
        )
        assert after < 0.7 * before
    as_images = refined_carriers(
        trained, X.reshape(6, 4, 4), other.reshape(20, 4, 4), n_steps=0, random_state=0
    )
    assert as_images["noise, refined"].shape == (6, 4, 4)
