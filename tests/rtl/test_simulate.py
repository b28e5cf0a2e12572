"""Generated Verilog, simulated: every integer of every layer is that of the checker."""

import dataclasses

import numpy as np
import pytest

from flightnn_jax import integer, rtl
from flightnn_jax.integer import verify
from flightnn_jax.rtl import folding, simulate, tools
from flightnn_jax.rtl.architecture import Convolve, Queue
from tests.rtl import machines
from tests.rtl.layers import needs
from tests.support.networks_at_random import of_levels, of_signs, random_chain, random_network

pytestmark = needs("iverilog")


@pytest.mark.whole(2)
@pytest.mark.parametrize(
    ("kind", "weights", "terms", "extreme", "seed"),
    [
        ("vgg", "integer", None, True, 1),
        ("resnet", "shift3", 2, False, None),
        ("resnet", "binary", None, False, 2),
        ("resnet", "shift1", None, True, None),
    ],
)
@pytest.mark.quick(1)
def test_every_layer_is_equal(kind, weights, terms, extreme, seed, tmp_path):
    network = random_network(3, kind, weights, terms, extreme, width=2)
    machine = rtl.machine_of(network, machines.folds(network, seed))
    given = machines.images(network, 2)
    machines.assert_equal(network, machine, tmp_path, given)


@pytest.mark.whole(1)
@pytest.mark.parametrize(("kind", "width", "seed"), [("resnet", 4, 2), ("vgg", 9, None)])
@pytest.mark.quick(1)
def test_signs_are_counted(kind, width, seed, tmp_path):
    """Weights of -1 and 1, and in most layers activations of -1, 0 and 1."""
    network = of_signs(random_network(3, kind, "binary", width=width, slope=1))
    machine = rtl.machine_of(network, machines.folds(network, seed))
    engines = [stage for stage in machine.stages if isinstance(stage, Convolve)]
    assert {stage.bits for stage in engines} == {1}
    assert 0 < sum(stage.signs for stage in engines) < len(engines)
    machines.assert_equal(network, machine, tmp_path, machines.images(network, 2))


@pytest.mark.slow
def test_levels_are_looked_up(tmp_path):
    """Beside activations of 8 bits, which tables read in parts."""
    network = of_levels(random_network(3, "vgg", "codebook", width=4))
    machine = rtl.machine_of(network, machines.folds(network, 2))
    engines = [stage for stage in machine.stages if isinstance(stage, Convolve)]
    assert [stage.kept for stage in engines] == [8, 3, 3]
    assert [stage.lookup.parts for stage in engines] == [3, 1, 1]
    machines.assert_equal(network, machine, tmp_path, machines.images(network, 2))


@pytest.mark.quick(0)
def test_signs_of_maps_of_any_shape(tmp_path):
    """Not square, and windows that lie outside of the map."""
    chain = dataclasses.replace(
        random_chain(5, (6, 7, 1), (1, 3, 5), "binary"), slope=1, affine_terms=None
    )
    network = of_signs(chain)
    machine = rtl.machine_of(network, machines.folds(network, 5))
    machines.assert_equal(network, machine, tmp_path, machines.images(network, 2))


@pytest.mark.quick(0)
def test_stalls_at_both_ends_change_nothing(tmp_path):
    network = random_network(4, "resnet", "shift2", width=2)
    machine = rtl.machine_of(network, machines.folds(network))
    ends = rtl.Ends(gaps=100, stalls=200, seed=7)
    machines.assert_equal(network, machine, tmp_path, machines.images(network, 2), ends=ends)


@pytest.mark.exhaustive
@pytest.mark.slow
def test_every_queue_that_is_too_short_stops_the_machine(tmp_path):
    network = random_network(4, "resnet", "shift2", width=2)
    machine = rtl.machine_of(network, machines.folds(network, 1), least=True)
    queues = [stage for stage in machine.stages if isinstance(stage, Queue)]
    assert [queue.depth for queue in queues] == [6, 4]
    given = machines.images(network, 1)
    machines.assert_equal(network, machine, tmp_path / "runs", given)
    ends = rtl.Ends(patience=2 * folding.interval(machine))
    for queue in queues:
        shorter, folder = machines.with_depth(machine, queue.name), tmp_path / queue.name
        rtl.write(network, shorter, folder)
        with pytest.raises(rtl.StoppedError, match="0 of 5 logits"):
            simulate.run(folder, shorter, given, "icarus", ends)


