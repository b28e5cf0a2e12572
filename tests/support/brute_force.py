"""docs/integers.md, word for word, in NumPy int64 and Python loops: slow, and nothing is shared."""

import numpy as np


def even(v, n):
    """v / 2**n to the nearest integer, ties to the even one."""
    v, n = np.broadcast_arrays(np.asarray(v, np.int64), np.asarray(n, np.int64))
    step = np.int64(1) << np.maximum(n, 0)
    quotient, rest = np.divmod(v, step)
    up = (2 * rest > step) | ((2 * rest == step) & (quotient % 2 == 1))
    return np.where(n < 0, v << np.maximum(-n, 0), quotient + up)


def activate(v, shift, slope):
    shift = np.asarray(shift, np.int64)
    return np.clip(np.where(v >= 0, even(v, shift), even(v, shift + slope)), -128, 127)


def convolve(x, w, stride, p=None, groups=1):
    size = w.shape[0]
    p = (size - 1) // 2 if p is None else p
    batch, height, width, _ = x.shape
    if groups > 1:
        parts = zip(np.split(x, groups, -1), np.split(w, groups, -1), strict=True)
        return np.concatenate([convolve(*part, stride, p) for part in parts], -1)
    rows, columns = ((n + 2 * p - size) // stride + 1 for n in (height, width))
    out = np.zeros((batch, rows, columns, w.shape[-1]), np.int64)
    for y in range(out.shape[1]):
        for z in range(out.shape[2]):
            for dy in range(size):
                for dx in range(size):
                    row, column = stride * y + dy - p, stride * z + dx - p
                    if 0 <= row < height and 0 <= column < width:
                        out[:, y, z] += x[:, row, column] @ w[dy, dx]
    return out


def integers(weights):
    """The weights' sums of terms, or values, int64."""
    if hasattr(weights, "value"):
        return weights.value.astype(np.int64)
    if hasattr(weights, "levels"):
        return np.array([weights.levels[i] for i in weights.index.flat], np.int64).reshape(
            weights.index.shape
        )
    if hasattr(weights, "negative"):
        return np.where(weights.negative, np.int64(-1), np.int64(1))
    terms = weights.sign.astype(np.int64) * 2 ** weights.shift.astype(np.int64)
    return terms.sum(axis=0)


def layer_outputs(network, images):
    """Every layer's output by name, int64."""
    values = {"image": images.astype(np.int64) - 128}
    for layer in network.layers:
        values[layer.name] = _LAYERS[type(layer).__name__](layer, values, network.slope)
    del values["image"]
    return values


def _convolution(layer, values, slope):
    w, p = integers(layer.weights), layer.padding
    acc = convolve(values[layer.input], w, layer.stride, p, layer.groups)
    a = layer.affine
    v = np.clip(acc, a.low, a.high) * a.multiplier.astype(np.int64) + a.bias
    return v if layer.shift is None else activate(v, layer.shift, 0 if layer.linear else slope)


def _add(layer, values, slope):
    v = 0
    for name, lift in zip(layer.inputs, layer.lift, strict=True):
        v = v + (values[name] if lift is None else values[name] * 2 ** lift.astype(np.int64))
    return activate(v, layer.shift, slope)


def _max_pool(layer, values, slope):
    del slope
    x, p = values[layer.input], layer.padding
    batch, height, width, channels = x.shape
    rows, columns = ((n + 2 * p - layer.size) // layer.stride + 1 for n in (height, width))
    out = np.full((batch, rows, columns, channels), -1000)
    for y in range(rows):
        for z in range(columns):
            top, left = y * layer.stride - p, z * layer.stride - p
            for row in range(max(top, 0), min(top + layer.size, height)):
                for column in range(max(left, 0), min(left + layer.size, width)):
                    out[:, y, z] = np.maximum(out[:, y, z], x[:, row, column])
    return out


def _flatten(layer, values, slope):
    del slope
    x = values[layer.input]
    return x.reshape(len(x), -1) if layer.axes == 1 else x.reshape(len(x), 1, 1, -1)


def _average(layer, values, slope):
    del slope
    total = values[layer.input].sum(axis=(1, 2))
    return total if layer.shift is None else np.clip(even(total, layer.shift), -128, 127)


def _dense(layer, values, slope):
    del slope
    return values[layer.input] @ integers(layer.weights) + layer.bias


_LAYERS = {
    "Convolution": _convolution,
    "Add": _add,
    "MaxPool": _max_pool,
    "Average": _average,
    "Dense": _dense,
    "Flatten": _flatten,
}
