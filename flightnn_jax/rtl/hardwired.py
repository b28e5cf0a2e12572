"""A graph of adders as a Verilog-2001 module, one window a cycle.

    module NAME (input clk, input enable, input [8 taps - 1:0] x, output [bits filters - 1:0] y);

x has a byte for each tap, the first in the lowest bits; y the sums, each extended to the same
width. While `enable` is high, all registers move on at each rising edge of `clk`, and y is that of
the x of `latency` such edges before. There is no reset: whoever reads y counts along.

`affine` proves a module from what Yosys reads in it.
"""

import textwrap
from collections.abc import Iterator

import numpy as np

from flightnn_jax.rtl.architecture import Wired
from flightnn_jax.rtl.graph import Adder, Graph, Schedule, Term, schedule

INPUT_BITS = 8


def verilog(graph: Graph, name: str, every: int = 1, output_bits: int | None = None) -> str:
    """The text of the module.

    Args:
      graph: of a layer whose inputs are activations of 8 bits.
      name: of the module.
      every: levels of adders between registers, 0 for no registers.
      output_bits: of each sum; by default as many as the widest needs.

    Raises:
      ValueError: if the sums need more bits.
    """
    needed = sum_bits(graph)
    bits = needed if output_bits is None else output_bits
    if bits < needed:
        raise ValueError(f"{name}: sums of {bits} bits: they need {needed}; give no fewer")
    module = _Module(graph, schedule(graph, every))
    body = "\n".join([*module.inputs(), *module.adders(), *module.registers()])
    return _TEXT.format(
        name=name,
        taps=graph.taps,
        filters=len(graph.outputs),
        adders=len(graph.adders),
        latency=module.plan.latency,
        x=INPUT_BITS * graph.taps - 1,
        y=bits * len(graph.outputs) - 1,
        body=textwrap.indent(body, "    "),
        sums=",\n        ".join(reversed([module.output(term, bits) for term in graph.outputs])),
    )


def sum_bits(graph: Graph) -> int:
    """Bits that hold every output in two's complement."""
    shifted = [
        graph.width(term.value) + term.shift + (not graph.signed(term.value))
        for term in graph.outputs
        if term
    ]
    return max(shifted, default=1)


_TEXT = """\
// Sums of {taps} activations with constant weights for {filters} filters: {adders} adders.
// One window a cycle, {latency} cycles from x to y; registers move while enable is high.
// Weights of zero, and ranges that are known, leave some bits unread.
/* verilator lint_off UNUSED */
module {name} (
    input wire clk,
    input wire enable,
    input wire [{x}:0] x,
    output wire [{y}:0] y
);
{body}
    assign y = {{
        {sums}
    }};
endmodule
/* verilator lint_on UNUSED */
"""


def modules(wired: Wired, name: str) -> dict[str, str]:
    """The texts of the modules of a stage, by their names: fl_wired_NAME is the whole of it."""
    adders = f"fl_adders_{name}"
    return {
        f"fl_wired_{name}": _stage(wired, f"fl_wired_{name}", adders),
        adders: verilog(wired.graph, adders, wired.every, wired.output.bits),
    }


def _stage(wired: Wired, name: str, adders: str) -> str:
    source, output = wired.source, wired.output
    return _STAGE.format(
        name=name,
        adders=adders,
        height=source.shape[0],
        width=source.shape[1],
        size=wired.size,
        stride=wired.stride,
        pixel=INPUT_BITS * source.values,
        window=wired.size**2 * INPUT_BITS * source.values - 1,
        filters=output.shape[2],
        bits=output.bits,
        sums=output.shape[2] * output.bits - 1,
        out=output.values,
        beat=output.values * output.bits,
        beats=output.beats,
        latency=schedule(wired.graph, wired.every).latency,
    )


