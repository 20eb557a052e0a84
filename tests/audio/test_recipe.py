"""The guide's recipe, from a folder of recordings to a decision: every line of it runs."""

import re
import secrets
from pathlib import Path

import numpy as np
import pytest
import soundfile
from support.voices import RATE, speak, write_voices

GUIDE = Path(__file__).parents[2] / "docs" / "guide" / "speakers.md"

pytestmark = pytest.mark.skipif(
    not GUIDE.is_file(), reason="the tests stand without the rest of the repository"
)


def block_after(heading):
    """Read the first block of code after a heading."""
    text = GUIDE.read_text(encoding="utf-8").partition(f"\n## {heading}\n")[2]
    return re.search(r"```python\n(.*?)```", text, flags=re.DOTALL)[1]


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    """Follow the recipe among synthesised recordings; what its names stand for then."""
    folder = tmp_path_factory.mktemp("speech")
    write_voices(folder / "recordings", 16, 5, seed=0)
    soundfile.write(folder / "recordings" / "speaker 0" / "silence.wav", np.zeros(RATE), RATE)
    voices = write_voices(folder / "enrolled", 4, 3, seed=1)
    (folder / "probes").mkdir()
    rng = np.random.default_rng(2)
    for i, voice in enumerate(voices):
        soundfile.write(folder / "probes" / f"{i}.wav", speak(rng, *voice), RATE)
    names = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        with pytest.warns(UserWarning, match=r"1 of 81 .*\n.*silence.wav\) holds .* of speech"):
            exec(block_after("From a folder of recordings to a decision"), names)
    return names


def test_the_recipe_decides(recipe):
    assert recipe["X"].shape == (80, 80, 350, 1)
    held_out, learned = (set(recipe["speakers"][recipe[name]]) for name in ("held_out", "learned"))
    assert not held_out & learned
    assert recipe["accepted"].dtype == bool
    assert 0 < recipe["probability"][0] < 1
    assert recipe["ratios"].shape == recipe["passes"].shape == (4, 4)
    # Of each probe the one who speaks is the likeliest, but for a voice like another.
    assert (recipe["ratios"].argmax(axis=0) == np.arange(4)).sum() >= 3


def test_the_store_of_the_guide_takes_the_voices_of_the_recipe(recipe, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    X, speakers, held_out = (recipe[name] for name in ("X", "speakers", "held_out"))
    key_ada, key_bob, new_key = (secrets.token_bytes(16) for _ in range(3))
    names = {
        **recipe,
        **{"key_ada": key_ada, "key_bob": key_bob, "new_key": new_key, "probes": X[:1]},
        **{"X_held_out": X[held_out], "y_held_out": speakers[held_out]},
    }
    exec(block_after("A store of voices"), names)
    assert names["ids"].tolist() == [["ada"]]
    assert names["scores"][0, 0] > 0.5
    assert (tmp_path / "voices.db").exists()
