"""A graph of adders as a Verilog-2001 module, one window a cycle.

    module NAME (input clk, input enable, input [8 taps - 1:0] x, output [bits filters - 1:0] y);

x has a byte for each tap, the first in the lowest bits; y the sums, each extended to the same
width. Where signs are counted, x has for each pixel of the window a bit that says that it is inside
of the map, and above it one for each channel that says that it is negative; outside both are 0.
While `enable` is high, all registers move on at each rising edge of `clk`, and y is that of the x
of `latency` such edges before. There is no reset: whoever reads y counts along.

`affine` proves a module from what Yosys reads in it.
"""

import itertools
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
    body = "\n".join([*module.inputs(), *module.registers(), *module.adders(), *module.moves()])
    return _TEXT.format(
        name=name,
        taps=graph.activations,
        filters=len(graph.outputs),
        adders=len(graph.adders),
        latency=module.plan.latency,
        x=input_bits(graph) - 1,
        y=bits * len(graph.outputs) - 1,
        body=textwrap.indent(body, "    "),
        sums=",\n        ".join(reversed([module.output(term, bits) for term in graph.outputs])),
    )


def input_bits(graph: Graph) -> int:
    """Bits of x."""
    width = INPUT_BITS * graph.taps
    return graph.activations + graph.looked.size**2 if graph.looked else width


def input_place(graph: Graph, tap: int) -> int:
    """Of the lowest bit of an activation in x."""
    if graph.looked is None:
        return INPUT_BITS * tap
    return tap + tap // graph.looked.channels(graph.activations) + 1


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
    given = INPUT_BITS * source.values
    arriving = f"wire [{given}-1:0] arriving = in_data;"
    if wired.graph.looked:
        signs = [f"in_data[{INPUT_BITS * i - 1}]" for i in range(source.values, 0, -1)]
        arriving = (
            f"wire [{wired.pixel_bits}-1:0] arriving = {{{', '.join(signs)}, 1'b1}};\n"
            "    wire unused = &{1'b0, in_data};"
        )
    return _STAGE.format(
        name=name,
        adders=adders,
        height=source.shape[0],
        width=source.shape[1],
        size=wired.size,
        stride=wired.stride,
        given=given,
        arriving=arriving,
        pixel=wired.pixel_bits,
        window=wired.size**2 * wired.pixel_bits - 1,
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
    input wire [{given}-1:0] in_data,
    output wire out_valid,
    input wire out_ready,
    output wire [{beat}-1:0] out_data
);
    localparam LATENCY = {latency};
    {arriving}
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
        .in_data(arriving),
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
        for tap in sorted(value for value in read if value < self.graph.activations):
            width = self.graph.width(tap)
            yield f"wire [{width - 1}:0] v{tap} = x[{input_place(self.graph, tap)} +: {width}];"
        yield from self._place_number()

    def _place_number(self) -> Iterator[str]:
        """The number of the window's place: whether rows, and columns, are inside of the map."""
        looked = self.graph.looked
        if looked and looked.bits:
            rows, half = range(looked.size), looked.size // 2
            pixels = [row * looked.size + half for row in rows if row != half]
            pixels += [half * looked.size + column for column in rows if column != half]
            width = looked.channels(self.graph.activations) + 1
            there = ", ".join(f"x[{pixel * width}]" for pixel in reversed(pixels))
            yield f"wire [{looked.bits - 1}:0] place = {{{there}}};"

    def adders(self) -> Iterator[str]:
        """A wire for each sum, and for what it looks up."""
        for value, adder in enumerate(self.graph.adders, self.graph.taps):
            width = self.graph.width(value)
            if self.graph.is_count(adder):
                yield f"wire [{width - 1}:0] v{value};"
                yield self._count(adder, width, value)
                continue
            yield from self._offset(adder, value)
            yield f"wire [{width - 1}:0] v{value} = {self._sum(adder, width, value)};"

    def _count(self, adder: Adder, width: int, value: int) -> str:
        slot = int(self.plan.slots[value])
        bits = ", ".join(self._name(term.value, slot) for term in adder.terms)
        given = f"#(.N({len(adder.terms)}), .BITS({width}))"
        return f"fl_count {given} count{value} (.bits({{{bits}}}), .count(v{value}));"

    def _offset(self, adder: Adder, value: int) -> Iterator[str]:
        """What a sum looks up."""
        looked, first = self.graph.looked, adder.terms[0].value
        if looked is None or not self.graph.is_looked(first):
            return
        width, numbers = self.graph.width(first), looked.tables[first - self.graph.activations]
        table = sum((int(n) & ((1 << width) - 1)) << i * width for i, n in enumerate(numbers))
        text = f"{width * len(numbers)}'h{table:x}"
        if not looked.bits:
            yield f"wire [{width - 1}:0] v{first} = {text};"
            return
        yield f"wire [{width - 1}:0] v{first};"
        slot = int(self.plan.slots[value])
        place = f"place_{slot}" if slot else "place"
        given = f"#(.PLACE({looked.bits}), .BITS({width}), .TABLE({text}))"
        yield f"fl_offset {given} offset{first} (.place({place}), .value(v{first}));"

    def _sum(self, adder: Adder, width: int, value: int) -> str:
        slot = int(self.plan.slots[value])
        # Carries begin with the first one, so what is looked up, or subtracted, comes last.
        terms = sorted(adder.terms, key=lambda t: (t.negative, self.graph.is_looked(t.value)))
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
        if self.graph.is_looked(value):
            return f"v{value}"
        delay = slot - int(self.plan.slots[value])
        return f"v{value}_{delay}" if delay else f"v{value}"

    def registers(self) -> Iterator[str]:
        """Those of the values that are read in later slots."""
        for slot in range(1, self._last_place() + 1):
            yield f"reg [{self.graph.place_bits - 1}:0] place_{slot};"
        for value, slot in self._kept():
            yield f"reg [{self.graph.width(value) - 1}:0] {self._name(value, slot)};"

    def moves(self) -> Iterator[str]:
        """How they move on."""
        places = ["place", *(f"place_{i}" for i in range(1, self._last_place() + 1))]
        moves = [f"    {after} <= {before};" for before, after in itertools.pairwise(places)]
        for value, slot in self._kept():
            moves.append(f"    {self._name(value, slot)} <= {self._name(value, slot - 1)};")
        if moves:
            yield from ("always @(posedge clk) if (enable) begin", *moves, "end")

    def _kept(self) -> Iterator[tuple[int, int]]:
        """Values, and slots behind their own in which they are read; none that is looked up."""
        for value, first in enumerate(self.plan.slots.tolist()):
            if not self.graph.is_looked(value):
                yield from ((value, slot) for slot in range(first + 1, int(self._last[value]) + 1))

    def _last_place(self) -> int:
        """The last slot in which something is looked up."""
        if not self.graph.place_bits:
            return 0
        return int(max(self._last[self.graph.activations : self.graph.taps], default=0))

    def output(self, term: Term | None, bits: int) -> str:
        """One sum."""
        if term is None:
            return f"{bits}'d0"
        return self._extended(term, bits, self.plan.latency)
