"""Q_k(w | t) equals the rational oracle bit for bit; and the laws that it obeys."""

import functools
import math

import hypothesis
import hypothesis.extra.numpy as hnp
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from flightnn_jax import Shift, Window, count_shifts, quantize_params
from tests.support import oracle

pytestmark = pytest.mark.optimized

GATES = ("nested", "independent")

# Windows as (width, top, below), each with the rounding rules it is tried with.
CASES = [
    ((8, None, "clamp"), "log"),
    ((8, None, "clamp"), "linear"),
    ((7, None, "flush"), "log"),
    ((7, None, "flush"), "linear"),
    ((8, 0, "clamp"), "log"),
    ((4, -3, "flush"), "linear"),
    ((2, None, "clamp"), "log"),
    ((8, -122, "clamp"), "log"),  # reaches below the normal numbers: cut off there
    (None, "log"),
    (None, "linear"),
]


def bits_of(x):
    x = np.asarray(x)
    return x.view(f"u{x.dtype.itemsize}")


def assert_same_bits(actual, expected):
    actual = np.asarray(actual)
    np.testing.assert_array_equal(bits_of(actual), bits_of(expected.astype(actual.dtype)))


def as_window(window):
    return None if window is None else Window(*window)


@functools.cache
def layers(dtype):
    """[exponents + 2, 4, 6]: layer i has its largest weight at exponent lowest + i.

    Weights have mantissas next to a switch, are up to 11 exponents below the largest one (so
    below some windows, above some, and subnormal in the first layers), of both signs; every fifth
    layer has a filter of zeros. The last two hold only zeros and only subnormal numbers.
    """
    rng = np.random.default_rng(0)
    lowest, highest, smallest = oracle.REACH[dtype]
    bits = jnp.finfo(dtype).nmant
    one, half = 1 << bits, 1 << (bits - 1)
    root = math.isqrt(2 * one * one)
    switches = [0, 1, *range(root - one - 1, root - one + 3), half - 1, half, half + 1, one - 1]
    mantissas = one + np.array(switches)
    exponents = np.arange(lowest, highest + 1)
    size = (len(exponents), 4, 6)
    exponent = exponents[:, None, None] - rng.integers(0, 12, size)
    exponent[:, 0, 1] = exponents
    sign = rng.choice([-1, 1], size)
    w = np.ldexp(sign * rng.choice(mantissas, size).astype(np.float64), exponent - bits)
    w[::5, :, 3] = 0
    w[1::5, :, 4] = np.abs(w[1::5, :1, 4])  # equal weights: residuals may vanish together
    dead = np.stack([np.zeros((4, 6)), np.ldexp(sign[0].astype(float), smallest - 4)])
    return np.concatenate([w, dead]).astype(dtype)


def between(norms, rng, largest=2.0**127):
    """The middle of a gap of these norms, or a number beyond them."""
    norms = np.unique(norms[(norms > 0) & (norms < largest / 4)])
    if not norms.size:
        return rng.choice([-1, 0, 1])
    edges = np.concatenate([norms[:1] / 4, norms, norms[-1:] * 4])
    wide = edges[1:] > 1.001 * edges[:-1]
    return rng.choice(np.sqrt(edges[1:][wide]) * np.sqrt(edges[:-1][wide]))


def thresholds_for(layer, per, rng, **rule):
    """[3] or [3, filters], between the norms of the residuals that can occur; or 0, or below."""
    norms = oracle.quantize(layer, **rule).norms
    columns = norms.T if per == "filter" else [norms]
    largest = float(jnp.finfo(layer.dtype).max) if layer.dtype == np.float64 else 2.0**127
    t = np.array([[between(x, rng, largest) for x in columns] for _ in range(3)])
    kind = rng.integers(0, 6)
    if kind < 2:
        t[:] = -kind
    elif kind < 4:
        t[rng.integers(0, 3), :: rng.integers(1, 3)] = 2 - kind
    t = t.astype(np.float64 if layer.dtype == np.float64 else np.float32)
    return t if per == "filter" else t[:, 0]


def gates_for(t):
    return GATES if t is not None else GATES[:1]  # without thresholds they are all open


def found_by_library(w, t, terms, **rule):
    """(Q, k, k_eff) for every way to gate and every k, of a stack of layers at once."""

    def of_layer(w, t):
        shifts = {
            (gates, k): Shift(k, gates=gates, thresholds=None if t is None else t[:k], **rule)
            for gates in gates_for(t)
            for k in terms
        }
        return {key: (s.quantize(w), *s.count_shifts(w)) for key, s in shifts.items()}

    return jax.jit(jax.vmap(of_layer))(w, t)


