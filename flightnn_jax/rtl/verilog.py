"""The top module: an instance of the library for each stage, nets for streams, and its hex files.

Whatever a layer is called, nets are `valid_NAME`, `ready_NAME`, `data_NAME` and instances
`stage_NAME`, so that no name of a layer is a word of Verilog. NumPy alone.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from flightnn_jax.rtl import hardwired, hexadecimal
from flightnn_jax.rtl.architecture import (
    LOGIT_BITS,
    Add,
    Average,
    Convolve,
    Fork,
    Machine,
    Pool,
    Queue,
    Reorder,
    Repack,
    Requantize,
    Stage,
    Stream,
    WindowPool,
    Wired,
)

BLOCK_DEPTH, BLOCK_BITS = 64, 4096
CODE_BITS = 4  # of fl_conv, where it is not told


class Instance(NamedTuple):
    """A module of the library with its parameters and the files that it reads.

    Attributes:
      module: its name.
      parameters: whole numbers, texts of Verilog, or names of files.
      files: their contents by name.
    """

    module: str
    parameters: dict[str, int | str]
    files: dict[str, bytes]


def is_block(words: int, bits: int) -> bool:
    """Whether a memory is one of blocks: what tables would take more than some 64 of."""
    return words > BLOCK_DEPTH and words * bits > BLOCK_BITS


def instance(stage: Stage) -> Instance:
    """The module that a stage is."""
    return _INSTANCES[type(stage)](stage)


def top(machine: Machine, module: str = "top") -> str:
    """The Verilog of a machine; its modules and files are `instances`' business."""
    lines = [*_header(machine, module), ""]
    streams = [machine.image, *(out for stage in machine.stages for out in stage.outputs)]
    for stream in streams:
        width = stream.values * stream.bits - 1
        lines.append(f"  wire valid_{stream.name}, ready_{stream.name};")
        lines.append(f"  wire [{width}:0] data_{stream.name};")
    lines += ["", *_ends(machine), ""]
    for stage in machine.stages:
        lines += [*_instance_lines(stage), ""]
    return "\n".join([*lines, *_recorders(machine), "endmodule", ""])


def _header(machine: Machine, module: str) -> list[str]:
    width = machine.image.values * 8 - 1
    return [
        f"// {machine.name}: bytes of an image in, in raster order, {machine.image.values} a beat;",
        "// logits out, in the order of the labels.",
        f"module {module} (",
        "    input  wire clk,",
        "    input  wire rst,",
        "    input  wire in_valid,",
        "    output wire in_ready,",
        f"    input  wire [{width}:0] in_data,",
        "    output wire out_valid,",
        "    input  wire out_ready,",
        f"    output wire [{LOGIT_BITS - 1}:0] out_data",
        ");",
    ]


def _ends(machine: Machine) -> Iterator[str]:
    image, logits = machine.image, machine.logits
    yield f"  assign valid_{image.name} = in_valid;"
    yield f"  assign in_ready = ready_{image.name};"
    yield f"  assign data_{image.name} = in_data ^ {{{image.values}{{8'h80}}}};"
    yield f"  assign out_valid = valid_{logits.name};"
    yield f"  assign ready_{logits.name} = out_ready;"
    fill = LOGIT_BITS - logits.bits
    sign = f"{{{{{fill}{{data_{logits.name}[{logits.bits - 1}]}}}}, data_{logits.name}}}"
    yield f"  assign out_data = {sign if fill else f'data_{logits.name}'};"


def _instance_lines(stage: Stage) -> Iterator[str]:
    made = instance(stage)
    texts = [f"      .{name}({value})" for name, value in made.parameters.items()]
    yield f"  {made.module} #("
    yield ",\n".join(texts)
    yield f"  ) stage_{stage.name} ("
    ports = [] if isinstance(stage, Fork) else [".clk(clk)", ".rst(rst)"]
    for i, stream in enumerate(stage.inputs):
        prefix = f"in{i}" if len(stage.inputs) > 1 else "in"
        ports += _ports(prefix, [stream])
    ports += _ports("out", stage.outputs)
    yield ",\n".join(f"      {port}" for port in ports)
    yield "  );"


def _ports(prefix: str, streams: list[Stream] | tuple[Stream, ...]) -> list[str]:
    """Connections; those of several streams are one vector, the first stream lowest."""
    joined = {
        kind: ", ".join(f"{kind}_{stream.name}" for stream in reversed(streams))
        for kind in ("valid", "ready", "data")
    }
    if len(streams) > 1:
        joined = {kind: f"{{{names}}}" for kind, names in joined.items()}
    return [f".{prefix}_{kind}({names})" for kind, names in joined.items()]


