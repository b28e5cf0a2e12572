"""launch.estimate --integers: the same tables, less to import, and errors in one line."""

import dataclasses
import json
import subprocess
import sys

import pytest

from flightnn_jax.hardware import workload
from flightnn_jax.integer import Golden, files, inference
from launch import bounds
from tests.support import prepared
from tests.support.networks_at_random import random_images, random_network

# Starts the command where importing what only training needs fails.
WITHOUT = """
import runpy, sys
for name in ("flax", "optax", "tensorflow_datasets", "orbax"):
    sys.modules[name] = None
sys.argv = ["estimate", *sys.argv[1:]]
runpy.run_module("launch.estimate", run_name="__main__")
"""


def estimate(*arguments, code=WITHOUT):
    process = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=prepared.ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    return process.returncode, process.stdout, process.stderr


@pytest.fixture(scope="module")
def integers(tmp_path_factory):
    network = random_network(0, "vgg", "shift2")
    images = random_images(network, 2)
    outputs = {
        name: output.__array__()
        for name, output in inference.make_layer_outputs(network)(images).items()
    }
    path = tmp_path_factory.mktemp("integers") / "net.safetensors"
    files.save(dataclasses.replace(network, golden=Golden(images, outputs)), path)
    return path


def test_a_table_from_an_integer_network(integers):
    code, out, errors = estimate(f"--integers={integers}", "--style=engine", "--device=XC7Z020")
    assert (code, errors) == (0, "")
    lines = out.splitlines()
    assert lines[0].startswith("random_vgg in flightnn on XC7Z020 at 100 MHz, style engine")
    network = files.load(integers)
    assert [line.split()[0] for line in lines[4:7]] == [
        layer.name for layer in network.layers if hasattr(layer, "weights")
    ]
    assert "bits that change" not in out


@pytest.mark.quick(0)
def test_json_with_activity(integers):
    code, out, _ = estimate(f"--integers={integers}", "--activity", "--json", "--largest")
    assert code == 0
    record = json.loads(out)
    assert record["network"] == "random_vgg, conv2"  # 5 x 5 weights a pair of channels
    (layer,) = record["activity"]
    assert layer["name"] == "conv2"
    assert set(layer["distances"]) == {"activation", "weight", "product", "accumulator"}
    for part in ("operation_pj", "asic_nj", "constant_nj"):
        assert layer[part]["value"] > 0
        assert layer[part]["error"] == "±40 %"


@pytest.mark.quick(0)
@pytest.mark.parametrize(("flags", "message"), [
    (["--config=configs/digits.py"], "--integers and --config: an integer network has its layers"),
    (["--config.network=net4"], "--integers and --config.network: an integer network has"),
    (["--mean_k=1.5"], "--integers and --mean_k: an integer network has its layers and its k"),
    (["--device=XC1"], "XC1"),
])  # fmt: skip
def test_flags_that_quarrel(integers, flags, message):
    code, out, errors = estimate(f"--integers={integers}", *flags)
    assert (code, out) == (2, "")
    assert errors.startswith("error: ")
    assert message in errors
    assert errors.count("\n") == 1


def test_damaged_files(integers, tmp_path):
    data = bytearray(integers.read_bytes())
    data[-1] ^= 1
    damaged = tmp_path / "damaged.safetensors"
    damaged.write_bytes(data)
    for path, message in (
        (damaged, "sha256: the file's digest is not that of what it holds"),
        (tmp_path / "none.safetensors", "No such file"),
    ):
        code, out, errors = estimate(f"--integers={path}")
        assert (code, out) == (2, "")
        assert message in errors
        assert errors.count("\n") == 1


def test_nothing_to_count(tmp_path):
    path = tmp_path / "bare.safetensors"
    files.save(random_network(), path)
    code, _, errors = estimate(f"--integers={path}", "--activity")
    assert code == 2
    assert "random_vgg has no golden images, whose activity is counted" in errors
    code, _, errors = estimate("--activity", "--config=configs/digits.py:lightnn1")
    assert code == 2
    assert "--activity counts what an integer network computes: give --integers" in errors


def test_a_config_still_works():
    command = [sys.executable, "-m", "launch.estimate", "--config=configs/digits.py:lightnn1"]
    process = subprocess.run(
        command, cwd=prepared.ROOT, capture_output=True, text=True, check=False
    )
    assert process.returncode == 0, process.stderr
    assert process.stdout.startswith("net4 in lightnn1 on XC7Z045")


@pytest.mark.parametrize(
    ("share", "code", "line"),
    [(0.5, 3, "; the bound is broken: train in a new workdir"), (1.25, 0, "80.0 % of the bound")],
)
def test_tells_whether_the_budget_of_a_network_is_kept(capsys, share, code, line):
    work = workload.from_integers(random_network(0, "vgg", "shift2"))
    budget = f"{share * work.mean_k} k and 1e9 nJ"
    notes = {"config.budget": budget, "config.scheme": "flightnn", "config.device": "XC7Z020"}
    assert bounds.of_integers(work, notes) == code
    told = capsys.readouterr()
    assert line in (told.err if code else told.out)
    assert "budget 1000000000 nJ: " in told.out
    assert bounds.of_integers(work, {**notes, "config.scheme": "lightnn2"}) == 0
    assert bounds.of_integers(work, {**notes, "config.budget": 1.5}) == 0


def test_says_where_the_device_of_a_budget_is_not_known(capsys):
    notes = {"config.budget": "9 nJ", "config.scheme": "flightnn", "config.device": "gone.json"}
    assert bounds.of_integers(workload.from_integers(random_network(0)), notes) == 0
    assert "note: whether the budget 9 nJ is kept is not known" in capsys.readouterr().out