def assert_equal_to_oracle(w, t, window, rounding, terms=(0, 1, 2, 3)):
    """All of w [layers, fan_in, filters] with thresholds [layers, 3, ...] or None."""
    by_gates = found_by_library(w, t, terms, window=as_window(window), rounding=rounding)
    for gates in gates_for(t):
        rule = {"window": window, "rounding": rounding, "gates": gates}
        # One recursion has all k but 1, whose largest power of two is another.
        depths = {k: 1 if k == 1 else 3 for k in terms}
        runs = {
            depth: [
                oracle.quantize(x, None if t is None else t[i, :depth], depth, **rule)
                for i, x in enumerate(w)
            ]
            for depth in set(depths.values())
        }
        for k in terms:
            q, count, effective = by_gates[gates, k]
            expected = runs[depths[k]]
            np.testing.assert_array_equal(count, [x.k[k] for x in expected], f"{gates}, {k}")
            np.testing.assert_array_equal(effective, [x.k_eff[k] for x in expected])
            assert q.dtype == w.dtype
            assert_same_bits(q, np.stack([x.q[k] for x in expected]))


@pytest.mark.no_cover  # it would cost a third of the time, as below
@pytest.mark.quick(1)  # each compiles
@pytest.mark.parametrize(("window", "rounding"), CASES)
def test_every_exponent_and_switch(window, rounding):
    step = 1 if window in (CASES[0][0], None) else 4
    w = layers("float32")[::-step][::-1]  # the dead ones are the last
    assert_equal_to_oracle(w, None, window, rounding)


@pytest.mark.whole(3)
@pytest.mark.slow
@pytest.mark.parametrize("per", ["layer", "filter"])
@pytest.mark.parametrize("window", [(8, None, "clamp"), None])
def test_gates_at_every_exponent(window, per):
    assert_gates_equal_to_oracle(window, "log", per, step=2, terms=(1, 2, 3))


@pytest.mark.whole(4)
@pytest.mark.no_cover
@pytest.mark.quick(1)
@pytest.mark.parametrize(("window", "rounding"), CASES[1:-2] + CASES[-1:])
def test_gates_with_other_windows_and_roundings(window, rounding):
    per = "layer" if rounding == "log" else "filter"
    assert_gates_equal_to_oracle(window, rounding, per, step=6, terms=(2,))


def assert_gates_equal_to_oracle(window, rounding, per, step, terms):
    w = layers("float32")[::-step]
    if window is not None and window[1] is not None and window[2] == "clamp":
        # To the gates, what is 2**100 below such a window is zero.
        w = w[abs(w).max(axis=(1, 2)) > 2.0 ** (window[1] - window[0] - 90)]
    rng = np.random.default_rng(1)
    t = [thresholds_for(x, per, rng, window=window, rounding=rounding) for x in w]
    assert_equal_to_oracle(w, np.stack(t), window, rounding, terms)


@pytest.mark.quick(3)
@pytest.mark.whole(4)
@pytest.mark.no_cover
@pytest.mark.parametrize("window", [(8, None, "clamp"), (5, 3, "flush"), None])
@pytest.mark.parametrize("dtype", ["bfloat16", "float64", "float16"])
def test_other_types(dtype, window):
    w = layers(dtype)
    w = np.concatenate([w[:-5:16], w[-5:]]) if dtype != "float16" else w
    rng = np.random.default_rng(2)
    t = [thresholds_for(x, "filter", rng, window=window, rounding="log") for x in w]
    with jax.enable_x64(dtype == "float64"):
        assert_equal_to_oracle(w, np.stack(t), window, "log", terms=(3,))


@pytest.mark.parametrize("window", [None, (8, 0, "clamp")])
def test_filters_of_all_sizes_in_one_layer(window):
    """Filter i is near 2**(2 i - 50), with a threshold just below or above its norm."""
    rng = np.random.default_rng(3)
    exponent = np.arange(-50, 50, 2)
    w = (rng.uniform(-1, 1, (3, exponent.size)) * 2.0**exponent).astype(np.float32)
    norms = oracle.quantize(w, window=window).norms
    factor = rng.choice([0.99, 1.01], norms.shape)
    t = np.where(norms > 0, norms * factor, 0).astype(np.float32)
    assert_equal_to_oracle(w[None], t[None], window, "log", terms=(3,))


@pytest.mark.parametrize("k", [1, 2, 3])
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_largest_numbers_saturate(dtype, k):
    """At the largest power, or at two or three times the one below it: a sum that is finite."""
    with jax.enable_x64(dtype == "float64"):
        largest = jnp.finfo(dtype).max
        q = jax.jit(Shift(k, window=None).quantize)(jnp.array([[largest, -largest, 0]], dtype))
        power = 2.0 ** oracle.REACH[dtype].highest
        expected = power * {1: 1, 2: 1, 3: 1.5}[k]
        assert np.asarray(q, np.float64).tolist() == [[expected, -expected, 0]]