_STAGE = """\
// Pixels to windows, windows to sums, sums to beats. What is between the buffers waits while a
// window is complete and the one before it has not left.
module {name} #(
    parameter BLOCK = 0
) (
    input wire clk,
    input wire rst,
    input wire in_valid,
    output wire in_ready,
    input wire [{pixel}-1:0] in_data,
    output wire out_valid,
    input wire out_ready,
    output wire [{beat}-1:0] out_data
);
    localparam LATENCY = {latency};
    wire [{window}:0] x;
    wire [{sums}:0] y;
    wire pixel_valid, pixel_taken, valid, results_ready, results_valid, results_taken;
    wire [{pixel}-1:0] pixel;
    wire [{beat}-1:0] results_data;
    reg [LATENCY-1:0] there;
    wire [LATENCY:0] followed = {{there, valid}};
    wire complete = followed[LATENCY];
    wire enable = !complete || results_ready;

    always @(posedge clk) begin
        if (rst) there <= {{LATENCY{{1'b0}}}};
        else if (enable) there <= followed[LATENCY-1:0];
    end

    fl_buffer #(
        .WIDTH({pixel})
    ) arrivals (
        .clk(clk),
        .rst(rst),
        .in_valid(in_valid),
        .in_ready(in_ready),
        .in_data(in_data),
        .out_valid(pixel_valid),
        .out_ready(pixel_taken),
        .out_data(pixel)
    );

    fl_windows #(
        .BITS({pixel}),
        .HEIGHT({height}),
        .WIDTH({width}),
        .SIZE({size}),
        .STRIDE({stride}),
        .BLOCK(BLOCK)
    ) windows (
        .clk(clk),
        .rst(rst),
        .in_valid(pixel_valid),
        .in_ready(pixel_taken),
        .in_data(pixel),
        .enable(enable),
        .valid(valid),
        .x(x)
    );

    {adders} adders (
        .clk(clk),
        .enable(enable),
        .x(x),
        .y(y)
    );

    fl_results #(
        .LANES({filters}),
        .WIDTH({bits}),
        .VALUES({out}),
        .BEATS({beats}),
        .REST({beats}),
        .PASSES(1)
    ) results (
        .clk(clk),
        .rst(rst),
        .valid(complete),
        .ready(results_ready),
        .sums(y),
        .out_valid(results_valid),
        .out_ready(results_taken),
        .out_data(results_data)
    );

    fl_buffer #(
        .WIDTH({beat})
    ) departures (
        .clk(clk),
        .rst(rst),
        .in_valid(results_valid),
        .in_ready(results_taken),
        .in_data(results_data),
        .out_valid(out_valid),
        .out_ready(out_ready),
        .out_data(out_data)
    );
endmodule
"""


class _Module:
    """The parts of the text."""

    def __init__(self, graph: Graph, plan: Schedule) -> None:
        self.graph = graph
        self.plan = plan
        self._last = self._last_slots()

    def _last_slots(self) -> np.ndarray:
        """[values] the last slot in which each is read."""
        last = self.plan.slots.copy()
        for value, adder in enumerate(self.graph.adders, self.graph.taps):
            for term in adder.terms:
                last[term.value] = max(last[term.value], self.plan.slots[value])
        for output in self.graph.outputs:
            if output:
                last[output.value] = self.plan.latency
        return last

    def inputs(self) -> Iterator[str]:
        """The taps that are read."""
        read = {term.value for adder in self.graph.adders for term in adder.terms}
        read |= {term.value for term in self.graph.outputs if term}
        for tap in sorted(value for value in read if value < self.graph.taps):
            width = self.graph.width(tap)
            yield f"wire [{width - 1}:0] v{tap} = x[{INPUT_BITS * tap} +: {width}];"

    def adders(self) -> Iterator[str]:
        """A wire for each sum."""
        for value, adder in enumerate(self.graph.adders, self.graph.taps):
            width = self.graph.width(value)
            yield f"wire [{width - 1}:0] v{value} = {self._sum(adder, width, value)};"

    def _sum(self, adder: Adder, width: int, value: int) -> str:
        slot = int(self.plan.slots[value])
        terms = sorted(adder.terms, key=lambda term: term.negative)
        texts = [self._extended(term, width, slot) for term in terms]
        if len(texts) == 1:
            return f"{width}'d0 - {texts[0]}"
        return f"{texts[0]} {'-' if terms[1].negative else '+'} {texts[1]}"

    def _extended(self, term: Term, width: int, slot: int) -> str:
        """A shifted term as so many bits, in a slot."""
        if term.shift >= width:  # what is added to a multiple of itself may leave fewer bits
            return f"{width}'d0"
        name, own = self._name(term.value, slot), self.graph.width(term.value)
        above = width - own - term.shift
        parts = [name if above >= 0 else f"{name}[{own + above - 1}:0]"]
        if above > 0:
            top = f"{name}[{own - 1}]" if self.graph.signed(term.value) else "1'b0"
            parts.insert(0, f"{{{above}{{{top}}}}}")
        if term.shift:
            parts.append(f"{term.shift}'d0")
        return f"{{{', '.join(parts)}}}" if len(parts) > 1 else parts[0]

    def _name(self, value: int, slot: int) -> str:
        """Of a value in a slot."""
        delay = slot - int(self.plan.slots[value])
        return f"v{value}_{delay}" if delay else f"v{value}"

    def registers(self) -> Iterator[str]:
        """Of the values that are read in later slots."""
        moves = []
        for value, first in enumerate(self.plan.slots.tolist()):
            for slot in range(first + 1, int(self._last[value]) + 1):
                name = self._name(value, slot)
                yield f"reg [{self.graph.width(value) - 1}:0] {name};"
                moves.append(f"    {name} <= {self._name(value, slot - 1)};")
        if moves:
            yield from ("always @(posedge clk) if (enable) begin", *moves, "end")

    def output(self, term: Term | None, bits: int) -> str:
        """One sum."""
        if term is None:
            return f"{bits}'d0"
        return self._extended(term, bits, self.plan.latency)
