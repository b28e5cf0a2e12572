"""Plants small faults in integer networks, and counts what their files' own examples find.

    python -m benchmarks.faults /tmp/digits/integers.safetensors --dataset=digits --faults=300

A fault is one step more or less of a bias, multiplier, low, high, shift or lift of one filter, or
another code of one weight; the certificate is made anew, so that no rule is broken. The golden
images and the digests of the file are then run. A fault that they miss is run on the test split:
does any layer give another integer there?
"""

import argparse
import collections
import dataclasses
import itertools
import json
from collections.abc import Iterator

import numpy as np

from flightnn_jax import data
from flightnn_jax.checker import checker, interpreter, reader
from flightnn_jax.integer import (
    Add,
    BinaryWeights,
    CodebookWeights,
    Convolution,
    Dense,
    IntegerNetwork,
    IntegerNetworkError,
    IntegerWeights,
    Layer,
    ShiftWeights,
    Weights,
    certified,
    check,
    files,
)

KINDS = ("bias", "multiplier", "low", "high", "shift", "lift", "code")


def main() -> None:
    """Counts for the files that are named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("files", nargs="+", help="of integer networks, with digests")
    parser.add_argument("--dataset", default="digits", help="whose test split is run")
    parser.add_argument("--faults", type=int, default=100, help="of each kind")
    parser.add_argument("--seed", type=int, default=0)
    flags = parser.parse_args()
    for path in flags.files:
        network = files.load(path)
        test = data.find(flags.dataset, image_size=network.input_shape[0]).open("test")
        images, _ = test.read(np.arange(len(test)))
        print(json.dumps({"file": path, **count(network, images, flags.faults, flags.seed)}))


def count(network: IntegerNetwork, images: np.ndarray, faults: int, seed: int) -> dict[str, object]:
    """By kind of fault: planted; found by golden images, by digests of outputs, by all; the rest.

    Args:
      network: with golden images and digests.
      images: of the test split.
      faults: to plant, of each kind.
      seed: of the choice.
    """
    rng = np.random.default_rng(seed)
    right = _outputs(network, images)
    table: dict[str, object] = {}
    for kind in KINDS:
        seen: collections.Counter[str] = collections.Counter()
        for wrong in _faults(rng, network, kind, faults):
            seen["planted"] += 1
            reasons = checker.check(reader.read(files.to_bytes(wrong)))
            outputs = [r for r in reasons if r.startswith(("golden", "digests.outputs"))]
            seen["golden"] += any(r.startswith("golden") for r in reasons)
            seen["outputs"] += bool(outputs)
            seen["found"] += bool(reasons)
            if not reasons:
                given = _outputs(wrong, images)
                seen["missed, seen on the test split"] += any(
                    np.any(given[name] != right[name]) for name in right
                )
        table[kind] = dict(seen)
    return table


def _outputs(network: IntegerNetwork, images: np.ndarray) -> dict[str, np.ndarray]:
    return interpreter.run(reader.read(files.to_bytes(network)), images)


def _faults(
    rng: np.random.Generator, network: IntegerNetwork, kind: str, faults: int
) -> Iterator[IntegerNetwork]:
    tries = (planted(rng, network, kind) for _ in range(20 * faults))
    return itertools.islice((wrong for wrong in tries if wrong is not None), faults)


def planted(rng: np.random.Generator, network: IntegerNetwork, kind: str) -> IntegerNetwork | None:
    """The network with a fault of a kind; None where it has no such number, or a rule finds it."""
    layers = [i for i, layer in enumerate(network.layers) if _has(layer, kind)]
    if not layers:
        return None
    i = int(rng.choice(layers))
    changed = _changed(rng, network.layers[i], kind)
    whole = (*network.layers[:i], changed, *network.layers[i + 1 :])
    try:
        broken = certified(dataclasses.replace(network, layers=whole))
        check(broken)
    except IntegerNetworkError:
        return None
    return broken


def _has(layer: Layer, kind: str) -> bool:
    if kind in ("multiplier", "low", "high"):
        return isinstance(layer, Convolution)
    if kind in ("bias", "code"):
        return isinstance(layer, Convolution | Dense)
    if kind == "lift":
        return isinstance(layer, Add) and any(lift is not None for lift in layer.lift)
    return isinstance(layer, Convolution | Add) and layer.shift is not None


def _changed(rng: np.random.Generator, layer: Layer, kind: str) -> Layer:
    if isinstance(layer, Convolution) and kind in ("bias", "multiplier", "low", "high"):
        array = _stepped(rng, getattr(layer.affine, kind))
        affine = dataclasses.replace(layer.affine, **{kind: array})
        return dataclasses.replace(layer, affine=affine)
    if isinstance(layer, Add) and kind == "lift":
        lifts = [None if lift is None else _stepped(rng, lift) for lift in layer.lift]
        return dataclasses.replace(layer, lift=(lifts[0], lifts[1]))
    if isinstance(layer, Convolution | Dense) and kind == "code":
        return dataclasses.replace(layer, weights=_recoded(rng, layer.weights))
    if isinstance(layer, Dense):
        return dataclasses.replace(layer, bias=_stepped(rng, layer.bias))
    assert isinstance(layer, Convolution | Add)
    assert layer.shift is not None
    return dataclasses.replace(layer, shift=_stepped(rng, layer.shift))


def _stepped(rng: np.random.Generator, array: np.ndarray) -> np.ndarray:
    """The array with one of its numbers one larger or smaller."""
    array, at = array.copy(), rng.integers(array.size)
    step = 1 if rng.random() < 0.5 or array[at] == np.iinfo(array.dtype).min else -1
    array[at] = int(array[at]) + step
    return array


def _recoded(rng: np.random.Generator, weights: Weights) -> Weights:
    """The weights with another code in one place."""
    if isinstance(weights, IntegerWeights):
        value = weights.value.copy()
        at = rng.integers(value.size)
        value.reshape(-1)[at] = (value.reshape(-1)[at] + 8 + rng.integers(1, 16)) % 16 - 8
        return IntegerWeights(value)
    if isinstance(weights, BinaryWeights):
        negative = weights.negative.copy()
        negative.reshape(-1)[rng.integers(negative.size)] ^= 1
        return BinaryWeights(negative)
    if isinstance(weights, CodebookWeights):
        index, levels = weights.index.copy(), len(weights.levels)
        at = rng.integers(index.size)
        index.reshape(-1)[at] = (index.reshape(-1)[at] + rng.integers(1, max(levels, 2))) % levels
        return dataclasses.replace(weights, index=index)
    assert isinstance(weights, ShiftWeights)
    sign, shift = weights.sign.copy(), weights.shift.copy()
    at = rng.choice(np.flatnonzero(sign))
    code = 2 * shift.reshape(-1)[at] + (sign.reshape(-1)[at] < 0)
    code = (int(code) + rng.integers(1, 16)) % 16
    sign.reshape(-1)[at], shift.reshape(-1)[at] = 1 - 2 * (code % 2), code // 2
    return dataclasses.replace(weights, sign=sign, shift=shift)


if __name__ == "__main__":
    main()
