"""FPGAs as records: what they hold, how wide their memories are, and where the numbers are from."""

import dataclasses
import json
import math
from collections.abc import Sequence
from importlib import resources
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
        pairs = zip(needed, self.available().values(), strict=True)
        return max(need / have if have else math.inf if need else 0.0 for need, have in pairs)

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
    return _device(given, source)


def _device(given: Any, source: str) -> Device:
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
        if type(given[name]) is not int:
            raise ValueError(f"{source}: {name}={given[name]!r} must be a whole number")
    if type(given["clock_mhz"]) not in (int, float):
        raise ValueError(f"{source}: clock_mhz={given['clock_mhz']!r} must be a number")
    shapes = given.get("block_shapes", _XILINX_18K)
    try:
        pairs = tuple((int(words), int(bits)) for words, bits in shapes)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"{source}: block_shapes={shapes!r} must be pairs [words, bits]"
        ) from error
    return Device(**{**given, "block_shapes": pairs})


DEVICES = tuple(
    _device(given, "devices.json")
    for given in json.loads(
        resources.files(__package__).joinpath("devices.json").read_text("utf-8")
    )
)
"""Those that are known by name, in the form of a user's own."""
