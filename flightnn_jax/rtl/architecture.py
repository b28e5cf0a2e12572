"""The machine that computes an integer network: stages and the streams between them, as records.

    bytes - 128 -> [convolution] -> [requantize] -> [pool] -> ...
                        fork -> queue ------------------------> [add] -> [requantize] -> ...

A stream carries the values of a tensor in raster order, the channel running fastest, some values a
beat, with valid and ready. Each stage is one Verilog module (rtl/modules) and its parameters; what
a stage needs besides (weights, constants) is in its record as arrays. NumPy alone.

A convolution's record says what its computing part gets. An engine reads words of `fold.inputs`
activations from a memory of rows, and takes many cycles for a window. A layer whose weights are
wires gets all activations of a window at once, [size, size, channels] as one vector with the
channel running fastest, while `enable` is high, and gives all sums a fixed number of
enabled cycles later: module NAME(clk, enable, x, y), as `hardwired` writes them. What stands around
it is the same: rows in, results out.
"""

import dataclasses
import math
from typing import NamedTuple

import numpy as np

from flightnn_jax.integer.limits import Shape
from flightnn_jax.rtl import graph as graphs
from flightnn_jax.rtl.graph import Graph
from flightnn_jax.rtl.lookups import Lookup

LOGIT_BITS = 32
GROUP = 7  # bits that fl_popcount counts at once


class Fold(NamedTuple):
    """How much of a convolution or dense layer is computed at once.

    Attributes:
      lanes: filters at once.
      inputs: activations a cycle.
      terms: terms of a weight a cycle; the others follow in turns.
      out: sums a cycle that leave, a divisor of lanes.
    """

    lanes: int = 1
    inputs: int = 1
    terms: int = 1
    out: int = 1


