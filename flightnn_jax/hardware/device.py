"""FPGAs as records: what they hold, how wide their memories are, and where the numbers are from."""

import dataclasses
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

RESOURCES = ("BRAM", "DSP", "FF", "LUT")


class Resources(NamedTuple):
    """What a circuit takes, in the order of `RESOURCES`.

    Attributes:
      bram: blocks of memory.
      dsp: multiplier blocks.
      ff: flip-flops.
      lut: the device's own tables.
    """

    bram: int
    dsp: int
    ff: int
    lut: int


_XILINX_18K = ((16384, 1), (8192, 2), (4096, 4), (2048, 9), (1024, 18), (512, 36))
_ICE40_4K = ((2048, 2), (1024, 4), (512, 8), (256, 16))


@dataclasses.dataclass(frozen=True)
class Device:
    """An FPGA.

    Attributes:
      name: what commands call it.
      bram: blocks of memory.
      dsp: multiplier blocks that hold an 8-bit multiplication.
      ff: flip-flops.
      lut: lookup tables.
      clock_mhz: assumed unless one is given.
      lut_inputs: 6 or 4. Models count tables of 6, which were measured; see `lut_factor`.
      block_shapes: (words, bits of a word) that one block can be.
      origin: where the numbers are from.
    """

    name: str
    bram: int
    dsp: int
    ff: int
    lut: int
    clock_mhz: float
    lut_inputs: int = 6
    block_shapes: tuple[tuple[int, int], ...] = _XILINX_18K
    origin: str = "given by the user"

    def __post_init__(self) -> None:
        """Checks each field."""
        if min(self.bram, self.dsp, self.ff, self.lut) < 0 or self.clock_mhz <= 0:
            raise ValueError(
                f"device {self.name!r}: bram={self.bram}, dsp={self.dsp}, ff={self.ff}, "
                f"lut={self.lut} must not be negative, and clock_mhz={self.clock_mhz} positive"
            )
        if self.lut_inputs not in (4, 6):
            raise ValueError(
                f"device {self.name!r}: lut_inputs={self.lut_inputs}; tables of 4 and of 6 inputs "
                "are modelled, so give the nearer one"
            )
        if not self.block_shapes or min(min(shape) for shape in self.block_shapes) < 1:
            raise ValueError(
                f"device {self.name!r}: block_shapes={self.block_shapes} must list (words, bits)"
            )

    @property
    def block_bits(self) -> int:
        """Bits of a block at its best shape."""
        return max(words * bits for words, bits in self.block_shapes)

    @property
    def lut_factor(self) -> int:
        """Tables of this device for one of 6 inputs.

        An adder takes one table a bit in both kinds, a choice of one in four takes one of 6 inputs
        or two of 4. So 2 is a bound for the units here, and not measured.
        """
        return 1 if self.lut_inputs == 6 else 2

    def available(self) -> dict[str, int]:
        """The device's number of each of `RESOURCES`."""
        return {"BRAM": self.bram, "DSP": self.dsp, "FF": self.ff, "LUT": self.lut}

    def share(self, needed: Sequence[float]) -> float:
        """The largest share of a resource that is needed; infinite where the device has none.

        Example:
          >>> named("XC7Z045").share([545, 0, 0, 0])
          0.5
        """
        shares = []
        for need, have in zip(needed, self.available().values(), strict=True):
            shares.append(need / have if have else math.inf if need else 0.0)
        return max(shares)

    def shortage(self, needed: Sequence[float]) -> dict[str, str]:
        """The resources that do not suffice, by name, in words; empty if everything fits.

        Example:
          >>> named("iCE40UP5K").shortage([10, 9, 100, 100])
          {'DSP': '9 DSP of 8'}
        """
        pairs = zip(needed, self.available().items(), strict=True)
        return {
            name: f"{need:,.0f} {name} of {have:,}" for need, (name, have) in pairs if need > have
        }

    def blocks(self, bits: int, words: int) -> int:
        """Blocks of a memory of so many words, at the best shape of block.

        The plain quotient of bits is up to 46 % too low for wide, shallow memories
        (docs/measurements/synthesis.md), so the shapes of the data sheet are tried.

        Example:
          >>> named("XC7Z045").blocks(bits=256, words=576)  # 15 of 1024 x 18
          15
        """
        if not bits or not words:
            return 0
        return min(
            math.ceil(bits / width) * math.ceil(words / depth) for depth, width in self.block_shapes
        )


