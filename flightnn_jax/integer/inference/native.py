"""The integer network by a kernel in C++: the same integers as shifts.py, faster than XLA.

Every convolution is one call with all that follows it: clip, affine map, rounding, saturation, a
max-pool or an addition. Where a network's other layers read what is in between, XLA keeps a
call of its own for that, and drops it where only logits are asked for. Weights are packed
here; native.cc says how they are read, and native_build.py compiles it.
"""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from flightnn_jax.integer import certificate, shapes
from flightnn_jax.integer.inference import int8, native_build, operations
from flightnn_jax.integer.inference.operations import Tensors
from flightnn_jax.integer.network import (
    Add,
    Affine,
    Convolution,
    Dense,
    IntegerNetwork,
    MaxPool,
)
from flightnn_jax.platforms import Platform

_LANES = 16  # filters of a block
_STEP = 4  # bytes of a window, and weights of each filter, that one instruction takes
_NOTHING = jnp.int8  # the type of an operand that is not there


def build(network: IntegerNetwork, platform: Platform) -> Callable[[jax.Array], Tensors]:
    """The function from images to every layer's output; to be jitted, so that XLA drops the rest.

    Args:
      network: a valid one; its certificates are not needed.
      platform: where it is to run.

    Raises:
      native_build.NativeError: if there is no compiler, or the platform is not a CPU.
    """
    native_build.load(platform)
    layers = {layer.name: layer for layer in network.layers}
    packed = {layer.name: _Packed.of(layer) for layer in network.weighted if _has_kernel(layer)}
    others = _others(network, platform)

    def convolve(layer: Convolution, values: Tensors) -> jax.Array:
        if layer.name in others:
            own = others[layer.name]
            return own.finish(own.sums(values[layer.input]), network.slope)
        return packed[layer.name](values[layer.input], layer.slope_of(network.slope))

    def dense(layer: Dense, values: Tensors) -> jax.Array:
        return packed[layer.name](values[layer.input][None, None], network.slope)[0, 0]

    def max_pool(layer: MaxPool, values: Tensors) -> jax.Array:
        before = layers.get(layer.input)
        if isinstance(before, Convolution) and _has_kernel(before) and layer.is_plain:
            slope = before.slope_of(network.slope)
            return packed[before.name](values[before.input], slope, pool=True)
        return operations.max_pool(values[layer.input], layer)

    def add(layer: Add, values: Tensors) -> jax.Array:
        for i in (1, 0):  # the sums that come last: what they wait for is there then
            before = layers.get(layer.inputs[i])
            if isinstance(before, Convolution) and before.shift is None and _has_kernel(before):
                ends = packed[before.name].with_add(layer.shift, layer.lift[1 - i])
                other = values[layer.inputs[1 - i]]
                return ends(values[before.input], network.slope, other=other)
        return operations.add(layer, values, network.slope)

    table = operations.without_weights(network.slope) | {
        Convolution: convolve,
        Dense: dense,
        MaxPool: max_pool,
        Add: add,
    }
    return lambda images: operations.run(network.layers, table, images)


def _has_kernel(layer: Convolution | Dense) -> bool:
    """Whether the kernel can compute a layer: groups and other padding are left to XLA."""
    return isinstance(layer, Dense) or layer.is_plain


def _others(network: IntegerNetwork, platform: Platform) -> dict[str, int8.Compiled]:
    """By name, the convolutions that the kernel does not compute, as the fast path does."""
    layers = [x for x in network.weighted if isinstance(x, Convolution) and not x.is_plain]
    if not layers:
        return {}
    known, proven = shapes.outputs(network), certificate.bounds(network)
    return {
        x.name: int8.convolution(x, known[x.input].shape, proven[x.name].accumulators, platform)
        for x in layers
    }


