"""When each beat passes, exactly: what the Verilog does, in a model of times. NumPy alone.

A beat of a stream passes in the first cycle in which its writer offers it and its reader has room
for it. When that is follows from when other beats passed: each stage is two processes, one that
says when there is room for what it reads and one that says when it offers what it writes, as far as
the times that they need are known. Where all wait and logits are missing, the machine stops for
ever.
"""

import itertools
from collections import deque
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from flightnn_jax.rtl import engine_timing, links, wired_timing
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
    WindowPool,
    Wired,
)
from flightnn_jax.rtl.links import Actor, Link, Process
from flightnn_jax.rtl.queues import needs


class Prediction(NamedTuple):
    """What a machine does with images that come and go without a gap.

    Attributes:
      cycles: [images] the cycle of each image's last logit; the first beat comes in cycle 0.
        Fewer where the machine stops.
      first: the cycle of the first logit; -1 where none comes.
    """

    cycles: np.ndarray
    first: int

    @property
    def interval(self) -> int:
        """Cycles from one image to the next one, of the last two."""
        return int(self.cycles[-1] - self.cycles[-2])


def predict(machine: Machine, images: int = 3) -> Prediction:
    """The cycles of so many images, exactly those of the Verilog.

    Example:
      >>> from flightnn_jax.integer import Average, IntegerNetwork
      >>> from flightnn_jax.rtl.plan import plan
      >>> layers = (Average("average", "image", None, -7),)
      >>> network = IntegerNetwork("mean", (2, 2, 1), layers, 3, None, -7, ("grey",), {}, None)
      >>> predict(plan(network))
      Prediction(cycles=array([ 5,  9, 13]), first=5)
    """
    passed = times(machine, images)[machine.logits.name]
    ends = np.array(passed, np.int64)[machine.logits.total - 1 :: machine.logits.total]
    return Prediction(ends, passed[0] if passed else -1)


def times(machine: Machine, images: int) -> dict[str, list[int]]:
    """By stream the cycles in which its beats pass, of so many images or until nothing moves."""
    of = {machine.image.name: Link()}
    of |= {out.name: Link() for stage in machine.stages for out in stage.outputs}
    actors: list[Actor] = []
    for stage in machine.stages:
        inputs = [of[stream.name] for stream in stage.inputs]
        outputs = [of[stream.name] for stream in stage.outputs]
        actors.append(_of(stage, inputs, outputs))
    beats = images * machine.image.total
    source, sink = of[machine.image.name], of[machine.logits.name]
    actors += [Actor([_source(source, beats)], [source], []), Actor([_sink(sink)], [sink], [])]
    _run(actors)
    return {name: link.passed for name, link in of.items()}


def _run(actors: list[Actor]) -> None:
    """Lets everyone go on whenever a time of one of its links is new."""
    readers: dict[int, list[int]] = {}
    for number, actor in enumerate(actors):
        for link in actor.links:
            readers.setdefault(id(link), []).append(number)
    waiting = deque(range(len(actors)))
    queued = [True] * len(actors)
    while waiting:
        number = waiting.popleft()
        queued[number] = False
        actor = actors[number]
        known = [link.known for link in actor.links]
        actor.go_on()
        for link, count in zip(actor.links, known, strict=True):
            if link.known == count:
                continue
            for other in readers[id(link)]:
                if not queued[other]:
                    queued[other] = True
                    waiting.append(other)


def _of(stage: Stage, inputs: list[Link], outputs: list[Link]) -> Actor:
    """What a stage does, its room and its offers."""
    (source, *_), (output, *_) = inputs, outputs
    ends = inputs + outputs
    if isinstance(stage, Convolve | WindowPool):
        return engine_timing.actor(stage, source, output)
    if isinstance(stage, Wired):
        return wired_timing.actor(stage, source, output)
    if isinstance(stage, Fork):
        branches = [_fork_offers(i, source, outputs) for i in range(len(outputs))]
        return Actor([_fork_room(source, outputs), *branches], ends, [])
    if isinstance(stage, Queue):
        both = [_queue_room(stage.depth, source, output), _queue_offers(source, output)]
        return Actor(both, ends, [])
    if isinstance(stage, Repack | Reorder):
        return Actor([_gather(stage, source, output)], ends, [])
    pushes: list[int] = []  # when words go into the buffer at the end
    if isinstance(stage, Pool | Average):
        rooms = [_reduce_room(stage, source, pushes)]
        push = _reduce_push(stage, source, output, pushes)
    else:
        assert isinstance(stage, Requantize | Add)
        pairs: list[tuple[Link, Link | None]] = [(source, None)]
        if isinstance(stage, Add):
            pairs = [(source, inputs[1]), (inputs[1], source)]
        rooms = [_pipeline_room(stage.steps, own, pushes, other) for own, other in pairs]
        push = _pipeline_push(stage.steps, source, output, pushes)
    return Actor([*rooms, push, links.buffered(pushes, output)], ends, [pushes])


