"""Shift counts and storage, against numbers that a reader can work out with a pencil."""

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from flightnn_jax import (
    FixedPoint,
    Shift,
    ShiftCounts,
    Storage,
    Window,
    count_shifts,
    encode_params,
    init_thresholds,
    make_spec,
    storage_bits,
)

# Four filters of three weights, one a column: two terms each; one term each; one term and a zero;
# zeros. Norms of the residuals after one term: 0.43, 0, 0, 0.
WEIGHTS = jnp.array([[0.75, 0.5, 1.0, 0], [0.75, -1.0, 0, 0], [-0.75, 0.25, -0.5, 0]])
NO_ZERO = WEIGHTS[:, :2]


def counts(w, fmt):
    """k and k_eff, which must be the same under jit."""
    found = count_shifts(w, fmt)
    assert isinstance(found, ShiftCounts)
    for eager, jitted in zip(found, jax.jit(fmt.count_shifts)(w), strict=True):
        np.testing.assert_array_equal(eager, jitted)
        assert eager.dtype == jnp.int32
    return found.k.tolist(), found.k_eff.tolist()


@pytest.mark.whole(7)
@pytest.mark.parametrize("gates", ["nested", "independent"])
@pytest.mark.parametrize(
    ("thresholds", "k", "k_eff"),
    [
        (None, [3, 3, 3, 3], [2, 1, 1, 0]),
        ([0, 0, 0], [2, 1, 1, 0], [2, 1, 1, 0]),
        ([-1, -1, -1], [3, 3, 3, 3], [2, 1, 1, 0]),  # a residual of zero passes
        ([-1, 0, 0], [2, 1, 1, 1], [2, 1, 1, 0]),
        ([0, -1, 0.1], [2, 2, 2, 0], [2, 1, 1, 0]),
        ([0, 0.4, 0], [2, 1, 1, 0], [2, 1, 1, 0]),
        ([0, 0.44, 0.5], [1, 1, 1, 0], [1, 1, 1, 0]),
        ([9, 9, 9], [0, 0, 0, 0], [0, 0, 0, 0]),
    ],
)
@pytest.mark.quick(0)
def test_counts(gates, thresholds, k, k_eff):
    t = None if thresholds is None else jnp.asarray(thresholds, jnp.float32)
    if gates == "independent" and thresholds == [0, -1, 0.1]:
        k = [2, 2, 2, 1]  # a closed first gate does not close the second
    assert counts(WEIGHTS, Shift(k=3, gates=gates, thresholds=t)) == (k, k_eff)


def test_threshold_equal_to_the_norm_keeps_the_gate_closed():
    w = jnp.array([[3.0], [4.0]])
    above = float(jnp.nextafter(jnp.float32(5), jnp.float32(0)))
    assert counts(w, Shift(k=1, thresholds=jnp.array([5.0]))) == ([0], [0])
    assert counts(w, Shift(k=1, thresholds=jnp.array([above]))) == ([1], [1])


def test_counts_per_filter_of_first_axis():
    t = jnp.array([[0, 0, 2, -1.0], [0.5, -1, -1, -1]])
    fmt = Shift(k=2, filter_axis=0, thresholds=t)
    assert counts(WEIGHTS.T, fmt) == ([1, 2, 0, 2], [1, 1, 0, 0])


def test_counts_of_flushed_terms():
    """2**-9 lies below the window -7..0: a second term that is zero everywhere does not count."""
    w = jnp.array([[1.0], [0.25 + 2.0**-9]])
    assert counts(w, Shift(k=2, window=Window(below="flush"))) == ([2], [1])
    assert counts(w, Shift(k=2, window=Window())) == ([2], [2])


def test_counts_of_trees():
    params = {"a": WEIGHTS, "b": jnp.ones(3), "c": [WEIGHTS]}
    found = count_shifts(params, {"a": Shift(k=1), "b": None, "c": FixedPoint()})
    assert found["a"].k.tolist() == [1, 1, 1, 1]
    assert found["b"] is None
    assert found["c"] == [None]


FLUSH7, FLUSH8 = Window(7, below="flush"), Window(below="flush")


