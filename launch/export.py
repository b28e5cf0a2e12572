"""Writes an integer network as a program for other tools: C99, ONNX, QONNX or StableHLO.

    python -m launch.export --integers=/tmp/digits/integers.safetensors --to=c --out=/tmp/digits/c
    python -m launch.export --integers=net1.safetensors --to=onnx,stablehlo --out=net1

All of them give the same integers, but for layers of QONNX that a line names. The files are named
after the network: NAME.c and NAME.h, of which docs/c.md tells more, NAME.onnx, NAME.qonnx.onnx,
NAME.stablehlo. What is there by these names is replaced.
"""

from pathlib import Path

from flightnn_jax import atomic, integer
from flightnn_jax.integer.export import c, qonnx

from . import command
from .command import flags

_FORMS = ("c", "onnx", "qonnx", "stablehlo")
_INTEGERS = flags.DEFINE_string("integers", None, "File of an integer network.", required=True)
_TO = flags.DEFINE_list("to", None, f"One or more of {', '.join(_FORMS)}.", required=True)
_OUT = flags.DEFINE_string("out", None, "Directory for the files.", required=True)
_STYLE = flags.DEFINE_enum(
    "qonnx_style",
    "thresholds",
    ["thresholds", "quant"],
    "What is behind convolutions in QONNX: thresholds, as FINN has it, or arithmetic, as hls4ml.",
)
_PLATFORMS = flags.DEFINE_list("platforms", "cpu", "Where StableHLO runs: cpu, cuda, tpu.")


def main() -> None:
    """Writes what the flags describe."""
    command.quiet()
    unknown = sorted(set(_TO.value) - set(_FORMS))
    if unknown:
        raise command.UsageError(f"--to={','.join(unknown)}: choose of {', '.join(_FORMS)}")
    network, out = integer.load(_INTEGERS.value), Path(_OUT.value)
    files: dict[str, bytes] = {}
    for form in dict.fromkeys(_TO.value):
        files |= _made(form, network)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(f"--out={out}: {error}: choose another directory") from error
    for name, data in files.items():
        atomic.write(out / name, data)
        print(f"{out / name}: {len(data):,} bytes")


def _made(form: str, network: integer.IntegerNetwork) -> dict[str, bytes]:
    """The files of a form, by name."""
    name = c.name_of(network.name)
    if form == "c":
        program = c.to_c(network)
        print(program.table())
        return {f"{name}.c": program.source.encode(), f"{name}.h": program.header.encode()}
    if form == "onnx":
        return {f"{name}.onnx": integer.export.to_onnx(network)}
    if form == "qonnx":
        style = _STYLE.value
        if layers := qonnx.inexact(network, style):
            print(f"note: {', '.join(layers)}: more than the 24 bits of float32; see docs/lower.md")
        return {f"{name}.qonnx.onnx": qonnx.to_qonnx(network, style=style)}
    platforms = tuple(_PLATFORMS.value)
    return {f"{name}.stablehlo": integer.export.to_stablehlo(network, platforms=platforms)}


if __name__ == "__main__":
    command.run(main)
