"""What docs/security.md says of the whole: nothing here runs what it reads."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FILES = [
    file
    for folder in ("flightnn_jax", "launch", "configs", "benchmarks")
    for file in sorted((ROOT / folder).rglob("*.py"))
]
MODULES = {"pickle", "_pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal", "shelve"}
CALLS = r"eval|exec|__import__|os\.system|yaml\.(unsafe_)?load|torch\.load"


def faults(text):
    """Lines that could run what was read."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [alias.name for alias in node.names]
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else names
            if MODULES & {name.split(".")[0] for name in names}:
                yield f"{node.lineno}: imports {names}"
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            given = {word.arg: ast.unparse(word.value) for word in node.keywords}
            loads = called in ("np.load", "numpy.load")
            pickles = given.get("allow_pickle", "True" if loads else "False") != "False"
            if pickles or given.get("shell") == "True" or re.fullmatch(CALLS, called):
                yield f"{node.lineno}: {called} with {given}"


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_nothing_is_unpickled_or_evaluated(file):
    assert not list(faults(file.read_text()))


@pytest.mark.parametrize(
    "text",
    [
        "import pickle",
        "from joblib import load",
        "np.load(file)",
        "np.load(file, allow_pickle=True)",
        "np.save(file, x, allow_pickle=True)",
        "eval(text)",
        "subprocess.run(text, shell=True)",
        "yaml.load(text)",
    ],
)
def test_faults_are_seen(text):
    assert list(faults(text))


def test_the_page_names_tests_that_exist():
    page = (ROOT / "docs/security.md").read_text()
    named = re.findall(r"`(tests/[\w/]+\.py)`", page)
    assert len(named) > 8
    for file in named:
        assert "def test_" in (ROOT / file).read_text()
