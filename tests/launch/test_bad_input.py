"""What a user can get wrong: one line with the value, the rule and the remedy, and the code 2."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import commands, prepared

DEVICE = {"name": "mine", "bram": 10, "dsp": 4, "ff": 900, "lut": 600, "clock_mhz": 50}
TEN12 = 10**12


def device(**fields):
    return json.dumps(DEVICE | fields)


FILES = {
    "syntax.py": "def get_config(arguments:\n",
    "null.py": "x = '\0'\n",
    "raises.py": "def get_config(arguments):\n\n    return {}['net']\n",
    "no_arguments.py": "def get_config():\n    return 1\n",
    "other.py": "def get_config(arguments):\n    return {'epochs': 3}\n",
    "constant.py": "get_config = 3\n",
    "none.py": "",
    "deep.json": "[" * 100_000,
    "torn.json": '{"name": ',
    "list.json": "[]",
    "nan.json": device(clock_mhz=float("nan")),
    "infinite.json": device(clock_mhz=float("inf")),
    "huge_clock.json": device(clock_mhz=10**400),
    "huge.json": device(lut=10**30),
    "digits.json": device().replace("600", "6" * 5000),
    "text.json": device(lut="600"),
    "negative.json": device(bram=-1),
    "name.json": device(name=["mine"]),
    "origin.json": device(origin=3),
    "inputs.json": device(lut_inputs="6"),
    "list_inputs.json": device(lut_inputs=[6]),
    "shapes.json": device(block_shapes=[]),
    "shapes3.json": device(block_shapes=[[1, 2, 3]]),
    "shapes_nan.json": device(block_shapes=[[float("nan"), 1]]),
    "shapes_real.json": device(block_shapes=[[1024.7, 18]]),
    "shapes_huge.json": device(block_shapes=[[10**400, 18]]),
    "shapes_many.json": device(block_shapes=[[1024, 18]] * 10_000),
    "shapes_null.json": device(block_shapes=None),
}
# (the words of a command, what the error says); {} is the directory of FILES.
CASES = [
    # flags
    ("train", "--workdir must have a value"),
    ("train --workdir={}/run --lamda=1", "Unknown command line flag 'lamda'"),
    ("train --workdir=", "--workdir= is empty: give a value, or leave the flag out"),
    ("evaluate --workdir=", "--workdir= is empty"),
    ("lower --workdir=", "--workdir= is empty"),
    ("lower --workdir={}/run --out=", "--out= is empty"),
    ("verify --run=", "--run= is empty"),
    ("verify --run={}/run --paths=", "--paths= is empty"),
    ("verify", "give --run=WORKDIR or --integers=FILE"),
    ("verify --integers={}/no.safetensors", "no.safetensors"),
    ("verify --run={}/run --batch=0", "--batch=0: "),
    ("verify --run={}/run --batch=many", "--batch=many: "),
    ("train --workdir={}/run left over", "unexpected arguments ['left', 'over']"),
    ("compare", "give the workdirs"),
    ("evaluate --workdir={}/run --split=all", "--split=all: "),
    ("estimate --style=none", "--style=none: "),
    ("estimate --config=", "--config= is empty"),
    ("designs --merits=", "--merits= is empty"),
    ("designs --merits=beauty", "merits beauty are unknown"),
    ("designs --network=net9", "--network=net9: "),
    ("audit --verdict=x", "--verdict=x: "),
    ("audit --flagfile={}/none.flags", "none.flags"),
    ("lower --workdir={}/run --affine_terms=0", "--affine_terms=0: "),
    ("lower --workdir={}/run --out={}", "is no regular file: choose another name"),
    ("lower --workdir={}/run --out=/dev/null", "--out=/dev/null is no regular file"),
    ("lower --workdir={}/run --out={}/pipe", "pipe is no regular file"),
    ("lower --workdir={}/run --out={}/a/b", "there is no directory {}/a: make it first"),
    ("lower --workdir={}/run --out=/proc/b", "/proc cannot be written"),
    # configs
    ("train --workdir={}/run --config={}", "does not exist: choose one of"),
    ("train --workdir={}/run --config={}/syntax.py", "syntax.py, line 1: SyntaxError: "),
    ("train --workdir={}/run --config={}/null.py", "null"),
    ("train --workdir={}/run --config={}/raises.py", "raises.py, line 3: KeyError: 'net'"),
    ("train --workdir={}/run --config={}/no_arguments.py", "TypeError: get_config() takes 0"),
    ("train --workdir={}/run --config={}/other.py", "it must return a flightnn_jax.training.con"),
    ("train --workdir={}/run --config={}/none.py", "has no get_config(arguments)"),
    ("train --workdir={}/run --config={}/constant.py", "has no get_config(arguments)"),
    (
        "train --workdir={}/run --config.width=1000000000000",
        "width=1000000000000 has more than",
    ),
    (
        "estimate --config.width=1000000000000",
        "than the 268,435,456 weights that a",
    ),
    ("train --workdir={}/run --config.width=-2", "width=-2: "),
    ("train --workdir={}/run --config.epochs=0", "epochs=0: choose 1 or more"),
    (f"train --workdir={{}}/run --config.epochs={TEN12}", "at most 2147483647"),
    ("train --workdir={}/run --config.epochs=2000000000", "steps, more than 2147483647: choose"),
    (f"train --workdir={{}}/run --config.epochs={'9' * 5000}", "takes a whole number"),
    ("train --workdir={}/run --config.image_size=100000", "image_size=100000: choose 1 or more"),
    (f"train --workdir={{}}/run --config.batch_size={TEN12}", "batch_size=1000000000000: "),
    ("train --workdir={}/run --config.batch_size=100000", "batch_size=100000 of 1257 training"),
    ("train --workdir={}/run --config.seed=-1", "seed=-1: choose a finite number"),
    ("train --workdir={}/run --config.seed=4294967296", "at most 4294967295"),
    ("train --workdir={}/run --config.lambda1=nan", "lambda1=nan: the field takes a number"),
    ("train --workdir={}/run --config.lambda1=inf", "lambda1=inf: the field takes a number"),
    ("train --workdir={}/run --config.learning_rate=1e300", "at most 1e+30"),
    ("train --workdir={}/run --config.budget=nan", "budget=nan: the field takes a number"),
    ("train --workdir={}/run --config.track=2", "parts of the training, 0 to 1: 2.0"),
    ("train --workdir={}/run --config.decay_at=0.5,nan", "decay_at=(0.5, nan): the field takes"),
    ("train --workdir={}/run --config.clamp=maybe", "clamp='maybe': the field takes true or"),
    ("train --workdir={}/run --config.dataset=npz:{}/none.npz", "none.npz: no such data set"),
    ("train --workdir={}/run --config.start_from={}/gone", "{}/gone/config.json does not exist"),
    # workdirs and devices of a cluster
    ("train --workdir=/proc/none", "/proc/none"),
    ("train --workdir={}/none.py", "{}/none.py"),
    ("evaluate --workdir={}/gone", "{}/gone/config.json does not exist: is its directory the"),
    ("lower --workdir={}/gone --out={}/x", "{}/gone/config.json does not exist"),
    ("train --workdir={}/run --coordinator=here --processes=2 --process=0", "give HOST:PORT"),
    ("train --workdir={}/run --coordinator=h:0 --processes=2 --process=0", "give HOST:PORT"),
    ("train --workdir={}/run --coordinator=h:99999 --processes=2 --process=0", "give HOST:PORT"),
    ("train --workdir={}/run --coordinator=h:1 --processes=2 --process=2", "choose 0 to 1"),
    ("train --workdir={}/run --coordinator=h:1", "go together: give all three"),
    # numbers of the cost model
    *(
        (f"estimate --clock_mhz={bad}", f"clock_mhz={bad}")
        for bad in ("nan", "inf", "-1.0", "0.0", "1e+300")
    ),
    *((f"estimate --anchor={bad}", f"anchor={bad}") for bad in ("nan", "inf", "-1.0", "0.0")),
    *((f"estimate --mean_k={bad}", f"mean_k={bad}") for bad in ("nan", "inf", "-1.0", "3.0")),
    *((f"schemes --mean_k={bad}", f"mean_k={bad}") for bad in ("nan", "inf", "-1.0", "3.0")),
    *(
        (f"designs --max_accuracy_loss={bad}", f"max_accuracy_loss={bad}")
        for bad in ("nan", "-1.0", "-inf")
    ),
    *(
        (f"designs --min_images_per_s={bad}", f"min_images_per_s={bad}")
        for bad in ("nan", "inf", "-1.0")
    ),
    ("designs --min_images_per_s=1e12", "min_images_per_s=1e+12: no design is as fast"),
    ("estimate --device=XC", "device 'XC' is unknown: choose one of"),
    ("estimate --device={}/none.json", "none.json"),
    *((f"estimate --device={{}}/{name}", name) for name in FILES if name.endswith(".json")),
    ("estimate --device={}/pipe.json", "pipe.json is no regular file"),
    ("estimate --device={}/endless.json", "endless.json is no regular file"),
    # files of integers
    ("verify --integers={}/pipe", "pipe"),
    ("verify --integers=/dev/zero", "/dev/zero"),
    ("verify --integers={}", "{}"),
    ("export --integers={}/pipe --to=c --out={}/x", "pipe"),
    ("export --integers={}/gone --to=c,rust --out={}/x", "--to=rust: choose of c, onnx"),
    ("check {}/pipe", "cannot be read"),
    ("check /dev/zero", "cannot be read"),
    ("check {}", "cannot be read"),
    ("compare {}", "holds no run that is done, which is a folder with a result.json"),
    ("compare {}/none.py", "does not exist"),
]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    directory = tmp_path_factory.mktemp("bad")
    for name, text in FILES.items():
        (directory / name).write_text(text)
    for name in ("pipe", "pipe.json"):
        os.mkfifo(directory / name)
    (directory / "endless.json").symlink_to("/dev/zero")
    return directory


def one_of_each():
    """The cases; those behind a command's first are slow."""
    seen = set()
    for case, message in CASES:
        name = case.split(" ")[0]
        marks = [pytest.mark.slow] * (name in seen)
        yield pytest.param(case, message, marks=marks, id=case[:80])
        seen.add(name)