@dataclasses.dataclass(frozen=True)
class _Packed:
    """A convolution as the arguments of the kernel.

    Attributes:
      size: of the window.
      stride: in both directions.
      filters: how many there are; the last block has room for more.
      weights: [blocks, steps, 16, 4] int8.
      more: [further steps, 16, 4] int8, what int8 does not hold of them.
      order: [pairs of blocks, steps] int32, for each the step of the window that it is, or that
        plus the number of steps where it reads the image's second copy, 127 - a.
      which: [further steps] int32, the same of each.
      first: [blocks + 1] int32, where the further steps of each block begin.
      start: [16 blocks] int32, what a sum starts with.
      affine: for sums of these weights.
      shift: of the activation; None where the output is sums.
      lift: of what is added to v; None where that is nothing, or sums.
    """

    size: int
    stride: int
    filters: int
    weights: np.ndarray
    more: np.ndarray
    order: np.ndarray
    which: np.ndarray
    first: np.ndarray
    start: np.ndarray
    affine: Affine
    shift: np.ndarray | None
    lift: np.ndarray | None = None

    @classmethod
    def of(cls, layer: Convolution | Dense) -> "_Packed":
        """Packs the weights of a layer; a dense one is a convolution of pixels in a row."""
        if isinstance(layer, Dense):
            weights, stride, shift = layer.weights.integers()[None, None], 1, None
            units = layer.weights.shape[-1]
            limits = np.iinfo(np.int32)
            bounds = (np.full(units, limit, np.int32) for limit in (limits.min, limits.max))
            affine = Affine(np.ones(units, np.int32), layer.bias, *bounds)
        else:
            turned = int8.turned(layer)
            weights, affine = turned.weights, turned.affine
            stride, shift = layer.stride, layer.shift
        steps, turns = _turned(_steps(weights))
        near, *rest = _parts(steps)
        used = [np.argwhere(part.any(axis=(2, 3))) for part in rest]
        rows = sorted((*at, i) for i, places in enumerate(used) for at in places)
        more = [rest[i][block, step] for block, step, i in rows]
        order = np.arange(turns.shape[1]) + turns.shape[1] * turns
        return cls(
            size=weights.shape[0],
            stride=stride,
            filters=weights.shape[-1],
            weights=near,
            more=np.array(more, np.int8).reshape(-1, _LANES, _STEP),
            order=order.astype(np.int32),
            which=np.array([order[block // 2, step] for block, step, _ in rows], np.int32),
            first=np.searchsorted([row[0] for row in rows], range(len(near) + 1)).astype(np.int32),
            start=_starts(steps, turns).astype(np.int32),  # modulo 2**32
            affine=affine,
            shift=shift,
        )

    def with_add(self, shift: np.ndarray, lift: np.ndarray | None) -> "_Packed":
        """The same sums, to which something is added before they are activated."""
        return dataclasses.replace(self, shift=shift, lift=lift)

    def numbers(self) -> np.ndarray:
        """[7, 16 blocks] int32: start, low, high, multiplier, bias, shift, lift of each filter."""
        none = np.zeros(self.filters, np.int32)
        affine = self.affine
        rows = [affine.low, affine.high, affine.multiplier, affine.bias]
        rows += [none if part is None else part for part in (self.shift, self.lift)]
        room = self.start.size - self.filters
        return np.stack([self.start, *(np.pad(row.astype(np.int32), (0, room)) for row in rows)])

    def __call__(
        self, x: jax.Array, slope: int, pool: bool = False, other: jax.Array | None = None
    ) -> jax.Array:
        """The output of the convolution, pooled or with `other` added.

        Args:
          x: [batch, height, width, channels] int8.
          slope: of the leaky ReLU.
          pool: whether only the largest of each 2x2 square is wanted.
          other: what is added to v; activations where there is a `lift`, else sums.

        Returns:
          [batch, height, width, filters], int8 activations, or int32 sums without `shift`.
        """
        batch, height, width = x.shape[:3]
        step = self.stride * (1 + pool)
        shape = (batch, -(-height // step), -(-width // step), self.filters)
        kind = jnp.int32 if self.shift is None else jnp.int8
        if other is None:
            other = jnp.zeros((0,), _NOTHING)
        call = jax.ffi.ffi_call(
            native_build.TARGET, jax.ShapeDtypeStruct(shape, kind), vmap_method="sequential"
        )
        arrays = (self.weights, self.more, self.order, self.which, self.first, self.numbers())
        return call(
            x,
            *map(jnp.asarray, arrays),
            other,
            size=np.int64(self.size),
            stride=np.int64(self.stride),
            slope=np.int64(slope),
            pool=pool,
        )


def _steps(weights: np.ndarray) -> np.ndarray:
    """Weights in the order in which the kernel reads them, [blocks, steps, 16, 4].

    A row of the window is a run of bytes, which is filled up to whole steps, as filters are to
    whole blocks.

    Args:
      weights: [size, size, inputs, filters].
    """
    size, _, inputs, filters = weights.shape
    rows = weights.reshape(size, size * inputs, filters)
    rows = np.pad(rows, ((0, 0), (0, -size * inputs % _STEP), (0, -filters % _LANES)))
    steps = rows.reshape(-1, _STEP, rows.shape[-1] // _LANES, _LANES)
    return steps.transpose(2, 0, 3, 1)


def _turned(steps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Changes the sign of steps of which more weights fit int8 then.

    Args:
      steps: [blocks, steps, 16, 4].

    Returns:
      The same with some signs changed; [pairs of blocks, steps] 1 where that was done, else 0.
    """
    pairs = range(0, len(steps), 2)
    worse = ((steps > 127) | (steps < -128)).any(axis=(2, 3)).astype(int)
    better = ((-steps > 127) | (-steps < -128)).any(axis=(2, 3)).astype(int)
    turns = np.add.reduceat(better, pairs, axis=0) < np.add.reduceat(worse, pairs, axis=0)
    each = np.repeat(turns, 2, axis=0)[: len(steps), :, None, None]
    return np.where(each, -steps, steps), turns.astype(int)


def _starts(steps: np.ndarray, turns: np.ndarray) -> np.ndarray:
    """[16 blocks] what makes up for the bytes a + 128, or 127 - a where a step was turned."""
    offset = np.where(np.repeat(turns, 2, axis=0)[: len(steps)], 127, 128)
    return -(steps.astype(np.int64).sum(axis=3) * offset[:, :, None]).sum(axis=1).reshape(-1)


def _parts(weights: np.ndarray) -> list[np.ndarray]:
    """Arrays of int8 whose sum these weights are: one, and more where it does not hold them."""
    parts = [np.clip(weights, -128, 127)]
    while (rest := weights - sum(parts)).any():
        parts.append(np.clip(rest, -128, 127))
    return [part.astype(np.int8) for part in parts]
