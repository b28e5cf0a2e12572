"""The arithmetic of each kind of weights, in one row: all in which the models tell kinds apart.

A new kind of weights is a new row here, and one in `styles.array.FITS` if the paper's array is to
compute with it. None stands for what was not measured; a model that needs it raises an error.
"""

import dataclasses

from flightnn_jax import schemes

ACTIVATION_BITS = 8
"""Of every activation of a quantized network (section 5.1 of the paper)."""


@dataclasses.dataclass(frozen=True)
class Arithmetic:
    """What a multiply-accumulate of one kind of weights takes.

    Attributes:
      kind: of the weights, as `LayerWork.format` calls it.
      bits: of a weight; of a term, where weights are sums of terms; None where each layer's
        differ.
      units: which of `synthesized.UNITS` computes it, by `engine.MULTIPLIERS`; none where no
        engine does, or none of these.
      asic: which of `asic.UNITS` does; where products are looked up, for more levels than its
        tables have.
      stored: the kind, as `schemes.Weights` calls it; None for floats.
      integers: the same, as `integer.Weights` calls it; likewise.
      k_range: the least and the largest number of terms of a filter; 0 stands for a pruned one.
      product_exponent: a product is at most 2**product_exponent in magnitude, in units of the
        smallest weight; None for floats, whose sums have 32 bits.
      activity: which of `activity.N45` does.
      terms: whether codes of generated engines are powers of two, or else integers or numbers of
        levels.
      numbered: whether they are numbers of levels, and products are looked up.
      asic_of_signs: which of `asic.UNITS` does where activations are signs; None for `asic`.
    """

    kind: str
    bits: int | None
    units: dict[str, str]
    asic: str
    stored: str | None = None
    integers: str | None = None
    k_range: tuple[int, int] = (1, 1)
    product_exponent: int | None = None
    activity: str | None = None
    terms: bool = False
    numbered: bool = False
    asic_of_signs: str | None = None

    @property
    def floats(self) -> bool:
        """Whether weights and activations are floats."""
        return self.product_exponent is None

    @property
    def activation_bits(self) -> int:
        """Of an input or an output."""
        return 32 if self.floats else ACTIVATION_BITS

    def accumulator_bits(self, taps: int, k: int = 1, signs: bool = False) -> int:
        """Bits of a signed sum of `taps` weights of k terms that nothing can overflow.

        Args:
          taps: how many are summed.
          k: terms of each.
          signs: whether activations are -1 or 1, and not up to 2**7.

        Example:
          >>> KINDS["shift"].accumulator_bits(3 * 3 * 16)  # 144 x 2**14 and a sign
          23
        """
        if self.product_exponent is None:
            return 32
        exponent = self.product_exponent - (ACTIVATION_BITS - 1) * signs
        return 1 + (taps * max(k, 1) << exponent).bit_length()


# An activation is at most 2**7 in magnitude, a 4-bit integer 2**3, and a term, a sign and 3 bits,
# 2**7.
_ROWS = (
    Arithmetic("full", 32, {"dsp": "float32", "lut": "float32 in LUTs"}, asic="float32"),
    Arithmetic(
        kind="fp4",
        bits=4,
        units={"dsp": "4x8 in a DSP", "lut": "4x8 in LUTs"},
        asic="4x8",
        stored="fixed",
        integers="integer",
        product_exponent=10,
        activity="4x8",
    ),
    Arithmetic(
        kind="shift",
        bits=4,
        units={"dsp": "shift", "lut": "shift"},
        asic="shift",
        stored="shift",
        integers="shift",
        k_range=(0, 3),
        product_exponent=14,
        activity="shift",
        terms=True,
    ),
    # The synthesized units compute it as a shift by 0; generated engines have their own.
    Arithmetic(
        kind="binary",
        bits=1,
        units={"dsp": "shift", "lut": "shift"},
        asic="one bit",
        stored="binary",
        integers="binary",
        product_exponent=7,
        activity="shift",
        terms=True,
        asic_of_signs="signs",
    ),
    # Generated engines have tables of products.
    Arithmetic(
        kind="codebook",
        bits=None,
        units={},
        asic="8x8",
        stored="codebook",
        integers="codebook",
        product_exponent=14,
        numbered=True,
    ),
)
KINDS = {row.kind: row for row in _ROWS}


def of(weights: schemes.Weights | None) -> Arithmetic:
    """The row of weights that a scheme stores; None stands for floats.

    Raises:
      ValueError: if there is no such row.

    Example:
      >>> of(schemes.find("fp4").weights).kind
      'fp4'
    """
    kind, bits = (weights.kind, weights.bits) if weights else (None, 32)
    for row in _ROWS:
        if row.stored == kind and row.bits in (bits, None):
            return row
    known = ", ".join(f"{row.stored} of {row.bits or 'any'} bits" for row in _ROWS if row.stored)
    raise ValueError(f"{weights}: hardware models know floats, {known}; add a row for others")


def of_integers(kind: str) -> Arithmetic:
    """The row of the weights of an integer network, by `integer.Weights.kind`.

    Raises:
      ValueError: if there is no such row.
    """
    for row in _ROWS:
        if row.integers == kind:
            return row
    known = ", ".join(row.integers for row in _ROWS if row.integers)
    raise ValueError(f"integers of the kind {kind!r}: hardware models know {known}; add a row")