def _recorders(machine: Machine) -> Iterator[str]:
    """For simulation: every layer's beats go to a file, with the cycles in which they pass."""
    recorded = {f"layer_{name}": stream for name, stream in machine.layers.items()}
    yield "`ifdef FLIGHTNN_RECORD"
    for name, stream in {**recorded, "image": machine.image, "logits": machine.logits}.items():
        yield f'  fl_record #(.WIDTH({stream.values * stream.bits}), .FILE("{name}.txt"))'
        yield f"      record_{name} ("
        yield f"      .clk(clk), .rst(rst), .fires(valid_{stream.name} && ready_{stream.name}),"
        yield f"      .data(data_{stream.name})"
        yield "  );"
    yield "`endif"


def _repack(stage: Repack) -> Instance:
    source, output = stage.source, stage.output
    parameters: dict[str, int | str] = {
        "WIDTH": source.bits,
        "IN": source.values,
        "OUT": output.values,
    }
    if output.values > source.values:
        return Instance("fl_widen", {**parameters, "BEATS": source.beats}, {})
    return Instance("fl_narrow", {**parameters, "CHANNELS": source.shape[2]}, {})


def _fork(stage: Fork) -> Instance:
    width = stage.source.values * stage.source.bits
    return Instance("fl_fork", {"BRANCHES": len(stage.outputs), "WIDTH": width}, {})


def _queue(stage: Queue) -> Instance:
    width = stage.source.values * stage.source.bits
    block = int(is_block(stage.depth, width))
    return Instance("fl_fifo", {"WIDTH": width, "DEPTH": stage.depth, "BLOCK": block}, {})


def _convolve(stage: Convolve) -> Instance:
    source, output, fold = stage.source, stage.output, stage.fold
    height, width, _ = source.shape
    steps, turns, results = len(stage.codes), len(stage.turns), stage.results
    sweep = stage.size**2 * stage.part
    kept = stage.kept * fold.inputs
    codes, about = f"{stage.name}_codes.hex", f"{stage.name}_turns.hex"
    empty = "".join("01"[bool(n == 1 < sweep)] for n in reversed(stage.turns))
    parameters: dict[str, int | str] = {
        "VALUES": fold.inputs,
        "WORDS": source.beats,
        "HEIGHT": height,
        "WIDTH": width,
        "SIZE": stage.size,
        "STRIDE": stage.stride,
        "OUT_HEIGHT": output.shape[0],
        "OUT_WIDTH": output.shape[1],
        "ROWS": stage.rows,
        "TURNS": turns,
        "EMPTY": f"{turns}'b{empty}",
        "STEPS": steps,
        "ROWS_BLOCK": int(is_block(stage.rows * width * source.beats, kept)),
        "LANES": fold.lanes,
        "TERMS": fold.terms,
        "INTEGER": int(stage.integer),
        **({"CODE": stage.bits} if stage.bits != CODE_BITS else {}),
        **(stage.lookup.parameters if stage.lookup else {}),
        **({"SIGNS": 1} if stage.signs else {}),
        "LEVELS": stage.levels,
        "SUM": output.bits,
        "PASSES": len(results),
        "OUT": fold.out,
        "BEATS": int(results[0]),
        "REST": int(results[-1]),
        "CODES": f'"{codes}"',
        "TURN_FILE": f'"{about}"',
        "CODES_BLOCK": int(is_block(steps, stage.bits * stage.codes[0].size)),
    }
    flags = np.stack([stage.first, stage.last], axis=1).astype(np.int64)
    bits = np.concatenate([stage.mask.reshape(turns, -1).astype(np.int64), flags], axis=1)
    files = {
        codes: hexadecimal.words(stage.codes.reshape(steps, -1), stage.bits),
        about: hexadecimal.words(bits, 1),
    }
    if stage.is_plain:
        return Instance("fl_conv", parameters, files)
    beside = "".join("01"[bool(n)] for n in reversed(stage.next))
    parameters |= {
        "PADDING": stage.padding,
        "PART": stage.part,
        "NEXT": f"{turns}'b{beside}",
        "OWN": int(stage.has_own),
    }
    return Instance("fl_group_conv", parameters, files)


def _wired(stage: Wired) -> Instance:
    _, width, _ = stage.source.shape
    block = is_block(width, (stage.size - 1) * stage.pixel_bits)
    texts = hardwired.modules(stage, stage.name)
    files = {f"modules/{name}.v": text.encode() for name, text in texts.items()}
    return Instance(f"fl_wired_{stage.name}", {"BLOCK": int(block)}, files)


