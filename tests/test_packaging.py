"""What an installation holds and needs: a wheel is built, and commands run without the extras."""

import importlib.metadata
import re
import subprocess
import sys
import tomllib
import zipfile

import pytest

import flightnn_jax
from launch import __main__ as program
from launch import extras
from tests.support import prepared

ROOT = prepared.ROOT
PACKAGE = ROOT / "flightnn_jax"
FILES = [p for p in PACKAGE.rglob("*") if p.is_file() and "__pycache__" not in p.parts]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
TABLES = PROJECT["tool"]["setuptools"]
NOT_COMMANDS = {
    "__init__",
    "__main__",
    "bounds",
    "command",
    "devices",
    "extras",
    "shards",
    "slurm",
    "options",
    "program",
    "streams",
}


def python(*words, cwd=ROOT, **environment):
    done = subprocess.run(
        [sys.executable, *words],
        cwd=cwd,
        env={"PATH": "", "JAX_PLATFORMS": "cpu"} | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


def test_every_folder_is_a_package():
    folders = {p.parent for p in FILES}
    assert {PACKAGE, PACKAGE / "hardware", PACKAGE / "integer" / "inference"} < folders
    assert not [folder for folder in folders if not (folder / "__init__.py").is_file()]
    names = {".".join(folder.relative_to(ROOT).parts) for folder in folders}
    assert set(TABLES["packages"]) == names | {"flightnn_jax.launch", "flightnn_jax.configs"}


def test_data_is_declared():
    matched = [
        set(ROOT.joinpath(*package.split(".")).glob(pattern))
        for package, patterns in TABLES["package-data"].items()
        for pattern in patterns
    ]
    assert all(matched)
    declared = set.union(*matched)
    assert declared == {p for p in FILES if p.suffix != ".py"}
    assert {PACKAGE / "py.typed", PACKAGE / "paper" / "paper.json"} <= declared


def test_the_citation_is_of_this_software():
    lines = (ROOT / "CITATION.cff").read_text().splitlines()
    assert f"version: {flightnn_jax.__version__}" in lines
    assert f"license: {PROJECT['project']['license']}" in lines
    assert (
        f"    doi: {PROJECT['project']['urls']['Paper'].removeprefix('https://doi.org/')}" in lines
    )


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A directory that holds what a wheel of this checkout installs."""
    pytest.importorskip("setuptools", "77", reason="the build needs setuptools 77 or newer")
    wheels, site = tmp_path_factory.mktemp("wheels"), tmp_path_factory.mktemp("site")
    build = f"""
import shutil
from setuptools import build_meta
for name in {["flightnn_jax", "launch", "configs", "README.md", "LICENSE", "pyproject.toml"]}:
    copy = shutil.copytree if "." not in name and name != "LICENSE" else shutil.copy
    copy({str(ROOT)!r} + "/" + name, name)
build_meta.build_wheel({str(wheels)!r})
"""
    code, _, errors = python("-W", "ignore", "-c", build, cwd=tmp_path_factory.mktemp("tree"))
    assert code == 0, errors
    with zipfile.ZipFile(next(wheels.iterdir())) as wheel:
        wheel.extractall(site)
    return site


@pytest.mark.slow
def test_a_wheel_holds_everything_in_one_package(installed):
    (package, about) = sorted(p.name for p in installed.iterdir())
    assert (package, about) == (
        "flightnn_jax",
        f"flightnn_jax-{flightnn_jax.__version__}.dist-info",
    )
    sources = {p.relative_to(PACKAGE) for p in FILES}
    for folder in ("launch", "configs"):
        sources |= {p.relative_to(ROOT) for p in (ROOT / folder).glob("*.py")}
    inside = (p for p in (installed / package).rglob("*") if p.is_file())
    assert {p.relative_to(installed / package) for p in inside} == sources
    entry_points = (installed / about / "entry_points.txt").read_text()
    assert "flightnn = flightnn_jax.launch.__main__:main" in entry_points


@pytest.mark.slow
def test_an_installation_runs_the_papers_configs(installed, tmp_path):
    words = ["-m", "flightnn_jax.launch", "estimate", "--config=configs/paper.py:net1,flightnn"]
    code, out, errors = python(*words, "--mean_k=1.3", cwd=tmp_path, PYTHONPATH=str(installed))
    assert code == 0, errors
    assert out.startswith("net1 in flightnn")


def test_every_command_is_listed_with_its_purpose():
    assert set(extras.COMMANDS) == {p.stem for p in (ROOT / "launch").glob("*.py")} - NOT_COMMANDS
    listed = {line.split()[0]: line for line in program.listing().splitlines() if line[:2] == "  "}
    assert list(listed) == list(extras.COMMANDS)
    assert listed["train"].endswith("goes on where a run in the same workdir stopped. [train]")
    assert set(extras.COMMANDS.values()) - {None} <= set(extras_of_the_project())
    code, out, _ = python("-S", "-m", "launch")  # without any other package
    assert (code, out) == (0, program.listing() + "\n")


def test_an_unknown_command_finds_the_one_that_was_meant():
    code, _, errors = python("-S", "-m", "launch", "evaluat")
    assert (code, errors) == (2, "error: no command 'evaluat': choose of evaluate\n")


def extras_of_the_project():
    """By extra, the packages in it, other extras' included."""
    named = {
        extra: [re.match(r"[\w-]+(\[.*\])?", line).group() for line in lines]
        for extra, lines in PROJECT["project"]["optional-dependencies"].items()
    }

    def packages(extra):
        inner = (re.match(r"flightnn-jax\[(.*)\]", name) for name in named[extra])
        names = {name for name in named[extra] if "flightnn-jax" not in name}
        return names.union(*(packages(e) for m in inner if m for e in m.group(1).split(",")))

    return {extra: {normal(name) for name in packages(extra)} for extra in named}


def normal(name):
    return re.sub(r"[-_.]+", "-", name).lower()


def test_modules_are_in_the_extras_that_are_named_for_them():
    packages, distributions = extras_of_the_project(), importlib.metadata.packages_distributions()
    for module, extra in extras.MODULES.items():
        named = {normal(name) for name in distributions[module]}
        assert named & packages[extra], f"{module} is not in [{extra}]"
        assert named & packages["dev"]


# Runs a command where importing the modules in the first argument fails.
WITHOUT = """
import runpy, sys
sys.modules.update(dict.fromkeys(sys.argv[1].split(",")))
sys.argv = sys.argv[2:]
runpy.run_module(f"launch.{sys.argv[0]}", run_name="__main__", alter_sys=True)
"""


@pytest.mark.whole(8)
@pytest.mark.parametrize("command", [c for c, extra in extras.COMMANDS.items() if extra])
@pytest.mark.quick(3)
def test_commands_without_extras(command):
    code, out, errors = python("-c", WITHOUT, ",".join(extras.MODULES), command)
    extra = extras.COMMANDS[command]
    assert (code, out) == (2, "")
    assert errors == (
        f"error: '{command}' needs the extra '{extra}' (absl is not installed): "
        f"pip install 'flightnn-jax[{extra}]'\n"
    )


@pytest.mark.whole(2)
@pytest.mark.parametrize(
    ("missing", "words", "extra"),
    [
        ("flax", ["train", "--config=configs/digits.py:smoke", "--workdir=DIR"], "train"),
        ("sklearn", ["train", "--config=configs/digits.py:smoke", "--workdir=DIR"], "train"),
        ("orbax", ["evaluate", "--workdir=DIR"], "train"),
        ("optax", ["lower", "--workdir=DIR"], "train"),
    ],
)
@pytest.mark.quick(0)
def test_a_missing_module_names_its_extra(missing, words, extra, tmp_path):
    words = [word.replace("DIR", str(tmp_path)) for word in words]
    code, _, errors = python("-c", WITHOUT, missing, *words)
    assert code == 2, errors
    assert f"'{extra}' ({missing} is not installed): pip install 'flightnn-jax[{extra}]'" in errors
    assert errors.count("\n") == 1


def test_costs_of_a_config_need_the_smallest_extra():
    modules = ",".join(set(extras.MODULES) - {"absl"})
    words = ["estimate", "--config=configs/paper.py:net1,flightnn", "--mean_k=1.3"]
    code, out, errors = python("-c", WITHOUT, f"jax,{modules}", *words)
    assert (code, errors) == (0, "")
    assert out.startswith("net1 in flightnn")