DEVICES = (
    Device(
        "XC7Z045",
        bram=1090,
        dsp=900,
        ff=437_200,
        lut=218_600,
        clock_mhz=100,
        origin="the paper's board, ZC706: table 6 (also Xilinx DS190); 100 MHz from section 5.2",
    ),
    Device(
        "XC7Z020",
        bram=280,
        dsp=220,
        ff=106_400,
        lut=53_200,
        clock_mhz=100,
        origin="Xilinx DS190, 140 blocks of 36 kb; the clock is the paper's",
    ),
    Device(
        "XCZU7EV",
        bram=624,
        dsp=1728,
        ff=460_800,
        lut=230_400,
        clock_mhz=100,
        origin="Xilinx DS891, 312 blocks of 36 kb, UltraRAM not counted; the clock is the paper's",
    ),
    Device(
        "ECP5-85",
        bram=208,
        dsp=156,
        ff=83_640,
        lut=83_640,
        clock_mhz=100,
        lut_inputs=4,
        origin="Lattice FPGA-DS-02012, LFE5U-85: 18-kb blocks, 18x18 multipliers; measured units "
        "close at 143 MHz and more",
    ),
    Device(
        "iCE40UP5K",
        bram=30,
        dsp=8,
        ff=5_280,
        lut=5_280,
        clock_mhz=24,
        lut_inputs=4,
        block_shapes=_ICE40_4K,
        origin="Lattice FPGA-DS-02008: 4-kb blocks, the 1-Mb single-port memory not counted; the "
        "clock is a guess",
    ),
)


def named(name: str) -> Device:
    """The device of that name, or the one that a JSON file describes.

    Args:
      name: of one of `DEVICES`, in any case, or a path that ends in ".json".

    Raises:
      ValueError: if there is none; the message lists the known ones.

    Example:
      >>> named("xc7z045").bram
      1090
    """
    for device in DEVICES:
        if device.name.lower() == name.lower():
            return device
    if name.endswith(".json"):
        return from_json(Path(name).read_text(encoding="utf-8"), name)
    known = ", ".join(device.name for device in DEVICES)
    raise ValueError(f"device {name!r} is unknown: choose one of {known}, or a .json file")


def from_json(text: str, source: str = "JSON") -> Device:
    """A user's device, from a JSON object whose keys are the fields of `Device`.

    Example:
      >>> text = '{"name": "mine", "bram": 10, "dsp": 4, "ff": 900, "lut": 600, "clock_mhz": 50}'
      >>> from_json(text).lut
      600

    Raises:
      ValueError: if it is no such object; the message says what is missing or too much.
    """
    try:
        given: Any = json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"{source} is no JSON: {error}") from error
    if not isinstance(given, dict):
        raise ValueError(f"{source}: {type(given).__name__} instead of an object of fields")
    fields = {field.name: field for field in dataclasses.fields(Device)}
    missing = {n for n, f in fields.items() if f.default is dataclasses.MISSING} - set(given)
    unknown = set(given) - set(fields)
    if missing or unknown:
        raise ValueError(
            f"{source}: missing fields {sorted(missing)}, unknown fields {sorted(unknown)}; the "
            f"fields are {', '.join(fields)}"
        )
    for name in ("bram", "dsp", "ff", "lut"):
        if not isinstance(given[name], int) or isinstance(given[name], bool):
            raise ValueError(f"{source}: {name}={given[name]!r} must be a whole number")
    clock = given["clock_mhz"]
    if not isinstance(clock, int | float) or isinstance(clock, bool):
        raise ValueError(f"{source}: clock_mhz={clock!r} must be a number")
    if "block_shapes" in given:
        try:
            shapes = tuple((int(words), int(bits)) for words, bits in given["block_shapes"])
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"{source}: block_shapes={given['block_shapes']!r} must be pairs [words, bits]"
            ) from error
        given["block_shapes"] = shapes
    return Device(**given)