@pytest.mark.parametrize("scale", [2.0**-120, 1.0, 2.0**100])
def test_gate_is_strict(scale):
    """The norm of (3, 4) is 5, and 5 > 5 is false; its terms (4, 4) leave (-1, 0), of norm 1."""
    w = np.array([[3.0], [4.0]], np.float32) * np.float32(scale)
    limit = np.float32([5, 5, 5, 1, 1, 1]) * np.float32(scale)
    limit = np.nextafter(limit, np.float32([0, scale * 5, np.inf] * 2), dtype=np.float32)
    limit[4] = scale
    t = np.where(np.arange(2) == np.arange(6)[:, None] // 3, limit[:, None], 0)
    count = jax.jit(jax.vmap(lambda w, t: Shift(2, thresholds=t).count_shifts(w), (None, 0)))
    expected = [oracle.quantize(w, x, k=2, margin=0).k[2] for x in t]
    assert np.ravel(expected).tolist() == [2, 0, 0, 2, 1, 1]
    np.testing.assert_array_equal(count(w, t).k, expected)


def test_nested_and_independent_gates_differ_where_a_later_residual_passes():
    w = jnp.array([[0.3], [0.4]])  # norm 0.5
    t = jnp.array([0.6, 0.1])
    nested, independent = (Shift(thresholds=t, gates=gates) for gates in GATES)
    assert quantize_params(w, nested).ravel().tolist() == [0, 0]
    assert quantize_params(w, independent).ravel().tolist() == [0.25, 0.5]


def test_open_gate_on_a_zero_residual_counts_but_takes_no_shift():
    w = jnp.array([[0.5, 0.75, 0.0], [0.25, 0.5, 0.0]])
    counts = count_shifts(w, Shift(k=3, thresholds=jnp.full(3, -1.0)))
    assert counts.k.tolist() == [3, 3, 3]
    assert counts.k_eff.tolist() == [1, 2, 0]


# Properties, on layers of five filters that hypothesis makes.


def numbers(width):
    """Zero or 2**-40 to 2**40: to the gates, what is 2**100 below the largest weight is zero."""
    sizes = st.floats(2.0**-40, 2.0**40, width=width)
    return st.just(0.0) | sizes | sizes.map(lambda x: -x)


LAYER = hnp.arrays(np.float32, (3, 5), elements=numbers(32))
STEEP = hnp.arrays(np.int8, (3, 5), elements=st.integers(-14, 14))
check = hypothesis.settings(deadline=None, derandomize=True, database=None, max_examples=60)


@functools.cache
def quantizer(k, window, rounding="log", gates="nested"):
    """Compiled Q_k of weights [3, 5] and thresholds [k] or None."""
    rule = {"window": as_window(window), "rounding": rounding, "gates": gates}
    return jax.jit(lambda w, t=None: Shift(k, thresholds=t, **rule).quantize(w))


@pytest.mark.parametrize(
    ("k", "window", "rounding"),
    [
        (1, (8, None, "clamp"), "log"),
        (1, (7, None, "flush"), "linear"),
        (2, (8, 0, "clamp"), "log"),
        (3, (4, -3, "flush"), "linear"),
        (3, None, "log"),
    ],
)
@check
@hypothesis.given(w=LAYER)
def test_quantized_weights_stay_as_they_are(k, window, rounding, w):
    """With two terms and a free top it does not hold: 1.4 becomes 1.5, which moves the top."""
    q = quantizer(k, window, rounding)
    np.testing.assert_array_equal(q(q(w)), q(w))


@pytest.mark.parametrize("window", [(8, None, "clamp"), (3, None, "flush"), None])
@check
@hypothesis.given(w=LAYER, steep=STEEP, power=st.integers(-30, 30))
def test_powers_of_two_and_signs_pass_through(window, w, steep, power):
    """Q(s w | |s| t) = s Q(w | t) for s a signed power of two, if all numbers stay normal."""
    w = np.ldexp(np.where(np.abs(w) < 2.0**-40, 0, w), steep)
    t = np.array([2.0, 0.3, -1.0], np.float32)
    q = quantizer(3, window)
    moved = q(np.ldexp(w, power), np.ldexp(t, power))
    np.testing.assert_array_equal(moved, np.ldexp(q(w, t), power))
    np.testing.assert_array_equal(q(-w, t), -q(w, t))


@pytest.mark.parametrize("window", [(8, 0, "clamp"), (6, 2, "flush"), None])
@check
@hypothesis.given(w=LAYER, other=LAYER, chosen=hnp.arrays(bool, 5))
def test_filters_know_nothing_of_each_other_but_the_window(window, w, other, chosen):
    q = quantizer(3, window, "log", "independent")
    t = np.array([1.0, 0.25, 0.0], np.float32)
    mixed = np.where(chosen, w, other)
    np.testing.assert_array_equal(q(mixed, t), np.where(chosen, q(w, t), q(other, t)))


@pytest.mark.parametrize("shape", [(5,), (1, 7), (13, 3), (16, 1), (3, 2, 4, 6), (0, 2)])
def test_filter_axis_is_a_moved_axis(shape):
    w = np.random.default_rng(4).normal(size=shape).astype(np.float32)
    t = np.array([0.8, 0.1], np.float32)
    for axis in range(-1, len(shape) - 1):
        last = np.moveaxis(w, axis, -1)
        flat = last.reshape(math.prod(last.shape[:-1]), last.shape[-1])
        expected = oracle.quantize(flat, t, k=2, window=(8, None, "clamp"))
        shift = Shift(filter_axis=axis, thresholds=t)
        q, counts = jax.jit(lambda s, w: (s.quantize(w), s.count_shifts(w)))(shift, w)
        assert_same_bits(np.moveaxis(np.asarray(q), axis, -1).reshape(flat.shape), expected.q[2])
        np.testing.assert_array_equal(counts.k, expected.k[2])
        np.testing.assert_array_equal(counts.k_eff, expected.k_eff[2])


FLEXIBLE = {
    f"{k} terms, thresholds per {per}": (k, per)
    for k in (0, 1, 2, 3)
    for per in ("nothing", "layer", "filter")
}
JITTED = jax.jit(lambda params, spec: (quantize_params(params, spec), count_shifts(params, spec)))


def specs_with(value):
    """A spec of every kind; the last threshold of the layer, or of the last filter, is `value`."""
    t = {"nothing": lambda k: None, "layer": np.zeros, "filter": lambda k: np.zeros((k, 3))}
    spec = {name: Shift(k, thresholds=t[per](k)) for name, (k, per) in FLEXIBLE.items()}
    for shift in spec.values():
        if shift.k and shift.thresholds is not None:
            shift.thresholds.flat[-1] = value
    return spec


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_weight_that_is_not_finite_inside_jit_spoils_its_layer(bad):
    w = np.ones((4, 3), np.float32)
    broken = w.copy()
    broken[2, 1] = bad
    spec = specs_with(0)
    q, counts = JITTED(dict.fromkeys(spec, broken) | {"fine": w}, spec | {"fine": Shift()})
    np.testing.assert_array_equal(q.pop("fine"), w)
    for name, values in q.items():
        assert np.isnan(values).all(), name
        if spec[name].thresholds is not None:
            assert counts[name].k.tolist() == counts[name].k_eff.tolist() == [0, 0, 0], name


def test_nan_threshold_inside_jit_spoils_its_filters():
    spec = specs_with(np.nan)
    q, _ = JITTED(dict.fromkeys(spec, np.ones((4, 3), np.float32)), spec)
    for name, (k, per) in FLEXIBLE.items():
        bad_filters = {"nothing": [0, 0, 0], "layer": [1, 1, 1], "filter": [0, 0, 1]}[per]
        expected = np.where(bad_filters, np.nan, 1) if k else np.zeros(3)
        np.testing.assert_array_equal(q[name], np.tile(expected, (4, 1)), name)


@pytest.mark.parametrize("scale", [1.0, 2.0**-25, 2.0**-100, 2.0**100])
def test_weights_may_be_constants_of_a_jitted_function(scale):
    """The compiler then computes with them, by its own rules for what may be reordered."""
    w = np.random.default_rng(5).normal(size=(4, 3)).astype(np.float32) * np.float32(scale)
    t = np.array([1.5, 0.3], np.float32) * np.float32(scale)
    expected = oracle.quantize(w, t, k=2, window=(8, None, "clamp"))
    assert sorted(expected.k[2]) == [0, 2, 2]
    q = jax.jit(lambda t: Shift(thresholds=t).quantize(jnp.asarray(w)))(t)
    assert_same_bits(q, expected.q[2])


@pytest.mark.parametrize("constant", ["weights", "spec", "weights and spec"])
def test_quantize_params_takes_constants_of_a_jitted_function(constant):
    args = {"params": jnp.full((2, 2), 0.7), "spec": Shift(thresholds=jnp.array([0.5, 0.1]))}
    names = {"weights": ["params"], "spec": ["spec"]}.get(constant, ["params", "spec"])
    held = {name: args[name] for name in names}
    given = {name: x for name, x in args.items() if name not in held}
    q = jax.jit(lambda **given: quantize_params(**given, **held))(**given)
    np.testing.assert_array_equal(q, np.full((2, 2), 0.75))
