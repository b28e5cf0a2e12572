"""How deep the queues on skips must be, and how deep they may be to any use. NumPy alone.

A fork hands a beat on when all of its readers take it. The reader that leads to an addition by the
longer way needs some beats before its first result; the other one's beats wait in a queue as long.
Two functions of each stage say how many:

    need(j)    beats that must come in before beat j (counted from 0) can leave
    accept(j)  beats that come in while only j beats leave

Beats are counted from the first image on. Where two ways from a fork meet in an addition, and j
beats have left it, the one way needs need(j) beats of the fork, and the other one takes accept(j)
and what its queue holds. So its queue must hold the largest need(j) - accept(j) of all j. Neither
depends on times: at that depth a machine runs, and with one place less it stops for ever. Only
where rows are shorter than the pipeline that reads them may it be a little more than it must.

At that depth the layers of the longer way wait for each other: none has rows for its next windows
while it computes. With the largest accept(j) of the longer way instead of need(j) the queue is
never full before that way takes no more, so that it holds nothing up.
"""

import dataclasses
import itertools
from collections.abc import Callable, Iterator

import numpy as np

from flightnn_jax.rtl.architecture import (
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
from flightnn_jax.rtl.links import BUFFER

_IMAGES = 2  # enough to see every place of a queue


def with_queues(machine: Machine, least: bool = False) -> Machine:
    """The machine whose queues have their depths; those that need none are left out.

    Args:
      machine: as `plan` makes it.
      least: whether they are as deep as they must be, or else as deep as is of use.
    """
    found = depths(machine, least)
    stages: list[Stage] = []
    renamed: dict[str, str] = {}  # a stream may have another shape for its reader
    for stage in machine.stages:
        inputs = tuple(
            dataclasses.replace(stream, name=renamed.get(stream.name, stream.name))
            for stream in stage.inputs
        )
        if isinstance(stage, Queue) and not found[stage.name]:
            renamed[stage.output.name] = inputs[0].name
        elif isinstance(stage, Queue):
            stages.append(dataclasses.replace(stage, inputs=inputs, depth=found[stage.name]))
        else:
            stages.append(dataclasses.replace(stage, inputs=inputs))
    return dataclasses.replace(machine, stages=tuple(stages))


def depths(machine: Machine, least: bool) -> dict[str, int]:
    """Beats of each queue, by its name; arguments are those of `with_queues`.

    Of two ways that are both nothing but a queue, the first one has none.
    """
    reader = {stream.name: stage for stage in machine.stages for stream in stage.inputs}
    behind = _behind(machine, reader)
    found = {stage.name: 0 for stage in machine.stages if isinstance(stage, Queue)}
    for fork in machine.stages:
        if not isinstance(fork, Fork):
            continue
        # The nearest of these has the most behind itself.
        end = max(behind[fork.name] - {fork.name}, key=lambda name: len(behind[name]))
        ways = [list(_ways(branch, reader, end)) for branch in fork.outputs]
        for i, j in itertools.permutations(range(len(ways)), 2):
            name = reader[fork.outputs[i].name].name
            for way, other in itertools.product(ways[i], ways[j]):
                if _meet(way, other) and not (len(way) == len(other) == 2 and i < j):
                    found[name] = max(found[name], _depth(way, other, least))
    return found


def _behind(machine: Machine, reader: dict[str, Stage]) -> dict[str, set[str]]:
    """By stage those that every beat goes through behind it, itself included."""
    behind: dict[str, set[str]] = {}
    for stage in reversed(machine.stages):
        readers = [reader[out.name].name for out in stage.outputs if out.name in reader]
        common = set.intersection(*(behind[name] for name in readers)) if readers else set()
        behind[stage.name] = {stage.name} | common
    return behind


def _ways(branch: Stream, reader: dict[str, Stage], end: str) -> Iterator[list[Stage]]:
    """The stages from a branch of a fork to each addition up to where all branches end."""
    stage = reader[branch.name]
    if isinstance(stage, Add):
        yield [stage]
    if stage.name == end:
        return
    for output in stage.outputs:
        for way in _ways(output, reader, end):
            yield [stage, *way]


def _meet(way: list[Stage], other: list[Stage]) -> bool:
    """Whether two ways have the addition at their end in common, and nothing else."""
    names = {stage.name for stage in way} & {stage.name for stage in other}
    return names == {way[-1].name} == {other[-1].name}


def _depth(way: list[Stage], other: list[Stage], least: bool) -> int:
    """What the queue at the beginning of one way must hold, by the other one."""
    last = way[-1]
    left = np.arange(_IMAGES * last.output.total)
    need, accept, most = left + 1, left, left
    for stage in reversed(other[:-1]):
        need = needs(stage)(need - 1)
        most = most if isinstance(stage, Queue) else accepts(stage)(most)
    for stage in reversed(way[:-1]):
        accept = accept if isinstance(stage, Queue) else accepts(stage)(accept)
    # In the images after these two everything is as in the second one.
    whole = _IMAGES * way[0].source.total
    counts = need <= whole
    must = max(0, int((need - accept)[counts].max()))
    return must if least else max(must, int((most - accept)[counts].max()))


Beats = Callable[[np.ndarray], np.ndarray]


def needs(stage: Stage) -> Beats:
    """For beats that leave, counted from 0, how many must have come in."""
    source, output = stage.source, stage.output
    if isinstance(stage, Convolve | WindowPool):
        return lambda j: _of_rows(stage, j // _row(output))
    if isinstance(stage, Wired):
        return lambda j: _of_window(stage, j // output.beats)
    if isinstance(stage, Repack):
        if output.values < source.values:
            parts = source.values // output.values
            return lambda j: source.beats * (j // output.beats) + (j % output.beats) // parts + 1
        parts = output.values // source.values
        return lambda j: (
            source.beats * (j // output.beats)
            + np.minimum((j % output.beats + 1) * parts, source.beats)
        )
    if isinstance(stage, Pool):
        return lambda j: _of_squares(stage, j) + 1
    if isinstance(stage, Average):
        return lambda j: (
            source.total * (j // output.total + 1) - output.beats + j % output.beats + 1
        )
    if isinstance(stage, Reorder):
        return lambda j: source.total * (j // output.total + 1)
    return lambda j: j + 1


def accepts(stage: Stage) -> Beats:
    """For a number of beats that leave how many come in, when no more leave."""
    if isinstance(stage, Convolve | WindowPool):
        return lambda j: _rows_taken(stage, j)
    if isinstance(stage, Wired):
        # At least: what fills its pipeline besides depends on when pixels come.
        return lambda j: _of_window(stage, (j + BUFFER) // stage.output.beats + 1) + BUFFER
    if isinstance(stage, Requantize | Add):
        return lambda j: j + stage.steps + BUFFER
    if isinstance(stage, Pool | Average):
        # One more is held before the buffer; up to it all come in.
        return lambda j: needs(stage)(j + BUFFER)
    if isinstance(stage, Repack):
        return lambda j: _repacked(stage, j)
    if isinstance(stage, Reorder):
        return lambda j: stage.source.total * (j // stage.output.total + 1)
    return lambda j: j


def _row(stream: Stream) -> int:
    return stream.shape[1] * stream.beats


def _of_rows(stage: Convolve | WindowPool, row: np.ndarray) -> np.ndarray:
    """Beats of all rows that a row of windows, counted over images, reads."""
    height = stage.source.shape[0]
    image, y = row // stage.output.shape[0], row % stage.output.shape[0]
    below = np.minimum(height, y * stage.stride + stage.size - stage.padding)
    return (image * height + below) * _row(stage.source)


def _of_window(stage: Wired, window: np.ndarray) -> np.ndarray:
    """Pixels that must come in for a window, counted over images; behind an image none must."""
    height, width, _ = stage.source.shape
    image, place = np.divmod(window, stage.output.pixels)
    y, x = np.divmod(place, stage.output.shape[1])
    last = (y * width + x) * stage.stride + stage.lag + 1
    return image * height * width + np.minimum(last, height * width)


def kept_from(stage: Convolve | WindowPool, row: np.ndarray) -> np.ndarray:
    """The first row of the input that a row of windows keeps."""
    image, y = row // stage.output.shape[0], row % stage.output.shape[0]
    above = np.maximum(0, y * stage.stride - stage.padding)
    return image * stage.source.shape[0] + above


def _rows_taken(stage: Convolve | WindowPool, j: np.ndarray) -> np.ndarray:
    """Beats that an engine takes: it has a pass in its results, one complete, and one begun."""
    output = stage.output
    results = stage.results
    pixel, beat = np.divmod(j + BUFFER, output.beats)
    leaving = pixel * len(results) + np.searchsorted(np.cumsum(results), beat, side="right")
    complete = leaving + 1
    per_row = output.shape[1] * len(results)
    row = complete // per_row
    # Some steps behind its last one are read as well: the row is left if they are its last ones.
    until = np.cumsum(np.tile(stage.passes, output.shape[1]))
    row = row + (until[-1] - until[complete % per_row] <= stage.delay - 2)
    return (kept_from(stage, row) + stage.rows) * _row(stage.source)


def _of_squares(stage: Pool, j: np.ndarray) -> np.ndarray:
    """The number of the beat that completes a square."""
    width = stage.output.shape[1]
    beats = stage.source.beats
    pixel, beat = np.divmod(j, beats)
    y, x = np.divmod(pixel, width)
    return ((2 * y + 1) * 2 * width + 2 * x + 1) * beats + beat


def _repacked(stage: Repack, j: np.ndarray) -> np.ndarray:
    source, output = stage.source, stage.output
    if output.values > source.values:
        return needs(stage)(j)
    parts = source.values // output.values
    pixel, beat = np.divmod(j, output.beats)
    return pixel * source.beats + beat // parts + 1