@pytest.mark.whole(12)
@pytest.mark.parametrize(
    ("w", "fmt", "bits"),
    [
        (NO_ZERO, Shift(k=0), 0),
        (NO_ZERO, Shift(k=1), 6 * 4),
        (NO_ZERO, Shift(k=2), (3 * 2 + 3 * 1) * 4),  # the second filter has k_eff = 1
        (jnp.full((3, 2), 0.75), Shift(k=2), 6 * 8),
        (NO_ZERO, Shift(k=2, thresholds=jnp.zeros(2)), (3 * 2 + 3 * 1) * 4),
        (NO_ZERO, Shift(k=2, thresholds=-jnp.ones(2)), (3 * 2 + 3 * 1) * 4),
        (NO_ZERO, Shift(k=2, thresholds=jnp.array([1.2, 0.0])), 3 * 2 * 4),  # norms 1.3 and 1.1
        (NO_ZERO, Shift(k=2, thresholds=jnp.array([9.0, 0.0])), 0),
        (WEIGHTS, Shift(k=1), (1 + 1 + 2 + 0) * 3 * 4),  # a zero takes two terms
        (WEIGHTS, Shift(k=2), (2 + 1 + 2 + 0) * 3 * 4),
        (WEIGHTS, Shift(k=1, window=FLUSH7), (1 + 1 + 1 + 0) * 3 * 4),  # 15 codes
        (WEIGHTS, Shift(k=1, window=FLUSH8), (1 + 1 + 1 + 0) * 3 * 5),  # 17 codes
        (NO_ZERO, Shift(k=1, window=Window(2)), 6 * 2),
        (NO_ZERO, Shift(k=1, window=Window(4)), 6 * 3),
        (NO_ZERO, Shift(k=1, window=Window(9)), 6 * 5),
        (NO_ZERO, Shift(k=1, window=Window(16, top=0)), 6 * 5),
        (WEIGHTS, Shift(k=1, window=None), 9 * 9),  # 2 x 254 exponents and zero
        (WEIGHTS.astype(jnp.float16), Shift(k=1, window=None), 9 * 7),  # 2 x 40 and zero
        (WEIGHTS.astype(jnp.bfloat16), Shift(k=1, window=None), 9 * 9),
        (WEIGHTS.T, Shift(k=1, filter_axis=0), 12 * 4),
        (WEIGHTS[:, None], Shift(k=1, filter_axis=-1), 12 * 4),
        (WEIGHTS, FixedPoint(bits=4), 12 * 4),
        (WEIGHTS, FixedPoint(bits=16, scale="unit"), 12 * 16),
    ],
)
@pytest.mark.quick(0)
def test_storage_by_hand_and_by_the_encoding(w, fmt, bits):
    assert storage_bits(w, fmt) == Storage(quantized=bits, floating=0)
    codes = encode_params(w, fmt)
    frame, table = 14 + 4, math.ceil(2 * w.shape[fmt.filter_axis] / 8)
    if isinstance(fmt, Shift):
        assert codes.storage_bits() == bits
        header = 3 + 8 * w.ndim + 6 + table
    else:
        header = 3 + 8 * w.ndim + 3
    assert len(codes.to_bytes()) == frame + header + math.ceil(bits / 8)


def test_what_stays_float_is_counted_at_its_own_width():
    params = {
        "kernel": jnp.full((3, 2), 0.75),
        "bias": jnp.ones(5),
        "scale": jnp.ones(3, jnp.bfloat16),
        "steps": np.zeros(2, np.int64),
        "name": "layer",
    }
    spec = {"kernel": Shift(k=2), "bias": None, "scale": None, "steps": None, "name": None}
    assert storage_bits(params, spec) == Storage(6 * 8, 5 * 32 + 3 * 16 + 2 * 64)
    assert storage_bits(params, None) == Storage(0, 6 * 32 + 5 * 32 + 3 * 16 + 2 * 64)


@pytest.fixture(scope="module")
def network_1():
    """The kernels of network 1: a VGG with seven convolutions of 3 x 3."""
    widths = [3, 16, 16, 32, 32, 64, 64, 10]
    rng = np.random.default_rng(0)
    return [
        jnp.asarray(rng.normal(size=(3, 3, a, b)) / math.sqrt(9 * a), jnp.float32)
        for a, b in itertools.pairwise(widths)
    ]


@pytest.mark.whole(2)
@pytest.mark.parametrize(
    ("fmt", "bits", "megabytes"),
    [
        (Shift(k=1), 4, 0.0388),
        (Shift(k=2), 8, 0.0776),
        (FixedPoint(bits=4), 4, 0.0388),
        (None, 32, 0.310),
    ],
)
@pytest.mark.quick(0)
def test_network_1(network_1, fmt, bits, megabytes):
    assert sum(w.size for w in network_1) == 77_616
    stored = storage_bits(network_1, None if fmt is None else make_spec(network_1, fmt))
    assert sum(stored) == 77_616 * bits
    assert stored.quantized == (0 if fmt is None else 77_616 * bits)
    assert sum(stored) / 8e6 == pytest.approx(megabytes, abs=5e-4)


@pytest.mark.exhaustive
@pytest.mark.slow
def test_network_1_flexible(network_1):
    """4 k_i bits a weight, filter by filter, with thresholds that leave some filters one term."""
    kernels = network_1[3:5]
    spec = make_spec(kernels, Shift(k=2))
    norms = [jax.jit(fmt.residual_norms)(w)[1] for fmt, w in zip(spec, kernels, strict=True)]
    median = float(np.median(np.concatenate(norms)))
    spec = init_thresholds(kernels, spec, value=[0.0, median])
    found = [k for k, _ in count_shifts(kernels, spec)]
    assert {1, 2} == set(np.concatenate(found).tolist())
    by_hand = sum(
        4 * int(k) * w[..., 0].size for w, ks in zip(kernels, found, strict=True) for k in ks
    )
    assert storage_bits(kernels, spec).quantized == by_hand
    assert sum(codes.storage_bits() for codes in encode_params(kernels, spec)) == by_hand
