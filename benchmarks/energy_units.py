"""Multiply-accumulate units in Verilog whose energy is simulated, of the library's own modules.

A unit has its operands in registers, makes their product, or a few, and adds it to a sum in a
register, which a `clear` that came with the operands empties before.
"""

from typing import NamedTuple

import numpy as np

import flightnn_jax
from flightnn_jax.formats.base import Format
from flightnn_jax.rtl import modules
from flightnn_jax.rtl.lookups import Lookup, parts

OPERANDS = """\
module unit (
    input wire clk, input wire clear, input wire [{x}:0] x, input wire [{code}:0] code,
    output wire [{sum}:0] sum
);
  reg first;
  reg [{x}:0] a;
  reg [{code}:0] c;
  always @(posedge clk) begin
    first <= clear;
    a <= x;
    c <= code;
  end
"""
SUM = """
  reg [{sum}:0] acc;
  always @(posedge clk) acc <= (first ? {{{width}{{1'b0}}}} : acc){addends};
  assign sum = acc;
endmodule
"""
SIGNS = """
  fl_signs #(.VALUES({values}), .WIDTH({width}), .LEVELS({levels})) lane (
      .clk(clk), .enable(1'b1), .first(first), .x(a[{x}:{count}]), .negative(c),
      .count(a[{count}-1:0]), .sum(sum)
  );
endmodule
"""


class Unit(NamedTuple):
    """A kind of multiply-accumulate.

    Attributes:
      name: as `asic.UNITS` calls it.
      format: of its weights.
      x: bits of what it reads of activations.
      code: bits of what it reads of weights.
      inside: Verilog between the registers `a` and `c` and the sum.
      products: what is added up there: wires that have a sign with their widths, and carries of
        one bit.
      uses: modules of the library.
      values: activations of a cycle.
      kept: bits of an activation.
      late: cycles after its operands in which `clear` comes.
      levels: that codes number; none where they are no numbers of levels.
    """

    name: str
    format: Format
    x: int
    code: int
    inside: str
    products: dict[str, int]
    uses: tuple[str, ...] = ()
    values: int = 1
    kept: int = 8
    late: int = 0
    levels: tuple[int, ...] = ()

    def verilog(self, width: int) -> str:
        """The module `unit` with a sum of `width` bits, and all that it uses."""
        sizes = {"x": self.x - 1, "code": self.code - 1, "sum": width - 1, "width": width}
        if self.products:
            addends = "".join(f" + {_wide(n, b, width)}" for n, b in self.products.items())
            end = SUM.format(**sizes, addends=addends)
        else:
            levels = levels_of(self.values)
            end = SIGNS.format(**sizes, values=self.values, levels=levels, count=levels + 4)
        library = modules.library()
        used = [library[f"{name}.v"].decode() for name in self.uses]
        return "\n".join([*used, OPERANDS.format(**sizes), self.inside, end])


def _wide(name: str, bits: int, width: int) -> str:
    if bits == 1:
        return f"{{{{{width - 1}{{1'b0}}}}, {name}}}"
    return f"{{{{{width - bits}{{{name}[{bits - 1}]}}}}, {name}}}"


def levels_of(values: int) -> int:
    """`LEVELS` of a popcount of so many bits."""
    return int(np.ceil(np.log2(np.ceil(values / 7))))


def shifts(name: str, terms: int) -> Unit:
    """Weights of one term or two, each a product of its own."""
    inside = ""
    products: dict[str, int] = {}
    for i in range(terms):
        inside += (
            f"  wire [14:0] p{i};\n  wire one{i};\n"
            f"  fl_product product{i} (.x(a), .code(c[{4 * i}+:4]), .mask(1'b1), .product(p{i}), "
            f".one(one{i}));\n"
        )
        products |= {f"p{i}": 15, f"one{i}": 1}
    uses = ("fl_product",)
    return Unit(name, flightnn_jax.Shift(k=terms), 8, 4 * terms, inside, products, uses)


def multiplier(bits: int) -> Unit:
    """Integers of so many bits."""
    wide = 8 + bits
    inside = f"  wire signed [{wide - 1}:0] p = $signed(a) * $signed(c);\n"
    return Unit(f"{bits}x8", flightnn_jax.FixedPoint(bits), 8, bits, inside, {"p": wide})


def one_bit() -> Unit:
    """Weights -1 and 1, as in fl_lane."""
    inside = "  wire [7:0] p = a ^ {8{c[0]}};\n  wire one = c[0];\n"
    return Unit("one bit", flightnn_jax.Binary(), 8, 1, inside, {"p": 8, "one": 1})


def signs(values: int) -> Unit:
    """Weights and activations -1 and 1, some at once; above them how many are not 0."""
    levels = levels_of(values)
    return Unit(
        name=f"signs, {values} at once",
        format=flightnn_jax.Binary(),
        x=2 * values + levels + 4,
        code=values,
        inside="",
        products={},
        uses=("fl_signs", "fl_popcount", "fl_tree"),
        values=values,
        kept=1,
        late=1 + (levels + 1) // 2,
    )


def table(levels: tuple[int, ...], code: int, kept: int) -> Unit:
    """Weights that are numbers of levels, in tables as fl_lane has them.

    Args:
      levels: all of them.
      code: bits of a number.
      kept: bits of an activation, which is negative only if these are 8.
    """
    known = Lookup(levels, code, kept, signed=kept == 8)
    wide, low, inside = kept + 8, 0, ""
    products: dict[str, int] = {}
    cut = parts(kept, known.parts)
    for i, bits in enumerate(cut):
        signed = int(known.signed and i == len(cut) - 1)
        inside += (
            f"  wire [{wide - 1}:0] q{i}, p{i} = q{i} << {low};\n"
            f"  fl_lookup #(.BITS({bits}), .SIGNED({signed}), .CODE({code}), .WIDTH({wide}),\n"
            f"      .TABLE({8 << code}'h{known.table:x})) lookup{i}"
            f" (.x(a[{low}+:{bits}]), .code(c), .product(q{i}));\n"
        )
        products[f"p{i}"] = wide
        low += bits
    return Unit(
        name=f"table {code}x{kept}",
        format=flightnn_jax.Codebook(len(levels)),
        x=kept,
        code=code,
        inside=inside,
        products=products,
        uses=("fl_lookup",),
        kept=kept,
        levels=levels,
    )
