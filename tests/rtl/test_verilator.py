"""The paper's networks, narrow, and most of them as programs that Verilator makes."""

import dataclasses

import pytest

from flightnn_jax import rtl
from flightnn_jax.rtl import folding, simulate
from tests.rtl import machines
from tests.rtl.layers import needs
from tests.support.networks_at_random import of_signs, random_paper


@pytest.mark.whole(1)
@needs("verilator")
@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "weights", "target"), [("net4", "integer", 4_000), ("net1", "binary", 3_000)]
)
def test_paper_networks(name, weights, target, tmp_path):
    network = random_paper(name, width=8, size=16, weights=weights)
    if weights == "binary":
        network = of_signs(dataclasses.replace(network, slope=1))
    machine = rtl.machine_of(network, folding.cheapest(network, target))
    given = machines.images(network, 4)
    run = machines.assert_equal(network, machine, tmp_path, given, "verilator")
    ends = rtl.Ends(gaps=120, stalls=200, seed=3)
    stalled = simulate.run(tmp_path, machine, given, "verilator", ends)
    assert simulate.differences(run.outputs, stalled).count == 0
    assert stalled.ends(4)[-1] > run.ends(4)[-1]


@pytest.mark.exhaustive
@needs("iverilog")  # Verilator takes a minute to compile its 30 layers
@pytest.mark.slow
def test_a_residual_network_of_the_paper(tmp_path):
    network = random_paper("net2", width=8, size=8, weights="shift2")
    machine = rtl.machine_of(network, folding.cheapest(network, 3_000))
    machines.assert_equal(network, machine, tmp_path, machines.images(network, 1))
