"""Importing: lazily, without side effects, and with one clear sentence where a backend lacks."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

import skdistort


def run(code, **environment):
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize(
    "module",
    [
        "audio",
        "datasets",
        "displays",
        "fusion",
        "ivector",
        "keys",
        "metrics",
        "persistence",
        "plda",
        "selection",
        "template_baselines",
        "trials",
    ],
)
def test_what_needs_no_network_needs_no_keras(module):
    result = run(f"import sys, skdistort.{module}; assert 'keras' not in sys.modules")
    assert result.returncode == 0, result.stderr


def test_audio_decodes_only_when_asked():
    result = run("import sys, skdistort.audio; assert 'soundfile' not in sys.modules")
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("name", ["TripletEmbedder", "DistortionGenerator", "SiameseVerifier"])
def test_missing_backend_is_one_clear_sentence(name):
    # A module that is None in sys.modules imports as if it were not installed.
    code = f"import sys; sys.modules['tensorflow'] = None; from skdistort import {name}"
    result = run(code, KERAS_BACKEND="tensorflow")
    assert result.returncode != 0
    last = result.stderr.strip().splitlines()[-1]
    assert last.startswith("ImportError: skdistort needs a Keras backend")
    for extra in ("[tensorflow]", "[torch]", "[jax]"):
        assert extra in last


def test_type_checkers_see_every_name():
    tree = ast.parse(Path(skdistort.__file__).read_text())
    (block,) = [node for node in tree.body if isinstance(node, ast.If)]
    assert ast.unparse(block.test) == "TYPE_CHECKING"
    imported = {}
    for line in block.body:
        module = f"skdistort.{line.module}" if line.module else "skdistort"
        imported |= {alias.name: module for alias in line.names}
    assert imported == {**skdistort._LAZY, "metrics": "skdistort"}


def test_public_names():
    assert skdistort.__all__ == sorted(skdistort.__all__)
    for name in skdistort.__all__:
        assert getattr(skdistort, name) is not None
        assert name in dir(skdistort)
    with pytest.raises(AttributeError, match="nothing_here"):
        _ = skdistort.nothing_here
