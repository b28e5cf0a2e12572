"""Networks some or all of whose weights are wires, simulated: every integer is the checker's."""

import pytest

from flightnn_jax import integer, rtl
from flightnn_jax.rtl import affine, certify
from flightnn_jax.rtl.architecture import Convolve, Wired
from tests.rtl import machines
from tests.rtl.layers import needs
from tests.support import commands
from tests.support.networks_at_random import of_signs, random_network


@needs("yosys")
def test_wired_layers_are_proven_from_their_files(tmp_path):
    network = random_network(3, "resnet", "shift2", width=2)
    machine = rtl.machine_of(network, wired=["conv1", "block2_first", "dense"])
    rtl.write(network, machine, tmp_path)
    proofs = dict(certify.prove_layers(network, machine, tmp_path))
    graphs = {stage.layer: stage.graph for stage in machine.stages if isinstance(stage, Wired)}
    assert {name: proof.adders for name, proof in proofs.items()} == {
        name: len(graph.adders) for name, graph in graphs.items()
    }
    file = tmp_path / "modules" / "fl_adders_block2_first_sums.v"
    file.write_text(file.read_text().replace(" - ", " + ", 1))
    with pytest.raises(affine.NotProvenError, match=r"the weight of tap|and needs more"):
        list(certify.prove_layers(network, machine, tmp_path))


@needs("iverilog")
@pytest.mark.parametrize(
    ("kind", "weights", "wired", "out", "gaps"),
    [
        ("vgg", "shift2", ("conv1", "conv2", "conv3"), 1, 0),
        ("vgg", "integer", ("conv2",), 4, 60),
        ("vgg", "codebook", ("conv1", "conv2", "conv3"), 1, 0),
        ("resnet", "shift1", ("conv1", "block1_first", "block2_second", "dense"), 1, 0),
        pytest.param(
            "resnet",
            "shift3",
            ("block1_second", "block2_first", "block2_shortcut"),
            2,
            60,
            marks=pytest.mark.slow,  # another residual network, which Icarus runs for seconds
        ),
    ],
)
@pytest.mark.quick(1)
def test_every_layer_is_equal(kind, weights, wired, out, gaps, tmp_path):
    network = random_network(3, kind, weights, width=2)
    folds = machines.folds(network, 1)
    folds |= {name: rtl.Fold(out=out) for name in wired if name != "dense"}
    machine = rtl.machine_of(network, folds, wired)
    found = [stage.name for stage in machine.stages if isinstance(stage, Wired)]
    assert len(found) == len(wired)
    assert len(wired) == 3 or any(isinstance(stage, Convolve) for stage in machine.stages)
    ends = rtl.Ends(gaps=gaps, stalls=gaps, seed=2) if gaps else None
    machines.assert_equal(network, machine, tmp_path, machines.images(network, 2), ends=ends)


@needs("iverilog")
@pytest.mark.slow
def test_wires_of_signs_and_engines_beside_them(tmp_path):
    network = of_signs(random_network(3, "resnet", "binary", width=2, slope=1))
    wired = ("block1_first", "block1_second", "block2_second", "dense")
    machine = rtl.machine_of(network, machines.folds(network, 1), wired)
    machines.assert_equal(network, machine, tmp_path, machines.images(network, 2))


def test_layers_that_are_not_there_cannot_be_wired():
    network = random_network(3, "vgg", "shift2")
    with pytest.raises(rtl.FoldError, match="fold of pool1: there is no such layer"):
        rtl.machine_of(network, wired=["pool1"])


def test_flags_that_contradict_each_other(tmp_path):
    integer.save(random_network(3, "vgg", "shift2"), tmp_path / "net.safetensors")
    words = ["rtl", f"--integers={tmp_path}/net.safetensors", f"--out={tmp_path}/rtl"]
    flags = {
        "--wired=conv1": "--style=engine --wired=conv1: give --style=mixed with it",
        "--style=mixed": "name layers with --wired, or give a target",
        "--style=hardwired --wired=conv1": "--style=hardwired --wired=conv1: give --style=mixed",
    }
    ended = commands.run([[*words, *some.split()] for some in [*flags, "--style=hardwired"]])
    for end, told in zip(ended, flags.values(), strict=False):
        assert end.code == 2
        assert told in end.errors
    assert (ended[-1].code, ended[-1].errors) == (0, "")
    assert (tmp_path / "rtl" / "modules" / "fl_wired_conv1_sums.v").is_file()