@pytest.mark.whole(2)
@pytest.mark.parametrize("seed", [4, 5, 14, 25])
@pytest.mark.quick(1)
def test_networks_of_any_shape(seed, tmp_path):
    """Not square, one channel, strides that pass over rows, an image that is read twice."""
    rng = np.random.default_rng(seed)
    shape = (*rng.integers(1, 9, 2).tolist(), int(rng.choice([1, 2, 3, 5])))
    network = random_chain(seed, shape, windows=(1, 3, 5))
    machine = rtl.machine_of(network, machines.folds(network, seed))
    machines.assert_equal(network, machine, tmp_path, machines.images(network, 2))


def test_a_path_of_verify(tmp_path):
    network = random_network(12, "vgg", "shift1", size=4, width=2)
    run = verify.SIMULATORS["icarus"].runner(network)
    given = machines.images(network, 3)
    found, right = run(given), machines.expected(network, given, tmp_path)
    assert set(found) == set(right)
    for name, values in found.items():
        np.testing.assert_array_equal(values, right[name])


def test_a_difference_is_named():
    network = random_network(3, "vgg", width=2)
    zeros = {layer.name: np.zeros((2, 1, 1, 4), np.int64) for layer in network.layers}
    wrong = {name: array.copy() for name, array in zeros.items()}
    wrong["conv2"][1, 0, 0, 3] = -7
    found = simulate.differences(zeros, simulate.Run(wrong, {}))
    text = "first mismatch in layer conv2, channel 3, pixel (0, 0), image 1: -7 instead of 0"
    assert found == simulate.Differences(1, text)
    assert simulate.differences(zeros, simulate.Run(zeros, {})) == simulate.Differences(0, "")


def test_a_simulator_that_is_not_there_is_told(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", "")
    assert "verilator, g++, make is not installed" in simulate.unavailable("verilator")
    with pytest.raises(rtl.SimulationError, match="iverilog, vvp is not installed: see docs/rtl"):
        simulate.build(tmp_path, "icarus")


def test_what_a_simulator_says_is_told(tmp_path):
    network = random_network(3, "vgg", width=2)
    machine = rtl.machine_of(network)
    rtl.write(network, machine, tmp_path)
    (tmp_path / "top.v").write_text("module top (;")
    with pytest.raises(rtl.SimulationError, match=r"iverilog in .*top\.v:1: syntax error"):
        simulate.run(tmp_path, machine, machines.images(network, 1), "icarus")


def test_programs_that_fail_or_do_not_end(tmp_path):
    with pytest.raises(tools.ToolError, match="no_such_program is not installed: see docs"):
        tools.run(["no_such_program"], tmp_path)
    with pytest.raises(tools.ToolError, match=r"sh in .* fails: exit code 3"):
        tools.run(["sh", "-c", "exit 3"], tmp_path)
    words = ["sh", "-c", "echo a line; echo an Error; exit 1"]
    with pytest.raises(rtl.SimulationError, match=r"sh in .* fails: an Error"):
        tools.run(words, tmp_path, error=rtl.SimulationError)
    with pytest.raises(tools.TimeLimitError, match="does not end within 0 s"):
        tools.run(["sleep", "9"], tmp_path, seconds=0)
    assert tools.run(["sh", "-c", "echo said; exit 3"], tmp_path, fine=(0, 3)) == "said\n"


def test_the_files_alone_compare_their_golden_images(tmp_path):
    """As docs/rtl.md says: `make icarus`, and other images by hand."""
    network = random_network(3, "vgg", "shift1", size=4, width=2)
    given = machines.images(network, 2)
    outputs = machines.expected(network, given, tmp_path)
    logits = outputs["average"].reshape(2, 5)
    golden = dataclasses.replace(network, golden=integer.Golden(given, outputs))
    machine = rtl.machine_of(golden, machines.folds(golden))
    rtl.write(golden, machine, tmp_path)
    simulate.run(tmp_path, machine, given[::-1], "icarus")  # and leaves their files alone
    assert "EQUAL" in tools.run(["make", "icarus"], tmp_path)
    own = (tmp_path / "images.hex").read_text().splitlines()
    (tmp_path / "own.hex").write_text("\n".join(own[16:] + own[:16]))
    said = tools.run(["vvp", "-N", "icarus.vvp", "+images=own.hex"], tmp_path)
    found = [int(line.split(": ")[1]) for line in said.splitlines() if line.startswith("logit")]
    assert found == [*logits[1], *logits[0]]
    (tmp_path / "logits.hex").write_text("0\n" * 10)
    with pytest.raises(tools.ToolError):
        tools.run(["make", "icarus"], tmp_path)
