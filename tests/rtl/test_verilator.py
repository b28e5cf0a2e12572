"""The paper's networks, narrow, as programs that Verilator makes: every integer and every cycle."""

import dataclasses

import pytest

from flightnn_jax import rtl
from flightnn_jax.rtl import folding, simulate
from tests.rtl import machines
from tests.rtl.layers import needs
from tests.support.networks_at_random import of_signs, random_paper


@needs("verilator")
@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "width", "weights", "target"),
    [("net2", 4, "shift2", 3_000), ("net4", 8, "integer", 4_000), ("net1", 8, "binary", 3_000)],
)
def test_paper_networks(name, width, weights, target, tmp_path):
    network = random_paper(name, width=width, size=16, weights=weights)
    if weights == "binary":
        network = of_signs(dataclasses.replace(network, slope=1))
    machine = rtl.machine_of(network, folding.cheapest(network, target))
    given = machines.images(network, 4)
    run = machines.assert_equal(network, machine, tmp_path, given, "verilator")
    ends = rtl.Ends(gaps=120, stalls=200, seed=3)
    stalled = simulate.run(tmp_path, machine, given, "verilator", ends)
    assert simulate.differences(run.outputs, stalled).count == 0
    assert stalled.ends(4)[-1] > run.ends(4)[-1]
