import os
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.DOTALL | re.MULTILINE)


def test_the_program_in_the_readme_is_the_tour():
    tour = (ROOT / "launch" / "tour.py").read_text()
    code = tour.split('"""\n\n', 1)[1]
    assert code in blocks("python")


def test_the_tour_prints_what_the_readme_says():
    found = subprocess.run(
        [sys.executable, ROOT / "launch" / "tour.py"],
        capture_output=True,
        text=True,
        check=True,
        env={k: v for k, v in os.environ.items() if k != "XLA_FLAGS"},
    )
    assert found.stdout in blocks("text")


def test_paths_that_the_documents_name_exist():
    for document in ("README.md", "WORKSPACE.md"):
        text = (ROOT / document).read_text()
        names = re.findall(r"`((?:[\w.]+/)+[\w.]*|[\w]+\.(?:py|sh|md|txt|toml))`", text)
        assert names
        missing = [
            name
            for name in names
            if not any((base / name).exists() for base in (ROOT, ROOT / "flightnn_jax"))
        ]
        assert not missing, f"{document} names {missing}"


def test_commands_that_the_readme_names_can_start():
    modules = set(re.findall(r"python -m ((?:launch|benchmarks)\.\w+)", README))
    assert modules
    for module in modules:
        assert (ROOT / pathlib.Path(*module.split("."))).with_suffix(".py").exists()
