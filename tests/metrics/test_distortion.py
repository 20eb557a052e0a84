"""Tables of image distances, trivial templates, and what a linear attack brings back."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_digits
from sklearn.linear_model import Ridge
from support.backends import image_pairs

import skdistort.metrics._distortion as tables
import skdistort.metrics._ridge as ridge
from skdistort.metrics import (
    abs_pearson,
    distance_table,
    distortion_report,
    dssim,
    edge_correlation,
    inversion_resistance,
    l1,
    mse,
    pointwise_r2,
    ridge_inversion,
    rmse,
    trivial_templates,
)
from skdistort.metrics._ridge import fit_ridge

pytestmark = pytest.mark.fast

MEASURES = [mse, rmse, l1, dssim, abs_pearson, edge_correlation, pointwise_r2]


def test_trivial_templates():
    X = image_pairs()[0]
    templates = trivial_templates(X, 0)
    np.testing.assert_allclose(templates["1-x"], 1 - X, atol=1e-7)
    assert np.unique(templates["constant"]).tolist() == [0.5]
    assert np.array_equal(templates["noise"], trivial_templates(X, 0)["noise"])
    assert not np.array_equal(templates["noise"], trivial_templates(X, 1)["noise"])
    assert templates["noise"].shape == X.shape
    assert {t.dtype for t in templates.values()} == {np.dtype(np.float32)}
    assert 0 <= templates["noise"].min() < 0.05 < 0.95 < templates["noise"].max() <= 1


@settings(deadline=None)
@given(st.lists(st.integers(0, 3), min_size=1, max_size=15), st.integers(1, 40), st.integers(0, 9))
def test_pairs_are_drawn_without_replacement_from_each_class(labels, max_pairs, seed):
    labels = np.array(labels)
    left, right = tables._same_class_pairs(labels, max_pairs, np.random.RandomState(seed))
    every = {p for p in combinations(range(labels.size), 2) if labels[p[0]] == labels[p[1]]}
    drawn = {tuple(sorted(p)) for p in zip(left.tolist(), right.tolist(), strict=True)}
    assert drawn <= every
    assert len(drawn) == left.size == min(max_pairs, len(every))


def test_pairs_are_drawn_uniformly():
    labels = np.repeat([0, 1], [3, 6])
    rng = np.random.RandomState(0)
    lefts = [tables._same_class_pairs(labels, 6, rng)[0] for _ in range(500)]
    # 3 of the 18 pairs are of class 0.
    assert np.mean(np.concatenate(lefts) < 3) == pytest.approx(3 / 18, abs=0.03)


def digits(n=60):
    X, y = load_digits(return_X_y=True)
    return X[:n], y[:n]


def test_distance_table_equals_averages_by_hand():
    X, y = digits()
    G = 16 - X**2 / 32
    y = np.where(y == 9, 7, y)
    y[0] = 9  # a class of one image
    table = distance_table(X, G, y, max_pairs=10**6, random_state=0)
    X01, G01 = (Z.reshape(-1, 8, 8, 1) / 16 for Z in (X, G))
    rows = {(row["class"], row["pair"]): row for row in table.rows}
    # Nine classes of several images and one of one, "all", and the trivial templates.
    assert len(rows) == len(table.rows) == 9 * 3 + 1 + 3 + 3
    for name in {*y.tolist(), "all"}:
        members = np.flatnonzero((y == name) | (name == "all"))
        pairs = [p for p in combinations(members, 2) if y[p[0]] == y[p[1]]]
        groups = {"real-gen": (X01[members], G01[members])}
        if pairs:
            left, right = np.transpose(pairs)
            groups["real-real"] = X01[left], X01[right]
            groups["gen-gen"] = G01[left], G01[right]
        for pair, (A, B) in groups.items():
            row = rows.pop((name, pair))
            assert row["n_pairs"] == len(A)
            for measure in (mse, rmse, l1, dssim, abs_pearson):
                expected = measure(A, B).mean()
                assert row[measure.__name__] == pytest.approx(expected, abs=1e-6)
    assert {pair for _, pair in rows} == {"real-(1-x)", "real-constant", "real-noise"}
    negative = rows["all", "real-(1-x)"]
    assert negative["mse"] == pytest.approx(mse(X01, 1 - X01).mean(), abs=1e-6)
    assert negative["abs_pearson"] == pytest.approx(1)
    assert rows["all", "real-constant"]["abs_pearson"] == 0
    assert rows["all", "real-noise"]["abs_pearson"] < 0.2
    assert {row["n_pairs"] for row in rows.values()} == {len(X)}


def test_distance_table_is_seeded_and_capped():
    X, y = digits()
    first, again, other = (distance_table(X, X, y, max_pairs=4, random_state=s) for s in (0, 0, 1))
    assert first == again
    assert first != other
    assert {r["n_pairs"] for r in first.rows if r["pair"] in ("real-real", "gen-gen")} == {4}
    for real, generated in zip(first.rows[1::3], first.rows[2::3], strict=False):
        if real["pair"] == "real-real":
            assert {**real, "pair": ""} == {**generated, "pair": ""}


def test_layout_and_scale_do_not_matter():
    X, y = digits()
    G = 16 - X
    images, generated = X.reshape(-1, 8, 8) / 8 - 1, G.reshape(-1, 8, 8) / 8 - 1
    flat = distance_table(X, G, y, random_state=0)
    shaped = distance_table(
        images[..., None], generated[..., None], y, pixel_range=(-1, 1), random_state=0
    )
    for row, same in zip(flat.rows, shaped.rows, strict=True):
        assert row == pytest.approx(same, abs=1e-5)
    wide = distortion_report(X, G, image_shape=(4, 16), random_state=0).rows[0]
    square = distortion_report(X, G, random_state=0).rows[0]
    assert wide["mse"] == square["mse"]
    assert wide["edge_correlation"] == pytest.approx(1)
    assert wide["inversion_ssim"] != square["inversion_ssim"]


def test_tables_read_as_aligned_text():
    X, y = digits()
    lines = str(distance_table(X, X, y, random_state=0)).splitlines()
    assert lines[0].split() == ["class", "pair", "n_pairs", *tables._TABLE_MEASURES]
    assert len({len(line) for line in lines}) == 1
    assert lines[1].split() == ["0", "real-gen", "8", *["0.0000"] * 4, "1.0000"]
    report = distortion_report(X, X, random_state=0)
    *lines, blind = str(report).splitlines()
    assert len({len(line) for line in lines}) == 1
    assert [line.split()[0] for line in lines[1:]] == ["template", "1-x", "constant", "noise"]
    assert blind == f"blind guess: inversion_ssim {report.blind_ssim:.4f}"


@pytest.mark.parametrize("n", [5, 40])
def test_ridge_is_the_same_in_both_forms(n):
    rng = np.random.default_rng(0)
    known, images = rng.normal(2, 1, size=(n, 3, 4, 1)), rng.uniform(size=(n, 2, 2, 2))
    other = rng.normal(2, 1, size=(7, 12))
    regression = fit_ridge(known.astype(np.float32), images, 0.3)
    # The weights of large images would not fit into memory.
    assert hasattr(regression, "coef_") == (n == 40)
    flat = np.float64(np.float32(known)).reshape(n, 12)
    expected = Ridge(alpha=0.3).fit(flat, images.reshape(n, 8)).predict(other)
    np.testing.assert_allclose(regression.predict(other), expected, rtol=1e-7, atol=1e-9)


def test_ridge_inversion_solves_the_normal_equations():
    X, _ = digits(50)
    X = X.reshape(-1, 8, 8, 1) / 16
    T = np.sqrt(X)[:, ::-1]
    found = ridge_inversion(T[:30], X[:30], T[30:], alpha=0.5)
    A, B, C = (Z.reshape(len(Z), -1) for Z in (T[:30], X[:30], T[30:]))
    weights = np.linalg.solve(
        (A - A.mean(0)).T @ (A - A.mean(0)) + 0.5 * np.eye(64), (A - A.mean(0)).T @ (B - B.mean(0))
    )
    expected = np.clip((C - A.mean(0)) @ weights + B.mean(0), 0, 1).reshape(-1, 8, 8, 1)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert found.dtype == np.float32
    assert found.min() == 0


def test_report_tells_what_templates_give_away():
    X, _ = digits(400)
    hidden = X[:, np.random.default_rng(0).permutation(64)]
    rng = np.random.default_rng(1)
    found = {
        name: distortion_report(X, T, random_state=0)
        for name, T in {
            "negative": 16 - X,
            "permuted": hidden,
            "noise": 16 * rng.random(X.shape),
        }.items()
    }
    negative, permuted, noise = (report.rows[0] for report in found.values())
    report = found["negative"]
    assert negative["pointwise_r2"] > 0.9
    assert negative["inversion_ssim"] > 0.9
    assert {k: v for k, v in negative.items() if k != "template"} == pytest.approx(
        {k: v for k, v in report.rows[1].items() if k != "template"}, abs=1e-6
    )
    # Permuted pixels look unlike the image to every distance, and only the attack sees through.
    assert permuted["pointwise_r2"] < 0.4
    assert permuted["abs_pearson"] < 0.4
    assert permuted["inversion_ssim"] > 0.9
    assert noise["inversion_ssim"] < report.blind_ssim + 0.05
    constant = report.rows[2]
    assert constant["abs_pearson"] == constant["edge_correlation"] == constant["pointwise_r2"] == 0

    order = np.random.RandomState(0).permutation(400)
    X01 = X.reshape(-1, 8, 8, 1) / 16
    known, held_out = X01[order[:200]], X01[order[200:]]
    median = np.broadcast_to(np.median(known, axis=0), held_out.shape)
    assert report.blind_ssim == pytest.approx(np.mean(1 - 2 * dssim(held_out, median)), abs=1e-6)
    # All that a constant tells the ridge is the mean image.
    mean = np.broadcast_to(known.mean(axis=0), held_out.shape)
    expected = np.mean(1 - 2 * dssim(held_out, mean))
    assert constant["inversion_ssim"] == pytest.approx(expected, abs=1e-5)


def test_tables_refuse_bad_input():
    X, y = digits()
    for table in (distance_table, distortion_report):
        with pytest.raises(ValueError, match="X and X_distorted must hold images of one shape"):
            table(X, X[:-1])
        with pytest.raises(ValueError, match="X_distorted must lie in pixel_range"):
            table(X, X + 1)
        with pytest.raises(ValueError, match="X must lie in pixel_range"):
            table(X, X / 16, pixel_range=(0, 1))
        with pytest.raises(ValueError, match="X_distorted must lie in pixel_range"):
            table(X, np.where(X > 3, np.nan, X))
        with pytest.raises(ValueError, match="pixel_range must be rising"):
            table(X * 0, X)
        with pytest.raises(ValueError, match="X holds no images"):
            table(X[:0], X[:0])
    with pytest.raises(ValueError, match=r"y must have shape \(60,\), .* got \(59,\)"):
        distance_table(X, X, y[:-1])
    with pytest.raises(ValueError, match="max_pairs must be at least 1, got 0"):
        distance_table(X, X, y, max_pairs=0)
    with pytest.raises(ValueError, match="at least two images, got 1"):
        distortion_report(X[:1], X[:1])
    with pytest.raises(ValueError, match="T_train and X_train must have the same length"):
        ridge_inversion(X[:5], X[:6], X[6:])
    with pytest.raises(ValueError, match="T_train and T_test must hold templates of one shape"):
        ridge_inversion(X[:5], X[:5], X[:5, :3])


def test_resistance_is_the_share_that_a_ridge_leaves_of_images_left_out():
    rng = np.random.default_rng(0)
    images = rng.uniform(size=(24, 3, 3, 1))
    templates = rng.normal(size=(24, 4)) / 5 + images.reshape(24, 9)[:, :4]
    Z = templates - templates.mean(axis=0)
    Z /= np.sqrt(np.mean(np.sum(Z**2, axis=1)))
    flat, errors = images.reshape(24, -1), []
    for alpha in (1e-3, 1e-2, 0.1, 1, 10, 100):
        left_out = []
        for i in range(24):
            others = np.arange(24) != i
            found = Ridge(alpha=alpha).fit(Z[others], flat[others]).predict(Z[[i]])
            left_out.append(np.mean((found - flat[i]) ** 2))
        errors.append(np.mean(left_out))
    others_mean = (24 * flat.mean(axis=0) - flat) / 23
    expected = min(errors) / np.mean((flat - others_mean) ** 2)
    assert 0.3 < expected < 0.9
    assert inversion_resistance(images, templates) == pytest.approx(expected)


def test_resistance_of_templates_that_show_all_or_nothing():
    X01 = (load_digits().images[:200] / 16)[..., None]
    y = load_digits().target[:200]
    for template in (X01, 1 - X01, 0.5 + 1e-6 * X01, X01[:, ::-1, ::-1] / 3):
        assert inversion_resistance(X01, template) < 0.01
    for template in trivial_templates(X01, 0)["constant"], np.zeros((200, 5)):
        assert inversion_resistance(X01, template) == pytest.approx(1)
    assert inversion_resistance(X01, trivial_templates(X01, 0)["noise"]) > 0.95
    # The class alone leaves what an image has beyond the typical one of its class.
    within = sum(np.sum((X01[y == c] - X01[y == c].mean(axis=0)) ** 2) for c in range(10))
    share = within / np.sum((X01 - X01.mean(axis=0)) ** 2)
    assert inversion_resistance(X01, np.eye(10)[y]) == pytest.approx(share, rel=0.15)
    # With the same image everywhere a blind guess is right.
    assert inversion_resistance(np.tile(X01[:1], (20, 1, 1, 1)), X01[:20]) == 0


def test_resistance_does_not_hang_on_order_scale_or_number_of_images(monkeypatch):
    rng = np.random.default_rng(0)
    X01 = rng.uniform(size=(120, 4, 4, 1)).astype(np.float32)
    templates = (X01[..., 0] @ rng.normal(size=(4, 2)) + rng.normal(size=(120, 4, 2)) / 4) / 3
    order = rng.permutation(120)
    for most in (2000, 50):
        monkeypatch.setattr(ridge, "_MOST_KNOWN", most)
        found = inversion_resistance(X01, templates)
        assert 0.3 < found < 0.8
        assert inversion_resistance(X01[order], templates[order]) == pytest.approx(found)
        assert inversion_resistance(X01, 1e3 - 7 * templates) == pytest.approx(found)
    assert found != pytest.approx(inversion_resistance(X01[:50], templates[:50]))
    # Of large images fewer are taken, but twenty at least.
    monkeypatch.setattr(ridge, "_KNOWN_VALUES", 1)
    assert len(ridge._images_to_attack(X01)) == 20


def test_resistance_refuses_what_says_nothing():
    X01 = np.random.default_rng(0).uniform(size=(30, 4, 4))
    with pytest.raises(ValueError, match="fewer than 20 images, got 19"):
        inversion_resistance(X01[:19], X01[:19])
    with pytest.raises(ValueError, match="same length, got 30 and 29"):
        inversion_resistance(X01, X01[:29])
    with pytest.raises(ValueError, match="NaN"):
        inversion_resistance(X01, np.full_like(X01, np.nan))


def test_further_templates_stand_beside_the_trivial_ones():
    X = np.random.default_rng(0).uniform(size=(20, 8, 8))
    given = {"another": X[::-1], "itself": X}
    report = distortion_report(
        255 * X,
        255 - 255 * X,
        pixel_range=(0, 255),
        random_state=0,
        others={name: 255 * stack for name, stack in given.items()},
    )
    assert [row["template"] for row in report.rows][-3:] == ["noise", "another", "itself"]
    assert report.rows[-1]["mse"] == pytest.approx(0, abs=1e-9)
    assert report.rows[-2]["mse"] == pytest.approx(np.mean((X - X[::-1]) ** 2), rel=1e-4)
    table = distance_table(X, 1 - X, pixel_range=(0, 1), random_state=0, others=given)
    assert [row["pair"] for row in table.rows][-2:] == ["real-another", "real-itself"]
    with pytest.raises(ValueError, match="one shape"):
        distortion_report(X, 1 - X, pixel_range=(0, 1), others={"short": X[:10]})
