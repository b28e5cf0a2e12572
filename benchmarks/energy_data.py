"""What units compute when their energy is simulated: independent draws, and trained networks.

One sum after the other is computed over its taps, as an engine does. Weights are those of a format,
made of the same numbers for all units.
"""

from pathlib import Path
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from benchmarks import energy_units
from benchmarks.energy_units import Unit
from flightnn_jax import FixedPointCodes
from flightnn_jax.integer import files

ZOO = Path(__file__).resolve().parents[1] / "results" / "zoo"
NETWORKS = {"shift": "lightnn1", "two shifts": "lightnn2", "4x8": "fp4"}
"""Units with a trained network of their own; the others get the numbers of lightnn2."""
SUMS, TAPS, DEVIATION = 20, 144, 40
POSITIONS, FILTERS = 2, 2
"""Of each layer of the network but the first one and the last one."""


class Row(NamedTuple):
    """A sum.

    Attributes:
      x: [taps] activations as the unit reads them.
      codes: [terms, taps] of weights.
      weights: [taps] the integers that they are.
    """

    x: np.ndarray
    codes: np.ndarray
    weights: np.ndarray


def draws(unit: Unit) -> list[Row]:
    """Activations behind a leaky ReLU with the slope 1/8, of Gaussians as the weights are."""
    rng = np.random.default_rng(0)
    drawn = rng.normal(0, DEVIATION, (SUMS, TAPS))
    leaky = np.clip(np.round(np.where(drawn < 0, drawn / 8, drawn)), -128, 127).astype(np.int64)
    x = adapted(unit, leaky.reshape(-1, 1)).reshape(SUMS, TAPS)
    codes, weights = coded(unit, rng.normal(size=(TAPS, SUMS)))
    return [Row(*row) for row in zip(x, codes, weights, strict=True)]


def network(unit: Unit) -> list[Row]:
    """Layers of a trained network 1 and their activations for its first golden image.

    Windows do not reach beyond the map.
    """
    name = NETWORKS.get(unit.name, "lightnn2")
    trained = files.load(ZOO / f"net1-{name}.safetensors")
    if trained.golden is None:
        raise ValueError(f"net1-{name} has no golden images: make the zoo with them")
    rng = np.random.default_rng(1)
    rows = []
    for layer in trained.weighted[1:-1]:
        size, _, _, filters = layer.weights.shape
        weights = layer.weights.integers().reshape(-1, filters)
        if unit.name in NETWORKS:
            codes, exact = layer.weights.codes().reshape(filters, -1, len(weights)), weights.T
        else:
            codes, exact = coded(unit, weights)
        x = adapted(unit, trained.golden.outputs[layer.input][0].astype(np.int64))
        for _ in range(POSITIONS):
            top, left = (int(rng.integers(n - size + 1)) for n in x.shape[:2])
            window = x[top : top + size, left : left + size].reshape(-1)
            rows += [Row(window, codes[i], exact[i]) for i in rng.permutation(filters)[:FILTERS]]
    return rows


def coded(unit: Unit, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The codes [filters, terms, taps] of weights [taps, filters], and integers [filters, taps].

    Codes that number levels number those of the unit.
    """
    made = unit.format.encode(jnp.asarray(weights, jnp.float32))
    if isinstance(made, FixedPointCodes):
        values = np.asarray(made.value).T.astype(np.int64)
        return values[:, None], values
    integers = made.to_weights().weights
    taps, filters = weights.shape
    codes = integers.codes().reshape(filters, -1, taps).astype(np.int64)
    if unit.levels:
        return codes, np.array(unit.levels)[codes[:, 0]]
    return codes, integers.integers().T.astype(np.int64)


def adapted(unit: Unit, x: np.ndarray) -> np.ndarray:
    """Activations [.., channels] of 8 bits in those that a unit keeps.

    One bit says that a value is not above its channel's median. A few stand for values from 0 on in
    steps of a part of their deviation: 2 for 3 bits, 8 for 5, as in `table40` and `table320`.
    """
    if unit.kept == 8:
        return x
    if unit.kept == 1:
        return (x <= np.median(x.reshape(-1, x.shape[-1]), axis=0)).astype(np.int64)
    deviation = np.sqrt(np.mean(np.square(x[x > 0].astype(np.float64))))
    steps = 2.0 ** (unit.kept - 2)
    return np.clip(np.round(x * (steps / deviation)), 0, (1 << unit.kept) - 1).astype(np.int64)


def stimulus(unit: Unit, rows: list[Row]) -> tuple[np.ndarray, np.ndarray]:
    """What comes in, [cycles, 3] (`clear`, `x`, `code`), and what the sum is, [cycles].

    The sum of operands of a cycle is there 1 + `unit.late` cycles later.
    """
    cycles, sums = [], []
    for row in rows:
        if unit.values == 1:
            places = np.arange(len(row.codes))[:, None] * (unit.code // len(row.codes))
            mask = (1 << unit.code // len(row.codes)) - 1
            words, codes = row.x, np.sum((row.codes & mask) << places, axis=0)
            products = row.x * row.weights
        else:
            words, codes, products = _words(unit, row)
        clear = np.arange(len(words)) == 0
        cycles.append(np.stack([clear, words, codes], axis=1))
        sums.append(np.cumsum(products))
    given = np.concatenate(cycles).astype(np.int64)
    given[:, 0] = np.roll(given[:, 0], unit.late)
    return given, np.concatenate(sums)


def _words(unit: Unit, row: Row) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A few signs a cycle: two bits of each above their count, bits of weights, and the sums."""
    signs, codes = (x.reshape(-1, unit.values) for x in (row.x, row.codes[0]))
    places = np.arange(unit.values)
    words = np.sum((2 * signs + 1) << 2 * places, axis=1) << (
        energy_units.levels_of(unit.values) + 4
    )
    products = np.sum((1 - 2 * signs) * (1 - 2 * codes), axis=1)
    return words | unit.values, np.sum(codes << places, axis=1), products


def levels_of(unit: Unit, weights: np.ndarray) -> tuple[int, ...]:
    """The levels that a unit's format finds for weights."""
    made = unit.format.encode(jnp.asarray(weights, jnp.float32)).to_weights().weights.numbered
    if made is None:
        raise ValueError(f"{unit.name}: weights of {unit.format} are no numbers of levels")
    return tuple(made.tolist())
