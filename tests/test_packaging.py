"""Every file of the package is declared in pyproject.toml, so that a wheel holds it."""

import tomllib

from tests.support import prepared

PACKAGE = prepared.ROOT / "flightnn_jax"
FILES = [p for p in PACKAGE.rglob("*") if p.is_file() and "__pycache__" not in p.parts]
TABLES = tomllib.loads((prepared.ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]


def test_every_folder_is_a_package():
    folders = {p.parent for p in FILES}
    assert {PACKAGE, PACKAGE / "hardware", PACKAGE / "integer" / "inference"} < folders
    assert not [folder for folder in folders if not (folder / "__init__.py").is_file()]
    assert TABLES["packages"]["find"]["include"] == ["flightnn_jax*"]


def test_data_is_declared():
    declared = {
        prepared.ROOT.joinpath(*package.split("."), name)
        for package, names in TABLES["package-data"].items()
        for name in names
    }
    assert declared == {p for p in FILES if p.suffix != ".py"}
    assert {PACKAGE / "py.typed", PACKAGE / "paper" / "paper.json"} <= declared