def _requantize(stage: Requantize) -> Instance:
    source = stage.source
    files: dict[str, bytes] = {}
    clip, terms, shift = stage.clip, stage.terms, stage.shift
    kind = 1 if terms is None else 2 if len(terms) else 0
    bits = _signed_bits(stage.multiplier) if kind == 1 else 1
    fields = np.ones((1, source.shape[2])), stage.multiplier[None]
    if kind == 2:
        assert terms is not None
        shifts = max(1, int(terms[:, :, 2].max()).bit_length())
        bits = shifts + 1
        fields = terms[:, :, 0], (terms[:, :, 1] << shifts) | terms[:, :, 2]
    least = 0 if shift is None else int(shift.min())
    more = 0 if shift is None else int(shift.max() - least).bit_length()
    beats = source.beats
    parameters: dict[str, int | str] = {
        "VALUES": source.values,
        "BEATS": beats,
        "IN": source.bits,
        "CLIP": int(clip is not None),
        "CLIPPED": stage.clipped,
        "FACTOR": kind,
        "BITS": bits,
        "TERMS": max(1, 0 if terms is None else len(terms)),
        "BIAS": int(stage.bias is not None),
        "V": stage.v,
        "ACTIVATE": int(shift is not None),
        "LEAST": least,
        "MORE": more,
        "SLOPE": stage.slope,
    }

    def add(parameter: str, columns: list[tuple[np.ndarray, int]]) -> None:
        file = f"{stage.name}_{parameter.lower().removesuffix('_file')}.hex"
        parameters[parameter] = f'"{file}"'
        files[file] = hexadecimal.beats(columns, source.values, beats)

    if clip is not None:
        add("LIMITS_FILE", [(clip[0], stage.clipped), (clip[1], stage.clipped)])
    if kind:
        pairs = zip(*fields, strict=True)
        add("FACTOR_FILE", [x for there, row in pairs for x in ((row, bits), (there, 1))])
    if stage.bias is not None:
        add("BIAS_FILE", [(stage.bias, stage.v)])
    if shift is not None and more:
        add("SHIFT_FILE", [(shift - least, more)])
    return Instance("fl_requantize", parameters, files)


def _pool(stage: Pool) -> Instance:
    source = stage.source
    width = source.shape[1]
    words = width // 2 * source.beats
    block = int(is_block(words, 8 * source.values))
    parameters: dict[str, int | str] = {
        "VALUES": source.values,
        "BEATS": source.beats,
        "WIDTH": width,
        "BLOCK": block,
    }
    return Instance("fl_pool", parameters, {})


def _window_pool(stage: WindowPool) -> Instance:
    source, output = stage.source, stage.output
    height, width, _ = source.shape
    words = stage.rows * width * source.beats
    parameters: dict[str, int | str] = {
        "VALUES": source.values,
        "WORDS": source.beats,
        "HEIGHT": height,
        "WIDTH": width,
        "SIZE": stage.size,
        "STRIDE": stage.stride,
        "PADDING": stage.padding,
        "OUT_HEIGHT": output.shape[0],
        "OUT_WIDTH": output.shape[1],
        "ROWS": stage.rows,
        "ROWS_BLOCK": int(is_block(words, 8 * source.values)),
    }
    return Instance("fl_group_pool", parameters, {})


def _average(stage: Average) -> Instance:
    source, output = stage.source, stage.output
    parameters: dict[str, int | str] = {
        "VALUES": source.values,
        "BEATS": source.beats,
        "POSITIONS": source.pixels,
        "OUT": output.bits,
        "BLOCK": int(is_block(source.beats, output.bits * source.values)),
    }
    return Instance("fl_average", parameters, {})


def _add(stage: Add) -> Instance:
    source, files = stage.source, {}
    parameters: dict[str, int | str] = {
        "VALUES": source.values,
        "BEATS": source.beats,
        "IN0": source.bits,
        "IN1": stage.inputs[1].bits,
        "OUT": stage.output.bits,
    }
    for i, lift in enumerate(stage.lift):
        bits = 0 if lift is None else int(lift.max()).bit_length()
        parameters[f"LIFT{i}"] = bits
        if lift is not None and bits:
            file = f"{stage.name}_lift{i}.hex"
            parameters[f"FILE{i}"] = f'"{file}"'
            files[file] = hexadecimal.beats([(lift, bits)], source.values, source.beats)
    return Instance("fl_add", parameters, files)


def _reorder(stage: Reorder) -> Instance:
    order = stage.source.order
    file = f"{stage.name}_places.hex"
    parameters: dict[str, int | str] = {
        "WIDTH": stage.source.bits,
        "LENGTH": len(order),
        "FILE": f'"{file}"',
    }
    bits = max(1, (len(order) - 1).bit_length())
    return Instance("fl_reorder", parameters, {file: hexadecimal.words(order[:, None], bits)})


def _signed_bits(values: np.ndarray) -> int:
    """Of the shortest two's complement, two at least."""
    return max(2, *(int(x if x >= 0 else ~x).bit_length() + 1 for x in values))


_INSTANCES: dict[type[Stage], Callable[[Any], Instance]] = {
    Repack: _repack,
    Fork: _fork,
    Queue: _queue,
    Convolve: _convolve,
    Wired: _wired,
    Requantize: _requantize,
    Pool: _pool,
    WindowPool: _window_pool,
    Average: _average,
    Add: _add,
    Reorder: _reorder,
}
