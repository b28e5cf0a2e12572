"""Hard-wired layers: those of the generated Verilog, and what stands for layers that are large."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest

import flightnn_jax as fl
from flightnn_jax import rtl
from flightnn_jax.hardware import device, wires
from flightnn_jax.hardware.styles import generated, hardwired
from flightnn_jax.hardware.workload import LayerWork, Trained, from_integers, from_network
from flightnn_jax.integer.certificate import Range
from flightnn_jax.integer.weights import ShiftWeights
from flightnn_jax.rtl import counting, graph, wiring
from flightnn_jax.rtl import resources as rtl_resources
from flightnn_jax.rtl.architecture import Wired
from tests.support.networks_at_random import of_two_signs, random_network

BOARD = device.named("XC7Z045")


def layer(inputs, filters, side, kind="shift", k=1):
    shapes = (side, side, inputs), (side, side, filters)
    return LayerWork("x", (3, 3, inputs, filters), 1, *shapes, kind, (k,) * filters, 24, 4)


@pytest.mark.quick(0)
@pytest.mark.parametrize("weights", ["shift3", "integer"])
def test_hardwired_layers_are_the_generated_ones(weights):
    network = random_network(5, "vgg", weights=weights)
    work = from_integers(network)
    values = {x.name: hardwired.at_once(x, 3 * x.positions) for x in work.layers}
    folds = {name: rtl.Fold(out=n) for name, n in values.items()}
    machine = rtl.machine_of(network, folds, list(values))
    stages = {s.layer: s for s in machine.stages if isinstance(s, Wired)}
    for one in work.layers:
        stage, n = stages[one.name], values[one.name]
        behind = generated.requantize(one, one.accumulator_bits, n)
        said = hardwired.resources(one, BOARD, n)
        after = rtl_resources.of_instance(behind)
        found = rtl_resources.of(stage)
        # The generator sorts channels and filters, and shares other sub-sums where several may be.
        assert said.lut - after.lut == pytest.approx(found.lut, rel=0.03, abs=1)
        assert said.ff - after.ff == pytest.approx(found.ff, rel=0.03)
        assert (said.bram, said.dsp - after.dsp) == (found.bram, 0)
        moves = stage.source.pixels + stage.lag
        assert hardwired.cycles(one, n) == max(moves, stage.output.total)


@pytest.mark.quick(0)
def test_parts_stand_for_whole_layers():
    drawn = wires.drawn("shift", 1, (324, 16))
    ends = Range(*(np.full(324, end) for end in wires.INPUTS))
    whole = graph.cost(wiring.build(drawn, ends), wiring.EVERY)
    planned = wires.adders(layer(36, 16, 8))
    assert not planned.whole
    assert 1 <= planned.cost.lut / whole.lut <= hardwired.PART_ERROR
    own = ShiftWeights(
        np.sign(drawn).astype(np.int8).reshape(1, 3, 3, 36, 16),
        np.log2(np.abs(drawn)).astype(np.uint8).reshape(1, 3, 3, 36, 16),
        np.ones(16, np.uint8),
    )
    inputs = Range(*(np.full(36, end) for end in wires.INPUTS))
    trained = dataclasses.replace(layer(36, 16, 8), trained=Trained(own, inputs))
    found = wires.adders(trained)
    assert not found.whole
    assert 1 <= found.cost.lut / whole.lut <= hardwired.PART_ERROR
    few = dataclasses.replace(layer(36, 16, 8), k=(1,) * 4 + (0,) * 12)
    assert hardwired.luts(few) == pytest.approx(hardwired.luts(layer(36, 16, 8)) / 4, rel=0.01)


def signs_of(inputs, filters, kind="binary"):
    return dataclasses.replace(layer(inputs, filters, 8, kind), signs=True)


@pytest.mark.quick(0)
@pytest.mark.whole(1)
@pytest.mark.parametrize("kind", ["binary", pytest.param("fp4", marks=pytest.mark.slow)])
def test_parts_stand_for_whole_layers_of_signs(kind):
    drawn = wires.drawn(kind, 1, (9 * 48, 16))
    whole = graph.cost(counting.build(drawn, 3), wiring.EVERY)
    planned = wires.adders(signs_of(48, 16, kind))
    assert planned.signs
    assert not planned.whole
    assert planned.cost.lut == pytest.approx(whole.lut, rel=hardwired.PART_ERROR - 1)
    assert planned.cost.ff == pytest.approx(whole.ff, rel=hardwired.PART_ERROR - 1)
    sums = wires.adders(layer(48, 16, 8, kind)).cost
    assert planned.cost.lut < 0.7 * sums.lut


def test_layers_of_signs_are_the_generated_ones():
    network = of_two_signs(random_network(5, "vgg", "binary", slope=1))
    one = next(x for x in from_integers(network).layers if x.name == "conv2")
    machine = rtl.machine_of(network, wired=["conv2"])
    (stage,) = (s for s in machine.stages if isinstance(s, Wired))
    n = stage.output.values
    after = rtl_resources.of_instance(generated.requantize(one, one.accumulator_bits, n))
    said, found = hardwired.resources(one, BOARD, n), rtl_resources.of(stage)
    assert said.lut - after.lut == pytest.approx(found.lut, rel=0.03, abs=1)
    assert said.ff - after.ff == pytest.approx(found.ff, rel=0.03)


@pytest.mark.parametrize(("kind", "k"), [("shift", 1), ("shift", 2), ("fp4", 1)])
def test_planned_weights_are_stored_as_formats_store_them(kind, k):
    rule = fl.FixedPoint(bits=4) if kind == "fp4" else fl.Shift(k=k)
    normal = jnp.asarray(np.random.default_rng(0).standard_normal((18, 5)), jnp.float32)
    stored = rule.encode(normal).to_weights().weights.integers()
    np.testing.assert_array_equal(wires.drawn(kind, k, (18, 5)), stored)


@pytest.mark.quick(0)
def test_hardwired_shifts_have_no_advantage():
    one, fixed, two = (
        hardwired.luts(layer(8, 16, 6, *x)) for x in (("shift",), ("fp4",), ("shift", 2))
    )
    assert 1 / hardwired.RATIO_ERROR < one / fixed < hardwired.RATIO_ERROR < two / fixed
    with pytest.raises(ValueError, match="format 'full' cannot be hard-wired"):
        hardwired.luts(from_network("net4", "full").layers[0])


def test_hardwired_sums_leave_as_fast_as_windows_come():
    work = layer(4, 6, 8)
    assert hardwired.cycles(work) == 8 * 8 + 9  # a row and a pixel push the last windows out
    assert [hardwired.at_once(work, n) for n in (63, 64, 128, 191, 192)] == [6, 6, 3, 3, 2]
    assert hardwired.resources(work, BOARD).dsp == 6  # the affine maps of six sums
    dense = from_network("net7", "lightnn1").layers[-1]
    assert hardwired.cycles(dense) == 1
