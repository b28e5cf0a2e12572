"""Several limits at once, against the rule one term at a time in Python."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_array_equal

import flightnn_jax as fl
from flightnn_jax import gates, limits

SHAPES = ((9, 6), (4, 8), (12, 3))


def drawn(seed):
    """Weights, importance, prices in whole numbers: two of the whole network, one of a layer."""
    rng = np.random.default_rng(seed)
    weights = [rng.normal(size=shape).astype(np.float32) for shape in SHAPES]
    squares = [rng.uniform(size=shape).astype(np.float32) for shape in SHAPES]
    prices = [rng.integers(1, 6, (3, 2, n)).astype(np.float32) for _, n in SHAPES]
    for i, of_layer in enumerate(prices):
        of_layer[2] = [[0.0], [1.0]] if i == 1 else 0.0
    return weights, squares, prices


def residuals(w):
    """Before the first and the second term; a window of one shift from the largest power."""
    first = np.asarray(fl.quantize_params(jnp.asarray(w), fl.Shift(k=1)))
    return w.astype(np.float64), w.astype(np.float64) - first


def oracle(weights, squares, prices, room, prune, lost):
    """[k of each filter] of each layer."""
    sure, others, room = [], [], room.astype(np.float64)
    for i, (w, v) in enumerate(zip(weights, squares, strict=True)):
        errors = [(v * r**2).sum(axis=0) for r in residuals(w)]
        kept = np.array([n not in lost[i] for n in range(w.shape[1])])
        best = int(np.argmax(np.where(kept, errors[0], -1)))
        for n in range(w.shape[1]):
            worth = np.inf
            for t in range(2):
                price = prices[i][:, t, n].astype(np.float64)
                worth = min(worth, errors[t][n] / (price / room).max())
                if t == 0 and (n == best or not prune[i]):
                    sure.append((i, n, price))
                elif kept[n]:
                    others.append((-worth, t, i, n, price))
    taken = [np.zeros(w.shape[1], int) for w in weights]
    for i, n, price in sure:
        taken[i][n] = 1
        room = room - price
    room = np.maximum(room, 0)
    for _, t, i, n, price in sorted(others, key=lambda other: other[0]):
        if taken[i][n] == t and (price <= room).all():
            taken[i][n] += 1
            room = room - price
    return taken


def opened(weights, squares, prices, room, prune, lost=((), (), ()), left=0.0):
    spec = fl.init_thresholds(weights, fl.make_spec(weights, fl.Shift(k=2)), "filter")
    for i, filters in enumerate(lost):
        closed = np.zeros(spec[i].thresholds.shape, np.float32)
        closed[:, list(filters)] = gates.CLOSED
        spec[i] = dataclasses.replace(spec[i], thresholds=jnp.asarray(closed))
    most = sum(of_layer.sum(axis=(1, 2)) for of_layer in prices)
    given = limits.Limits(prices, room.astype(np.float32), most, [np.bool_(p) for p in prune])
    found = limits.gates_within(weights, spec, given, np.float32(left), importance=squares)
    return [np.asarray(count.k) for count in fl.count_shifts(weights, found)]


@pytest.mark.quick(0)
@pytest.mark.whole(2)
@pytest.mark.parametrize("seed", range(4))
def test_against_the_rule_term_by_term(seed):
    weights, squares, prices = drawn(seed)
    for room in ([75, 80, 3], [66, 200, 8], [200, 66, 0.5]):
        for prune in ((False,) * 3, (True, True, False)):
            room = np.array(room, float) * (0.6 if any(prune) else 1)
            got = opened(weights, squares, prices, room, prune)
            expected = oracle(weights, squares, prices, room, prune, ((), (), ()))
            for k, other in zip(got, expected, strict=True):
                assert_array_equal(k, other)
    assert min(map(np.min, got)) == 0


def test_what_is_pruned_stays_pruned():
    weights, squares, prices = drawn(0)
    room, prune = np.array([500.0, 500.0, 8.0]), (True, True, False)
    lost = ((1, 4), (0,), ())
    got = opened(weights, squares, prices, room, prune, lost)
    assert [np.flatnonzero(k == 0).tolist() for k in got] == [[1, 4], [0], []]
    assert_array_equal(got[2], 2)


def test_rooms_fall_from_all_terms():
    weights, squares, prices = drawn(1)
    room = np.array([70.0, 300.0, 8.0])
    sums = [
        sum(k.sum() for k in opened(weights, squares, prices, room, (False,) * 3, left=left))
        for left in (1.0, 0.5, 0.0)
    ]
    filters = sum(n for _, n in SHAPES)
    assert 2 * filters == sums[0] > sums[1] > sums[2] > filters
