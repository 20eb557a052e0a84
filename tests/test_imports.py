"""Importing: lazily, in one direction, and with one clear sentence where a backend lacks."""

import ast
import os
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import skdistort

PACKAGE = Path(skdistort.__file__).parent
ROOT = Path(__file__).parents[1]

# Who may import whom: a folder, or a module that lies in none, imports from lines above its own, be
# it at the top of a file, in a function or for an annotation. No line imports from itself.
LAYERS = [
    "_backend _labels _problems _progress _tables _typing _version exceptions",
    "_files _samples distances images keys mining",
    "losses metrics networks selection trials",
    "onnx",
    "datasets displays mobilefacenet persistence",
    "features",
    "audio faces fusion ivector plotting template_baselines training",
    "decision embedding",
    "normalisation plda verification",
    "distortion",
    "attacks scoring templates",
    "_command",
    "__init__",
    "__main__",
]


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
        "decision",
        "displays",
        "faces",
        "features",
        "fusion",
        "images",
        "ivector",
        "keys",
        "metrics",
        "normalisation",
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


@pytest.mark.fast
def test_type_checkers_see_every_name():
    tree = ast.parse(Path(skdistort.__file__).read_text())
    (block,) = [node for node in tree.body if isinstance(node, ast.If)]
    assert ast.unparse(block.test) == "TYPE_CHECKING"
    imported = {}
    for line in block.body:
        module = f"skdistort.{line.module}" if line.module else "skdistort"
        imported |= {alias.name: module for alias in line.names}
    assert imported == {**skdistort._LAZY, "metrics": "skdistort"}


@pytest.mark.fast
def test_public_names():
    assert skdistort.__all__ == sorted(skdistort.__all__)
    for name in skdistort.__all__:
        assert getattr(skdistort, name) is not None
        assert name in dir(skdistort)
    with pytest.raises(AttributeError, match="nothing_here"):
        _ = skdistort.nothing_here


def imported_names(path, package):
    """Yield line and full dotted name of all that a file imports, wherever it does."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1]
            module = ".".join([*(above if node.level else []), *filter(None, [node.module])])
            for alias in node.names:
                yield node.lineno, f"{module}.{alias.name}"


def room(name):
    """Tell the folder, or the module in none, that a dotted name of the package belongs to."""
    first = name.split(".")[1]
    known = (PACKAGE / first).is_dir() or (PACKAGE / f"{first}.py").is_file()
    return first if known else "__init__"


@pytest.mark.fast
def test_imports_run_one_way():
    layer_of = {name: i for i, line in enumerate(LAYERS) for name in line.split()}
    wrong = []
    for path in sorted(PACKAGE.rglob("*.py")):
        place = path.relative_to(PACKAGE.parent).with_suffix("").parts
        here = place[1]
        for line, name in imported_names(path, ".".join(place[:-1])):
            if not name.startswith("skdistort."):
                continue
            there = room(name)
            # What has no layer may neither import nor be imported.
            if there != here and not layer_of.get(there, len(LAYERS)) < layer_of.get(here, -1):
                wrong.append(f"{'/'.join(place)}.py:{line}: {here} imports {there}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.fast
def test_every_room_has_a_layer():
    rooms = {p.stem for p in PACKAGE.glob("*.py")} | {p.parent.name for p in PACKAGE.glob("*/*.py")}
    assert sorted(" ".join(LAYERS).split()) == sorted(rooms)


def is_private(name):
    return any(part.startswith("_") and not part.endswith("__") for part in name.split("."))


needs_checkout = pytest.mark.skipif(
    not (ROOT / "benchmarks").is_dir(), reason="the tests stand without the rest of the repository"
)


@pytest.mark.fast
@needs_checkout
def test_benchmarks_and_examples_use_public_names():
    wrong = []
    for path in sorted([*ROOT.glob("benchmarks/*.py"), *ROOT.glob("examples/*.py")]):
        for line, name in imported_names(path, ""):
            if is_private(name):
                wrong.append(f"{path.name}:{line}: {name}")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute) and is_private(node.attr):
                own = isinstance(node.value, ast.Name) and node.value.id == "self"
                # How a forked process ends, whatever its name looks like.
                if not own and ast.unparse(node) != "os._exit":
                    wrong.append(f"{path.name}:{node.lineno}: {ast.unparse(node)}")
    assert not wrong, "\n".join(wrong)


def exists(name):
    """Tell whether a dotted name is a module, or an attribute of one."""
    parts = name.split(".")
    for n in range(len(parts), 0, -1):
        try:
            found = import_module(".".join(parts[:n]))
        except ModuleNotFoundError as error:
            if error.name.partition(".")[0] != "skdistort":
                # It is there; what it needs (PyTorch) is not.
                return True
            continue
        for part in parts[n:]:
            if not hasattr(found, part):
                return False
            found = getattr(found, part)
        return True
    return False


@pytest.mark.fast
@needs_checkout
def test_every_dotted_name_in_words_exists():
    # In docstrings, comments and pages alike; the changelog tells of names that are no more.
    kinds = ["*.md", "docs/**/*.md", "docs/**/*.rst"]
    kinds += [
        f"{folder}/**/*.py" for folder in ("benchmarks", "docs", "examples", "skdistort", "tests")
    ]
    paths = {path for kind in kinds for path in ROOT.glob(kind)}
    generated = {ROOT / "docs" / name for name in ("generated", "auto_examples")}
    wrong = []
    for path in sorted(paths - {ROOT / "CHANGELOG.md", Path(__file__)}):
        if generated & set(path.parents):
            continue
        # Not addresses, paths, pictures and pages.
        text = path.read_text(encoding="utf-8")
        pattern = r"(?<![\w/.])skdistort(?!\.(?:html|png))(?:\.[A-Za-z_]\w*)+(?![\w/])"
        names = re.findall(pattern, text)
        wrong += [f"{path.relative_to(ROOT)}: {n}" for n in {*names} if not exists(n)]
    assert not wrong, "\n".join(wrong)


@pytest.mark.fast
def test_one_place_imports_a_backend_itself():
    found = {
        path.relative_to(PACKAGE).as_posix()
        for path in PACKAGE.rglob("*.py")
        for _, name in imported_names(path, "")
        if name.partition(".")[0] in ("torch", "jax", "tensorflow")
    }
    assert found == {f"networks/_torch_{part}.py" for part in ("layers", "steps")}
