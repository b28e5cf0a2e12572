"""The proof of hard-wired layers holds for right netlists, and for no wrong one."""

import collections
import itertools

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from flightnn_jax.integer.certificate import Range
from flightnn_jax.rtl import affine, hardwired, netlist, tools, wiring
from flightnn_jax.rtl import graph as graphs
from tests.rtl import mutants
from tests.rtl.layers import KINDS, any_of, needs, weights_of

pytestmark = needs("yosys")
BITS = 24
TAPS, FILTERS = 9, 4


def read(weights, inputs, every=1):
    graph = wiring.build(weights, inputs)
    return graph, netlist.from_verilog(hardwired.verilog(graph, "wired", every, BITS), "wired")


@pytest.fixture(scope="module", params=KINDS)
def wired(request):
    """Weights, ranges and the netlist of a layer."""
    weights, inputs = weights_of(request.param, (TAPS, FILTERS), 1), any_of(TAPS, 1)
    return weights, inputs, read(weights, inputs)[1]


def numbers(bits):
    """[cycles, filters] of [cycles, bits of y]."""
    words = bits.reshape(len(bits), -1, BITS).astype(np.int64)
    value = (words << np.arange(BITS)).sum(axis=-1)
    return value - (value >> (BITS - 1) << BITS)


def simulate(parsed, x):
    bits = (x[:, :, None] >> np.arange(8) & 1).reshape(len(x), -1)
    return numbers(netlist.simulate(parsed, bits.astype(np.uint8)))


def images(inputs, count=1500):
    """[cycles, taps] all corners of the ranges, and noise."""
    corners = np.array(list(itertools.product(*zip(*inputs, strict=True))))
    rng = np.random.default_rng(0)
    noise = rng.integers(inputs.low, inputs.high + 1, (count, len(inputs.low)))
    return rng.permutation(np.concatenate([corners, noise]))


@pytest.mark.parametrize(("every", "share"), [(0, True), (1, True), (2, False)])
def test_right_netlists_are_proven(every, share):
    weights, inputs = weights_of("shift2", (12, 5), 7), any_of(12, 7)
    graph, parsed = read(weights, inputs, every)
    proof = affine.prove(parsed, weights, inputs)
    assert proof.latency == graphs.schedule(graph, every).latency
    assert proof.adders == len(graph.adders)
    assert share or proof.registers


def test_a_simulated_netlist_gives_the_sums(wired):
    weights, inputs, parsed = wired
    latency = affine.prove(parsed, weights, inputs).latency
    x = images(inputs, 50)
    assert_array_equal(simulate(parsed, x)[latency:], (x @ weights)[: len(x) - latency])


@pytest.mark.whole(2)
@pytest.mark.quick(0)
def test_mutated_netlists_are_not_proven(wired):
    weights, inputs, parsed = wired
    right = affine.prove(parsed, weights, inputs)
    x = images(inputs)
    expected = (x @ weights)[: len(x) - right.latency]
    rng = np.random.default_rng(2)
    seen = collections.Counter()
    for kind in mutants.KINDS * 6:
        wrong = mutants.mutant(rng, parsed, kind)
        if wrong is None:
            continue
        try:
            same = np.array_equal(simulate(wrong, x)[right.latency :], expected)
        except ValueError:  # a loop
            same = False
        if not same:
            seen[kind] += 1
            with pytest.raises(affine.NotProvenError):
                affine.prove(wrong, weights, inputs)
    assert set(seen) >= set(mutants.KINDS) - {"another word"}  # there may be none of its width
    assert seen.total() >= 40


def test_wrong_weights_and_wider_ranges_are_not_proven(wired):
    weights, inputs, parsed = wired
    other = weights.copy()
    other[3, 1] += 1
    with pytest.raises(affine.NotProvenError, match="filter 1: the weight of tap 3 is"):
        affine.prove(parsed, other, inputs)
    anything = Range(np.full(TAPS, -128), np.full(TAPS, 127))
    with pytest.raises(affine.NotProvenError, match="it is extended, and needs more"):
        affine.prove(parsed, weights, anything)


MODULE = """
module wired (input clk, input enable, input [15:0] x, output [19:0] y);
    wire signed [7:0] a = x[7:0], b = x[15:8];
    {body}
endmodule
"""
WEIGHTS = np.array([[1, 3], [2, -1]])
ANY = Range(np.full(2, -128), np.full(2, 127))


def tell(body):
    affine.prove(netlist.from_verilog(MODULE.format(body=body), "wired"), WEIGHTS, ANY)


@pytest.mark.parametrize(
    "body",
    [
        "wire signed [9:0] s = a + 2 * b, t = a + a + a - b; assign y = {t, s};",
        "wire signed [9:0] s = a + (b <<< 1), t = (a <<< 2) - a - b; assign y = {t, s};",
        # what goes over is the same modulo 2**10
        "wire signed [8:0] r = a - b; wire signed [9:0] s = a + b + b; assign y = {s + s - a - b"
        " - b + r + a - b - b, s};",
    ],
)
def test_other_ways_to_the_same_sums_are_proven(body):
    tell(body)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("wire signed [9:0] s = a + b; assign y = {s, s};", "filter 0: the weight of tap 1 is 1"),
        ("wire signed [8:0] s = a + b + b; assign y = {s, 1'b0, s};", "a sum from -384 to 381"),
        ("wire signed [9:0] s = a + (b | 1); assign y = {s, s};", r"a cell \$or"),
        ("wire signed [9:0] s = a + b + 1; assign y = {s, s};", "are no shifted word"),
        ("reg signed [9:0] s; always @(posedge clk) s <= a - b; assign y = {s, s};", "clk and"),
        ("reg signed [9:0] s; always @(negedge clk) if (enable) s <= a; assign y = s;", "clk and"),
        ("reg signed [7:0] c; always @(posedge clk) if (enable) c <= a;"
         "wire signed [9:0] s = c + b; assign y = {s, s};", "registers: it must be as many"),
        ("reg signed [7:0] c; always @(posedge clk) if (enable) c <= a + b;"
         "assign y = {10'd0, {2{c[7]}}, c};", "8 bits of a sum from -256 to 254"),
        ("wire [9:0] s = s + a; assign y = {s, s};", "loop"),
        ("assign y = {a[7:1], a, 5'd0};", "in 10 bits: give it more"),
        ("assign y = {3'd0, a[7:1], 10'd0};", "no shifted word"),
        ("assign y = {2'd0, a, 10'd0};", "8 bits of a sum from -128 to 127: it is extended"),
        ("assign y = {a[6], a[7], a, 10'd0};", "others than its sign or zeros"),
    ],
)  # fmt: skip
def test_other_sums_are_not(body, reason):
    with pytest.raises(affine.NotProvenError, match=reason):
        tell(body)


def test_yosys_tells_what_it_refuses():
    with pytest.raises(tools.ToolError, match=r"yosys in .* fails: .*rror"):
        netlist.from_verilog("module wired (", "wired")