@dataclasses.dataclass(frozen=True)
class Stream:
    """A tensor on its way from one stage to another.

    Attributes:
      name: its own; that of the layer whose output it is, where it is one.
      shape: (height, width, channels); a tensor of one axis is one pixel.
      bits: of a value, two's complement.
      values: in a beat. Places behind the last channel of a pixel are 0.
      order: [channels] which of the layer's channels comes first, second, ..
    """

    name: str
    shape: Shape
    bits: int
    values: int
    order: np.ndarray

    @property
    def beats(self) -> int:
        """Of a pixel."""
        return -(-self.shape[2] // self.values)

    @property
    def pixels(self) -> int:
        """Of an image."""
        return self.shape[0] * self.shape[1]

    @property
    def total(self) -> int:
        """Beats of an image."""
        return self.pixels * self.beats


@dataclasses.dataclass(frozen=True)
class Stage:
    """What all stages have.

    Attributes:
      name: its own, an identifier; that of its output, where there is one output.
      inputs: streams that it reads.
      outputs: streams that it writes: one, but for a fork.
    """

    name: str
    inputs: tuple[Stream, ...]
    outputs: tuple[Stream, ...]

    @property
    def source(self) -> Stream:
        """The first input."""
        return self.inputs[0]

    @property
    def output(self) -> Stream:
        """The first output."""
        return self.outputs[0]


@dataclasses.dataclass(frozen=True)
class Repack(Stage):
    """Beats of more or fewer values; one number is a multiple of the other."""


@dataclasses.dataclass(frozen=True)
class Fork(Stage):
    """One stream to several readers."""


@dataclasses.dataclass(frozen=True)
class Queue(Stage):
    """A queue of `depth` beats."""

    depth: int


@dataclasses.dataclass(frozen=True)
class Convolve(Stage):
    """The sums of a convolution, or of a dense layer as one of a single pixel.

    Attributes:
      fold: `inputs` is what a word of the input stream has, or, of a depthwise layer, what it has
        for each lane.
      size: height and width of the window.
      stride: of its steps.
      integer: whether a code is a 4-bit integer, or else a term.
      bits: of a code: 4, or 1 where it is a sign, or as many as number levels.
      lookup: of a code that numbers a level; None for others.
      signs: whether codes are signs and activations -1, 0 or 1, whose products are counted; only
        where `is_plain`.
      codes: [steps, lanes, inputs, terms] uint8, what is computed with in each step of a window.
      turns: [turns] steps of each sweep over the window.
      first: [turns] bool, whether a pass begins with it.
      last: [turns] bool, whether a pass ends with it.
      mask: [turns, lanes, terms] bool, which codes count.
      padding: rows and columns of zeros on each side of the map.
      groups: of channels and filters, a pass being of one group; or as many as both, each lane
        reading the channel of its own filter.
    """

    fold: Fold
    size: int
    stride: int
    integer: bool
    bits: int
    lookup: Lookup | None
    signs: bool
    codes: np.ndarray
    turns: np.ndarray
    first: np.ndarray
    last: np.ndarray
    mask: np.ndarray
    padding: int
    groups: int

    @property
    def rows(self) -> int:
        """Kept of the input."""
        return kept_rows(self.size, self.stride, self.padding)

    @property
    def is_plain(self) -> bool:
        """Whether there is one group, and half of a window is around the map."""
        return self.groups == 1 and self.padding == self.size // 2

    @property
    def has_own(self) -> bool:
        """Whether each lane reads the channel of its own filter."""
        return self.groups > 1 and self.groups == self.source.shape[2] == self.output.shape[2]

    @property
    def part(self) -> int:
        """Words of a pixel that a sweep reads."""
        return 1 if self.has_own else self.source.beats // self.groups

    @property
    def next(self) -> np.ndarray:
        """[turns] whether the next one reads the next part."""
        behind = np.cumsum(self.last) * self.fold.lanes  # filters that are complete with a turn
        of_part = self.fold.lanes if self.has_own else self.output.shape[2] // self.groups
        return np.asarray(self.last & (behind % of_part == 0))

    @property
    def kept(self) -> int:
        """Bits of an activation in the memory of rows."""
        if self.lookup and self.is_plain:
            return self.lookup.kept
        return 2 if self.signs else 8

    @property
    def levels(self) -> int:
        """Of a lane's tree of adders."""
        numbers = self.fold.inputs * self.fold.terms
        numbers *= self.lookup.parts if self.lookup else 1
        return math.ceil(math.log2(-(-numbers // GROUP) if self.signs else numbers))

    @property
    def passes(self) -> np.ndarray:
        """[passes] steps of each pass over a window."""
        return np.add.reduceat(self.turns, np.flatnonzero(self.first))

    @property
    def results(self) -> np.ndarray:
        """[passes] beats that each pass gives."""
        filters = self.output.shape[2]
        left = filters - self.fold.lanes * np.arange(len(self.passes))
        return -(-np.minimum(left, self.fold.lanes) // self.fold.out)

    @property
    def delay(self) -> int:
        """Enabled cycles from a pass's last step to its complete sums."""
        return 4 + (self.levels + 1) // 2


@dataclasses.dataclass(frozen=True)
class Wired(Stage):
    """The sums of a convolution or dense layer whose weights are wires: a window a cycle.

    Behind an image `lag` cycles pass until its last windows are complete and the next one begins.

    Attributes:
      layer: its name.
      size: height and width of the window.
      stride: of its steps.
      graph: of the adders; its inputs are the rows of a window, the pixels of a row, and the
        channels of a pixel in the order of the input stream, the last ones changing fastest. A
        beat of the input is a whole pixel.
      every: levels of adders between registers.
    """

    layer: str
    size: int
    stride: int
    graph: Graph
    every: int

    @property
    def pixel_bits(self) -> int:
        """Of a pixel in the windows: where signs are counted, that it is there, and its signs."""
        values = self.source.values
        return values + 1 if self.graph.looked else 8 * values

    @property
    def lag(self) -> int:
        """Pixels that come behind the middle of a window before it is complete."""
        _, width, _ = self.source.shape
        return (self.size // 2) * (width + 1)

    @property
    def delay(self) -> int:
        """Enabled cycles from the last pixel of a window to its complete sums."""
        return 2 + graphs.schedule(self.graph, self.every).latency

    @property
    def results(self) -> np.ndarray:
        """[1] beats that a window gives."""
        return np.array([self.output.beats])


@dataclasses.dataclass(frozen=True)
class Requantize(Stage):
    """clip(x, low, high) * multiplier + bias, and the activation, for each channel in its order.

    Attributes:
      clip: [2, channels] int64, low and high; None where no sum is outside.
      clipped: bits of what the clip gives.
      terms: [terms, channels, 3] int64: there, minus, shift of the multiplier's signed powers of
        two; None for a multiplication, and without entries where every multiplier is 1.
      multiplier: [channels] int64.
      bias: [channels] int64; None where all are 0.
      v: bits of v.
      shift: [channels] int64 of the activation; None where v is the output.
      slope: of the leaky ReLU; 0 for none.
    """

    clip: np.ndarray | None
    clipped: int
    terms: np.ndarray | None
    multiplier: np.ndarray
    bias: np.ndarray | None
    v: int
    shift: np.ndarray | None
    slope: int

    @property
    def steps(self) -> int:
        """Registers that a value goes through."""
        factors = 1 if self.terms is None else len(self.terms)
        clips, biases = self.clip is not None, self.bias is not None
        return 1 + clips + factors + biases + 3 * (self.shift is not None)


@dataclasses.dataclass(frozen=True)
class Pool(Stage):
    """The largest of each 2x2 square."""


@dataclasses.dataclass(frozen=True)
class WindowPool(Stage):
    """The largest of each window, of what lies inside of the map.

    Attributes:
      size: height and width of the window.
      stride: of its steps.
      padding: places on each side of the map.
    """

    size: int
    stride: int
    padding: int
    delay = 3

    @property
    def rows(self) -> int:
        """Kept of the input."""
        return kept_rows(self.size, self.stride, self.padding)

    @property
    def passes(self) -> np.ndarray:
        """[beats] steps of each beat of a window."""
        return np.full(self.source.beats, self.size**2)

    @property
    def results(self) -> np.ndarray:
        """[beats] of 1: each leaves by itself."""
        return np.ones(self.source.beats, np.int64)


def kept_rows(size: int, stride: int, padding: int) -> int:
    """Of a map: those of windows, of the next ones, and what an image's first ones need besides."""
    return size + stride + max(0, size - 1 - 2 * padding)


@dataclasses.dataclass(frozen=True)
class Average(Stage):
    """The sum over all pixels."""


@dataclasses.dataclass(frozen=True)
class Add(Stage):
    """The sum of two streams, each shifted to the left.

    Attributes:
      lift: for each input [channels] int64, or None for none.
    """

    lift: tuple[np.ndarray | None, np.ndarray | None]
    steps = 3


@dataclasses.dataclass(frozen=True)
class Reorder(Stage):
    """The values of one pixel in the layer's own order."""


@dataclasses.dataclass(frozen=True)
class Machine:
    """Stages in the order of computation.

    Attributes:
      name: of the network.
      stages: each reads streams that earlier ones write, or the image.
      image: the first stream.
      layers: for each layer's name the stream that carries its output.
      folds: of the convolutions and dense layers, by name.
    """

    name: str
    stages: tuple[Stage, ...]
    image: Stream
    layers: dict[str, Stream]
    folds: dict[str, Fold]

    @property
    def logits(self) -> Stream:
        """The last stream."""
        return self.stages[-1].output if self.stages else self.image
