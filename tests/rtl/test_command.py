"""python -m launch.rtl: what it prints, writes and refuses."""

import json

import pytest

from flightnn_jax import integer
from flightnn_jax.rtl import simulate
from tests.support import commands
from tests.support.networks_at_random import random_network


@pytest.fixture(scope="module")
def ended(tmp_path_factory):
    """How the command ends with each of these flags, in one process."""
    folder = tmp_path_factory.mktemp("command")
    file = folder / "net.safetensors"
    integer.save(random_network(12, "vgg", "shift2", size=4, width=2), file)
    verify = ["--verify=icarus", "--images=2"] if simulate.unavailable("icarus") is None else []
    lines = {
        "folds": ["--fold=image=3,conv1=2,3,2,2,conv2=4", *verify],
        "target": ["--target_cycles=200", "--device=ECP5-85"],
        "speed": ["--target_images_per_s=1000", "--least_queues"],
        "out of reach": ["--target_cycles=10"],
        "two targets": ["--target_cycles=10", "--target_images_per_s=5"],
        "no speed": ["--target_images_per_s=-1"],
        "no layer": ["--fold=conv9=1"],
        "no fold": ["--fold=conv1"],
        "twice": ["--fold=conv1=2,conv1=3"],
        "out": ["--out=/dev/null"],
        "five numbers": ["--fold=conv1=1,1,1,1,1"],
        "no simulator": ["--verify=modelsim"],
        "no style": ["--style=mixed"],
        "no mix": ["--wired=conv1"],
        "mixed": ["--style=mixed", "--target_cycles=40"],
    }
    start = ["rtl", f"--integers={file}"]
    words = [[*start, f"--out={folder / name}", *flags] for name, flags in lines.items()]
    return folder, dict(zip(lines, commands.run(words), strict=True))


def test_writes_what_the_flags_say(ended):
    folder, results = ended
    assert [results[name].code for name in ("folds", "target", "speed")] == [0, 0, 0]
    about = json.loads((folder / "folds" / "info.json").read_text())
    assert about["folds"]["conv1"] == {"lanes": 2, "inputs": 3, "terms": 2, "out": 2}
    assert about["digest"] == commands_digest(folder / "net.safetensors")
    assert f"an image every {about['interval']:,} cycles" in results["folds"].out
    assert json.loads((folder / "target" / "info.json").read_text())["interval"] <= 200
    if simulate.unavailable("icarus") is None:
        assert "icarus: 2 images, 5 layers, 0 mismatches" in results["folds"].out
        assert "icarus: last logits in cycles" in results["folds"].out


def test_which_layers_are_wires_is_chosen(ended):
    folder, results = ended
    assert results["mixed"].code == 0, results["mixed"].errors
    assert "wires: " in results["mixed"].out
    assert json.loads((folder / "mixed" / "info.json").read_text())["interval"] <= 40


def commands_digest(file):
    data = file.read_bytes()
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    return header["__metadata__"]["sha256"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "out of reach",
            "10 cycles an image are out of reach: with everything at once it takes",
        ),
        ("two targets", "give one of --fold, --target_cycles and --target_images_per_s"),
        ("no speed", "--target_images_per_s=-1.0: give a number above 0"),
        ("no layer", "fold of conv9: there is no such layer with weights; choose of image, conv1"),
        ("twice", "conv1 is there twice: give all its numbers at once"),
        ("out", "/dev/null: "),
        ("no fold", "--fold=conv1: 'conv1' is no LAYER=NUMBER, nor a NUMBER behind one"),
        ("five numbers", "--fold=conv1=1,1,1,1,1: 5 numbers for conv1: give at most 4"),
        ("no simulator", "choose of verilator, icarus"),
        ("no style", "--style=mixed: name layers with --wired, or give a target"),
        ("no mix", "--style=engine --wired=conv1: give --style=mixed with it"),
    ],
)
def test_wrong_flags_are_told_in_a_line(ended, name, message):
    result = ended[1][name]
    assert result.code == 2
    assert message in result.errors
    assert len(result.errors.splitlines()) == 1