@pytest.fixture(scope="module")
def ended(place, request):
    """How the cases ended that this run is asked for."""
    items = [item for item in request.session.items if item.path == request.path]
    asked = {item.callspec.params.get("case") for item in items if hasattr(item, "callspec")}
    cases = [case for case, _ in CASES if case in asked]
    words = [case.replace("{}", str(place)).split(" ") for case in cases]
    return dict(zip(cases, commands.run(words), strict=True))


@pytest.mark.parametrize(("case", "message"), list(one_of_each()))
def test_is_told_in_one_line(ended, place, case, message):
    end = ended[case]
    assert "Traceback" not in end.errors
    assert end.code == 2, end
    [line] = end.errors.splitlines()
    assert message.replace("{}", str(place)) in line
    assert len(line) < 600
    assert end.out == ""


def test_nothing_is_left_behind(ended, place):
    del ended
    left = {path.name for path in place.rglob("*")} - set(FILES) - {"run", "__pycache__"}
    left = {name for name in left if not name.endswith(".pyc")}
    assert left == {"pipe", "pipe.json", "endless.json"}


def command(words, *around, **options):
    """A command in a process of its own; `around` starts it, as in `closing`."""
    return subprocess.run(
        [*around, sys.executable, "-m", *words.split(" ")],
        cwd=prepared.ROOT,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
        **options,
    )


