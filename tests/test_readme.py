"""What the documents say is so: programs run, commands have the flags, paths exist.

A block of ```python runs in a namespace of its own; a comment `<!-- not run: REASON -->` before it
says why one does not. What a block prints is the ```text block that follows it, if one does. All
commands of ```sh blocks are read, and their flags looked up.
"""

import contextlib
import dataclasses
import functools
import importlib.util
import io
import itertools
import os
import re
import shlex
import subprocess
import sys
from typing import NamedTuple

import jax
import pytest

from flightnn_jax.integer import Golden, files
from tests.support import brute_force, networks_at_random, prepared

ROOT = prepared.ROOT
DOCUMENTS = [ROOT / "README.md", ROOT / "WORKSPACE.md", *sorted((ROOT / "docs").rglob("*.md"))]


class Block(NamedTuple):
    """A fenced block; `prints` is the text block right behind it, or ""."""

    document: str
    line: int
    language: str
    code: str
    skip: bool
    prints: str


def blocks_of(path):
    text = path.read_text()
    fence = re.compile(
        r"(<!-- not run: [^>]+ -->\n)?^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE
    )
    fences = list(fence.finditer(text))
    name = str(path.relative_to(ROOT))
    for match, following in itertools.zip_longest(fences, fences[1:]):
        prints = ""
        if following is not None and following[2] == "text":
            between = text[match.end() : following.start()].strip()
            if between in ("", "It prints"):
                prints = following[3]
        line = text.count("\n", 0, match.start()) + 1
        yield Block(name, line, match[2], match[3], match[1] is not None, prints)


BLOCKS = [block for path in DOCUMENTS for block in blocks_of(path)]
PROGRAMS = [b for b in BLOCKS if b.language == "python" and not b.skip]
COMMANDS = [
    (block, line)
    for block in BLOCKS
    if block.language == "sh"
    for line in block.code.replace("\\\n", " ").splitlines()
]
CHEAP = ("launch.estimate", "launch.schemes", "launch.audit", "launch.check")


def place(block):
    return f"{block.document}:{block.line}"


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    """In place of /tmp/digits: an integer network as small as they come."""
    directory = tmp_path_factory.mktemp("digits")
    _, network = networks_at_random.random_networks()[0]
    images = networks_at_random.random_images(network, 1)
    outputs = brute_force.layer_outputs(network, images)
    golden = {
        name: array.astype(networks_at_random.output_of(network, name)[1])
        for name, array in outputs.items()
    }
    network = dataclasses.replace(network, golden=Golden(images, golden))
    files.save(network, directory / "integers.safetensors")
    return directory


def test_documents_have_what_is_tested():
    assert {b.document for b in PROGRAMS} > {"README.md", "docs/quantize.md", "docs/lower.md"}
    assert {b.language for b in BLOCKS} <= {"python", "sh", "text", "json", "verilog", "c"}


def programs():
    for block in PROGRAMS:
        compiles = any(name in block.code for name in ("jax.jit", "make_inference"))
        yield pytest.param(block, id=place(block), marks=[pytest.mark.slow] * compiles)


@pytest.mark.parametrize("block", list(programs()))
def test_programs_run(block, workdir, tmp_path):
    places = {"/tmp/digits": str(workdir)}
    code = re.sub(r"/tmp(/digits\b)?", lambda m: places.get(m[0], str(tmp_path)), block.code)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), jax.numpy_rank_promotion("allow"):
        exec(compile(code, place(block), "exec"), {"__name__": "__main__"})
    if block.prints:
        assert printed.getvalue() == block.prints


def test_the_program_in_the_readme_is_the_tour():
    tour = (ROOT / "launch" / "tour.py").read_text()
    assert tour.split('"""\n\n', 1)[1] in [b.code for b in PROGRAMS if b.document == "README.md"]


@functools.cache
def flags_of(module):
    """The flags that a command defines, in its own file and in those of launch/ that it imports."""
    source = (ROOT / source_of(module)).read_text()
    names = set(re.findall(r'(?:DEFINE_\w+\(|add_argument\()\s*f?"(?:--)?([\w.{}-]+)"', source))
    for name in re.findall(r"^from \. import (.*)$", source, re.MULTILINE):
        for other in name.split(", "):
            names |= flags_of(f"launch.{other}")
    return names


def source_of(module):
    return module.replace(".", "/") + ".py"


def test_flags_are_read_from_the_source():
    assert {"workdir", "config", "data_dir", "multihost"} <= flags_of("launch.train")
    assert "rounds" in flags_of("benchmarks.quantize")


@pytest.mark.parametrize(
    ("block", "line"), COMMANDS, ids=lambda x: "" if type(x) is str else place(x)
)
def test_commands_exist_and_know_their_flags(block, line):
    words = shlex.split(line, comments=True)
    if "-m" not in words:
        for word in words:  # of a script: it is there
            assert not word.startswith("launch/") or (ROOT / word).exists()
        return
    module = words[words.index("-m") + 1]
    if module.split(".")[0] not in ("launch", "benchmarks"):
        assert importlib.util.find_spec(module), f"{module} is not installed"
        return
    known = flags_of(module)
    for word in words[words.index("-m") + 2 :]:
        if word.startswith("--"):
            name = word[2:].split("=")[0]
            name = re.sub(r"^config\.\w+$", "config.{field.name}", name)
            assert name in known, f"{place(block)}: {module} has no flag --{name}"


def cheap_commands():
    seen = set()
    for block, line in COMMANDS:
        words = shlex.split(line, comments=True)
        if words[:2] == ["python", "-m"] and words[2] in CHEAP and line not in seen:
            seen.add(line)
            yield pytest.param(words[1:], block, id=f"{place(block)} {words[2]}")


@pytest.mark.slow
@pytest.mark.parametrize(("words", "block"), list(cheap_commands()))
def test_cheap_commands_run(words, block, workdir):
    done = subprocess.run(
        [sys.executable, *[w.replace("/tmp/digits", str(workdir)) for w in words]],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env={k: v for k, v in os.environ.items() if k != "XLA_FLAGS"},
    )
    assert done.returncode == 0, done.stderr
    if block.prints and len(block.code.splitlines()) == 1:
        assert done.stdout == block.prints


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_paths_that_the_documents_name_exist(path):
    places = (ROOT, ROOT / "flightnn_jax", path.parent)
    for name in re.findall(r"`((?:[\w.]+/)+[\w.]*|\w+\.(?:py|sh|md|toml))`", path.read_text()):
        made_by_a_run = name.startswith(("tensorboard", "checkpoints", "plots", "stages"))
        assert made_by_a_run or any((base / name).exists() for base in places), (
            f"{path} names {name}"
        )
    for address in re.findall(r"\]\(([^)#]+)", path.read_text()):
        assert (path.parent / address).exists(), f"{path} links to {address}"


def test_sizes():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 170


def test_the_picture_is_what_its_command_draws():
    spec = importlib.util.spec_from_file_location("draw", ROOT / "docs" / "pictures" / "draw.py")
    draw = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(draw)
    assert draw.picture() == (ROOT / "docs" / "pictures" / "weights.svg").read_text()
