"""FPGAs as records: what they hold, how wide their memories are, and where the numbers are from."""

import dataclasses
import json
import math
from collections.abc import Sequence
from importlib import resources
from typing import Any

from flightnn_jax import atomic, fpga
from flightnn_jax.fpga import Resources

__all__ = ["DEVICES", "RESOURCES", "Device", "Resources", "from_json", "named"]

RESOURCES = ("BRAM", "DSP", "FF", "LUT")
"""In the order of `fpga.Resources`."""


_MAX_RESOURCE = 10**9  # a hundred times what the largest FPGA has
_MAX_CLOCK_MHZ = 1e6
_MAX_JSON_BYTES = 1 << 20


def _is_pair(shape: Any) -> bool:
    """Whether it is a shape of a block, (words, bits)."""
    whole = type(shape) is tuple and len(shape) == 2 and all(type(side) is int for side in shape)
    return whole and all(0 < side <= _MAX_RESOURCE for side in shape)


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
    block_shapes: fpga.Shapes = fpga.XILINX_18K
    origin: str = "given by the user"

    def __post_init__(self) -> None:
        for field in ("name", "origin"):
            if type(getattr(self, field)) is not str:
                raise ValueError(f"device: {field}={getattr(self, field)!r:.80} must be a text")
        for field in ("bram", "dsp", "ff", "lut"):
            value = getattr(self, field)
            if type(value) is not int or not 0 <= value <= _MAX_RESOURCE:
                raise ValueError(
                    f"device {self.name!r:.80}: {field}={value!r:.80} must be a whole number, "
                    f"which is not negative and at most {_MAX_RESOURCE}"
                )
        clock = self.clock_mhz
        if type(clock) not in (int, float) or not 0 < clock <= _MAX_CLOCK_MHZ:
            raise ValueError(
                f"device {self.name!r:.80}: clock_mhz={clock!r:.80} must be a number above 0, at "
                f"most {_MAX_CLOCK_MHZ}"
            )
        if type(self.lut_inputs) is not int or self.lut_inputs not in (4, 6):
            raise ValueError(
                f"device {self.name!r}: lut_inputs={self.lut_inputs!r:.80}; tables of 4 and "
                "of 6 inputs are modelled, so give the nearer one"
            )
        shapes = self.block_shapes
        few = type(shapes) is tuple and 1 <= len(shapes) <= 100
        if not few or not all(map(_is_pair, shapes)):
            raise ValueError(
                f"device {self.name!r}: block_shapes={shapes!r:.80} must list 1 to 100 pairs "
                "(words, bits) of whole numbers above 0"
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
        """Blocks of a memory of so many words, by `fpga.blocks`.

        Example:
          >>> named("XC7Z045").blocks(bits=256, words=576)
          15
        """
        return fpga.blocks(bits, words, self.block_shapes)


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
        return from_json(atomic.read(name, _MAX_JSON_BYTES), name)
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
    except (ValueError, RecursionError) as error:
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
    shapes = given.get("block_shapes", fpga.XILINX_18K)
    if type(shapes) is list:
        shapes = tuple(tuple(shape) if type(shape) is list else shape for shape in shapes)
    try:
        return Device(**{**given, "block_shapes": shapes})
    except ValueError as error:
        raise ValueError(f"{source}: {error}") from error


DEVICES = tuple(
    _device(given, "devices.json")
    for given in json.loads(
        resources.files(__package__).joinpath("devices.json").read_text("utf-8")
    )
)
"""Those that are known by name, in the form of a user's own."""