def closing(descriptor):
    """Starts a command without standard output (1) or errors (2), and without a fork of JAX."""
    return "sh", "-c", f'exec "$0" "$@" {descriptor}>&-'


@pytest.mark.quick(0)
@pytest.mark.parametrize("words", ["launch.audit", "launch", "launch.designs --help"])
def test_standard_output_is_full_or_closed(words):
    with Path("/dev/full").open("w") as full:
        done = command(words, stdout=full)
    assert done.returncode == 2
    assert done.stderr == (
        "error: standard output: No space left on device: make room, or write it to another place\n"
    )
    done = command(words, *closing(1))
    assert done.returncode == 2
    assert done.stderr == (
        "error: standard output is closed: give >/dev/null if nothing is to be read\n"
    )


def test_nobody_reads_standard_output():
    read, write = os.pipe()
    os.close(read)
    done = command("launch.audit", stdout=write)
    os.close(write)
    assert (done.returncode, done.stderr) == (141, "")


def test_nobody_reads_errors():
    done = subprocess.run(
        [*closing(2), sys.executable, "-m", "launch.estimate", "--device=XC"],
        cwd=prepared.ROOT,
        stdout=subprocess.PIPE,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, b"")


def test_arguments_that_are_no_utf8(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "launch.train", b"--workdir=" + bytes(tmp_path) + b"/\xff"],
        cwd=prepared.ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "\\udcff' is not UTF-8: choose another name" in done.stderr
    assert not list(tmp_path.iterdir())


def test_help_is_no_error():
    [end] = commands.run([["train", "--help"]])
    assert end.code == 0
    assert "--config.lambda1" in end.out
