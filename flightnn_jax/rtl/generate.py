"""The files of a machine: Verilog, constants, golden vectors, benches, a Makefile. NumPy alone."""

import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from flightnn_jax import atomic
from flightnn_jax.integer.network import IntegerNetwork
from flightnn_jax.rtl import folding, hexadecimal, modules, plan, queues, resources, verilog
from flightnn_jax.rtl.architecture import LOGIT_BITS, Fold, Machine, Queue, Stream

INFO = "info.json"
PATIENCE = 100_000  # cycles without a beat at either end, or more where an image takes long
MAX_VECTORS = 4  # golden images that become vectors

_MAKEFILE = """\
# make icarus     compares the logits of {images} golden images, and writes layer_*.txt
# make verilator  the same run by a program in C++, for many images
# make lint       what three tools say of the Verilog; make synthesis  what it takes
SOURCES = top.v $(wildcard modules/fl_*.v)
SIZES = -P bench.VALUES={values} -P bench.BEATS={beats} -P bench.LOGITS={logits}
SIZES += -P bench.PATIENCE={patience}

icarus: icarus.vvp
\tvvp -N icarus.vvp

icarus.vvp: $(SOURCES) modules/bench.v
\tiverilog -g2001 -Wall -DFLIGHTNN_RECORD $(SIZES) -s bench -o $@ $^

verilator: obj_dir/bench
\tobj_dir/bench images.bin {values} {logits} 0 0 0 {patience} 0 logits.hex

obj_dir/bench: $(SOURCES) modules/bench.cc
\tverilator -Wall --cc --exe --build -O3 --x-assign 0 --x-initial 0 -CFLAGS -O1 \\
\t    -DFLIGHTNN_RECORD --top-module top -o bench $^

lint:
\tverilator --lint-only -Wall --top-module top $(SOURCES)
\tiverilog -g2001 -Wall -s top -o /dev/null $(SOURCES)
\tyosys -q -p "read_verilog -defer $(SOURCES); hierarchy -top top; proc; check -assert"

synthesis:
\tyosys -q -p "read_verilog -defer $(SOURCES); hierarchy -top top; synth_xilinx -top top; stat"

.PHONY: icarus verilator lint synthesis
"""


def machine_of(
    network: IntegerNetwork,
    folds: Mapping[str, Fold] | None = None,
    wired: Collection[str] = (),
    *,
    least: bool = False,
) -> Machine:
    """The machine of a network.

    Args:
      network: a valid one.
      folds: of convolutions and dense layers by name, one of everything by default; `out` of the
        fold of 'image' is how many bytes come in at once.
      wired: layers whose weights are wires.
      least: whether queues are as deep as they must be, or else so deep that they hold nothing up.

    Raises:
      FoldError: if there is no such layer, or it cannot have such a fold.
    """
    return queues.with_queues(plan.plan(network, folds, wired), least)


def write(
    network: IntegerNetwork,
    machine: Machine,
    out: str | Path,
    about: Mapping[str, Any] | None = None,
) -> None:
    """Writes all files of a machine into a directory, which may be there; info.json is the last.

    Args:
      network: whose golden images become vectors.
      machine: of it.
      out: the directory.
      about: what info.json says besides the machine itself.
    """
    folder = Path(out)
    (folder / "modules").mkdir(parents=True, exist_ok=True)
    (folder / INFO).unlink(missing_ok=True)  # what is there while it is written has none
    for name, data in files(network, machine).items():
        (folder / name).write_bytes(data)
    whole = {**(about or {}), **info(network, machine)}
    atomic.write(folder / INFO, json.dumps(whole, indent=1) + "\n")


def files(network: IntegerNetwork, machine: Machine) -> dict[str, bytes]:
    """What `write` writes besides info.json, by path."""
    instances = [verilog.instance(stage) for stage in machine.stages]
    groups = any(made.module.startswith(modules.GROUPS) for made in instances)
    made = {f"modules/{name}": text for name, text in modules.library(groups).items()}
    made |= {f"modules/{name}": text for name, text in modules.benches().items()}
    made["top.v"] = verilog.top(machine).encode()
    for each in instances:
        made |= each.files
    images = np.zeros((0, *network.input_shape), np.uint8)
    logits = np.zeros((0, len(network.labels)), np.int64)
    if network.golden is not None:
        images = network.golden.images[:MAX_VECTORS]
        logits = network.golden.outputs[network.layers[-1].name][:MAX_VECTORS]
    beats = image_beats(machine.image, images)
    made["images.bin"] = beats.tobytes()
    made["images.hex"] = hexadecimal.words(beats.astype(np.int64), 8)
    made["logits.hex"] = hexadecimal.words(logits.reshape(-1, 1), LOGIT_BITS)
    makefile = _MAKEFILE.format(
        images=len(images),
        values=machine.image.values,
        beats=len(beats),
        logits=logits.size,
        patience=patience(machine),
    )
    made["Makefile"] = makefile.encode()
    return made


def patience(machine: Machine) -> int:
    """Cycles without a beat at either end after which a machine counts as stopped."""
    return max(PATIENCE, len(machine.stages) * folding.interval(machine))  # all may be in turn


def image_beats(image: Stream, images: np.ndarray) -> np.ndarray:
    """[beats, values] uint8: images as they come in, zeros behind a pixel's last channel."""
    channels = image.shape[2]
    pixels = images.reshape(-1, channels)
    padded = np.pad(pixels, ((0, 0), (0, image.beats * image.values - channels)))
    return padded.reshape(-1, image.values)


def info(network: IntegerNetwork, machine: Machine) -> dict[str, Any]:
    """What a program may want to know of a machine."""
    streams = {
        name: {
            "shape": list(stream.shape),
            "bits": stream.bits,
            "values": stream.values,
            "order": stream.order.tolist(),
        }
        for name, stream in {"image": machine.image, **machine.layers}.items()
    }
    return {
        "network": network.name,
        "labels": list(network.labels),
        "output_exponent": network.output_exponent,
        "folds": {name: fold._asdict() for name, fold in machine.folds.items()},
        "axi": {
            "VALUES": machine.image.values,
            "LOGITS": len(network.labels),
            "IMAGE_BEATS": machine.image.total,
        },
        "queues": {x.name: x.depth for x in machine.stages if isinstance(x, Queue)},
        "streams": streams,
        "resources": {x.name: resources.of(x)._asdict() for x in machine.stages},
        "resources_error": {
            x.name: resources.ERRORS[resources.kind(x)]._asdict() for x in machine.stages
        },
    }