def _source(link: Link, beats: int) -> Process:
    for number in range(beats):
        yield from link.until(number)
        link.offer(link.passed[-1] + 1 if number else 0)


def _sink(link: Link) -> Process:
    while True:
        link.take(0)
        yield from link.until(len(link.room))


def _fork_room(source: Link, outputs: list[Link]) -> Process:
    while True:
        number = len(source.room)
        while any(len(link.room) <= number for link in outputs):
            yield
        source.take(max(link.room[number] for link in outputs))


def _fork_offers(which: int, source: Link, outputs: list[Link]) -> Process:
    """A branch is offered what comes when all other ones have room."""
    own, others = outputs[which], outputs[:which] + outputs[which + 1 :]
    while True:
        number = len(own.offered)
        while len(source.offered) <= number or any(len(x.room) <= number for x in others):
            yield
        own.offer(max(source.offered[number], *(link.room[number] for link in others)))


def _pipeline_room(
    steps: int, source: Link, pushes: list[int], other: Link | None = None
) -> Process:
    """Of a pipeline that closes up; with another input, both come in at once."""
    while True:
        number = len(source.room)
        yield from source.until(number)
        while len(pushes) <= number - steps:
            yield
        room = source.passed[-1] + 1 if number else 0
        if number >= steps:
            room = max(room, pushes[number - steps])
        if other is not None:
            while len(other.offered) <= number:
                yield
            room = max(room, other.offered[number])
        source.take(room)


def _pipeline_push(steps: int, source: Link, output: Link, pushes: list[int]) -> Process:
    while True:
        number = len(pushes)
        yield from source.until(number + 1)
        yield from links.push(source.passed[number] + steps, pushes, output)


def _last_beats(stage: Pool | Average) -> Iterator[int]:
    """How many beats have come in when each beat can leave."""
    ends = needs(stage)(np.arange(stage.output.total)).tolist()
    for image in itertools.count():
        yield from (image * stage.source.total + end for end in ends)


def _reduce_room(stage: Pool | Average, source: Link, pushes: list[int]) -> Process:
    """A beat that completes a square, or an image, is in the way until it is in the buffer."""
    for leaves, end in enumerate(_last_beats(stage)):
        while len(source.room) < end:
            source.take(source.passed[-1] + 1 if source.passed else 0)
            yield from source.until(len(source.room))
        while len(pushes) <= leaves:
            yield
        source.take(pushes[leaves])
        yield from source.until(len(source.room))


def _reduce_push(stage: Pool | Average, source: Link, output: Link, pushes: list[int]) -> Process:
    for end in _last_beats(stage):
        yield from source.until(end)
        yield from links.push(source.passed[end - 1] + 1, pushes, output)


def _queue_room(depth: int, source: Link, output: Link) -> Process:
    while True:
        number = len(source.room)
        yield from source.until(number)
        yield from output.until(number - depth + 1)
        room = source.passed[-1] + 1 if number else 0
        source.take(max(room, output.passed[number - depth] + 1) if number >= depth else room)


def _queue_offers(source: Link, output: Link) -> Process:
    """A word goes into the memory, into the output register, and on."""
    load = -1
    while True:
        number = len(output.offered)
        yield from source.until(number + 1)
        yield from output.until(number)
        load = max(source.passed[number] + 1, load + 1)
        if number:
            load = max(load, output.passed[number - 1])
        output.offer(load + 1)


def _gather(stage: Repack | Reorder, source: Link, output: Link) -> Process:
    """Beats come in until a word is whole, its beats leave, and the next one follows.

    A word may begin in the cycle in which the last beat of the one before leaves; the values of a
    vector that is put into order, in the one behind.
    """
    wait = 1 if isinstance(stage, Reorder) else 0
    needed = needs(stage)(np.arange(stage.output.total)).tolist()
    room = 0
    for number in itertools.count():
        image, within = divmod(number, stage.output.total)
        ends = image * stage.source.total + needed[within]
        if len(source.room) < ends:
            while len(source.room) < ends:
                source.take(room)
                yield from source.until(len(source.room))
                room = source.passed[-1] + 1
            output.offer(room)
        else:
            output.offer(output.passed[-1] + 1)
        yield from output.until(number + 1)
        room = max(room, output.passed[-1] + wait)
