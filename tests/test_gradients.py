"""Derivatives of the quantizer and of the penalty, against float64 and finite differences."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from flightnn_jax import FixedPoint, Shift, Window, quantize_params, residual_group_lasso
from tests.support import oracle

# Without coverage, which these lines have from other tests: it costs a third of the time.
pytestmark = pytest.mark.slow

WINDOW = (8, None, "clamp")
GRADIENTS = ("open", "all")
LAYERS, FAN_IN, FILTERS = 8, 12, 6


@functools.cache
def batch(scale=1.0):
    """Weights and cotangents [layers, fan_in, filters], thresholds [layers, 3, filters].

    Filter 0 is zero and filter 1 holds powers of two, so that its first residual is zero; the
    others have norms around one. Thresholds lie on both sides of the residuals' norms, at zero
    and below; the oracle refuses any that is too near.
    """
    rng = np.random.default_rng(0)
    w = rng.normal(0, 0.3, (LAYERS, FAN_IN, FILTERS))
    w[..., 0] = 0
    w[..., 1] = np.exp2(rng.integers(-3, 0, (LAYERS, FAN_IN)))
    t = rng.choice([-0.3, 0, 0.02, 0.1, 0.5, 1.3], (LAYERS, 3, FILTERS))
    G = rng.normal(size=w.shape)
    w, t, G = (x.astype(np.float32) for x in (w * scale, t * scale, G))
    return w, t, G


def thresholds(t, per):
    """[layers, 3, filters] as they are, or the last filter's for the whole layer."""
    return t if per == "filter" else t[..., -1]


def assert_gradient(found, each, per):
    """`each` is the expected gradient of every filter, [..., k, filters]."""
    relative = 1e-5 if found.dtype == np.float32 else 1e-13
    error = relative * (np.abs(each) + 0.01 * np.abs(each).max())
    each, error = (each, error) if per == "filter" else (each.sum(-1), error.sum(-1))
    assert found.shape == each.shape
    np.testing.assert_array_less(np.abs(found - each), error + 1e-38)


@functools.partial(jax.jit, static_argnums=0)
def pull_back(rule, w, t, G):
    """Q and the gradients to weights and thresholds, for a stack of layers."""

    def of_layer(w, t, G):
        q, pull = jax.vjp(lambda w, t: Shift(**dict(rule), thresholds=t).quantize(w), w, t)
        return q, *pull(G)

    return jax.vmap(of_layer)(w, t, G)


def check(w, t, G, per, k, gates="nested", gradient="open", *, temperature=1.0, window=WINDOW):
    """Compares values and both gradients with the oracle; returns what it found."""
    t = t[:, :k]
    rule = {"k": k, "gates": gates, "gradient": gradient, "temperature": temperature}
    rule["window"] = Window(*window)
    q, to_w, to_t = pull_back(tuple(rule.items()), w, t, G)
    found = [oracle.quantize(x, y, k, window, gates=gates) for x, y in zip(w, t, strict=True)]
    np.testing.assert_array_equal(q, np.stack([x.q[k] for x in found]).astype(q.dtype))
    np.testing.assert_array_equal(to_w, G)
    assert to_w.dtype == w.dtype
    assert to_t.dtype == t.dtype
    each = [
        oracle.threshold_gradient(x, y, z, gradient, temperature)
        for x, y, z in zip(found, t, G, strict=True)
    ]
    assert_gradient(np.asarray(to_t), np.stack(each), per)
    return found, np.stack(each)


@pytest.mark.whole(5)
@pytest.mark.parametrize("gradient", GRADIENTS)
@pytest.mark.parametrize(
    ("k", "gates", "per"),
    [
        (1, "nested", "layer"),
        (2, "nested", "filter"),
        (2, "independent", "layer"),
        (3, "nested", "layer"),
        (3, "nested", "filter"),
        (3, "independent", "filter"),
    ],
)
def test_gradients_are_those_of_the_recursion(k, gates, gradient, per):
    """And the recursion is the paper's formula, and the derivative of the smooth function."""
    w, t, G = batch()
    t = thresholds(t, per)
    found, each = check(w, t, G, per, k, gates, gradient)
    opened = np.stack([x.opened for x in found])[..., 2:]
    assert opened.any(axis=(0, 2)).all()
    assert not opened.all(axis=(0, 2)).any()  # gates of both kinds, at each level
    step = 1e-6
    for x, y, z, expected in zip(found, t[:, :k].astype(float), G, each, strict=True):
        paper = oracle.threshold_gradient_of_paper(x, y, z, gradient)
        np.testing.assert_allclose(paper, expected, rtol=1e-9, atol=1e-12)
        for j in range(k):
            h = step * (np.arange(k) == j).reshape(-1, *[1] * (y.ndim - 1))
            ends = [oracle.relaxed_quantizer(x, y, y + s * h, gradient) for s in (1, -1)]
            difference = (z * (ends[0] - ends[1])).sum(axis=0) / (2 * step)
            np.testing.assert_allclose(difference, expected[j], rtol=1e-6, atol=1e-8)


def test_gradient_of_one_gate_by_pencil():
    """w = (3, 4) rounds to (4, 4), and its norm is 5: dQ/dt = -sigma'(5 - t) (4, 4)."""
    w = np.array([[3], [4]], np.float32)
    to_t = jax.jit(jax.grad(lambda t, w: quantize_params(w, Shift(1, thresholds=t)).sum()))
    for t, slope in ((5.0 - np.log(3), 3 / 16), (4.0, 0.19661193)):  # sigma(log 3) = 3/4
        np.testing.assert_allclose(to_t(np.float32([t]), w), [-8 * slope], rtol=1e-5)


@pytest.mark.whole(2)
@pytest.mark.parametrize(("gradient", "temperature"), [("open", 0.05), ("all", 0.3), ("all", 20.0)])
def test_temperature(gradient, temperature):
    check(*batch(), "filter", 3, "nested", gradient, temperature=temperature)


@pytest.mark.whole(2)
@pytest.mark.parametrize("scale", [2.0**-100, 2.0**-30, 2.0**30, 2.0**100])
def test_weights_thresholds_and_temperature_scale_together(scale):
    """dL/dt of a w, a t and temperature a is dL/dt of w, t and temperature 1."""
    _, each = check(*batch(scale), "filter", 3, "independent", "all", temperature=scale)
    _, of_one = check(*batch(), "filter", 3, "independent", "all")
    np.testing.assert_allclose(each, of_one, rtol=1e-12)


@pytest.mark.parametrize(("scale", "limits"), [(2.0**-100, (1e-31, 1e-29)), (2.0**100, (0, 0))])
@pytest.mark.parametrize("gradient", GRADIENTS)
def test_tiny_and_huge_weights_at_temperature_one(gradient, scale, limits):
    """A sigmoid is 1/2 for the tiny ones, and flat for the huge ones: zero, not NaN."""
    _, each = check(*batch(scale), "filter", 3, "nested", gradient)
    assert limits[0] <= np.abs(each).max() <= limits[1]


FAR = [(2.0**-30, "clamp"), (2.0**-100, "clamp"), (2.0**10, "clamp"), (2.0**-30, "flush")]


@pytest.mark.whole(2)
@pytest.mark.parametrize(("scale", "below"), FAR)
def test_weights_far_from_a_fixed_window(scale, below):
    """Clamped, they leave residuals far larger than they are themselves."""
    w, _, G = batch(scale)
    t = np.float32([-1, 1e-3, 1e-2]) * np.ones((LAYERS, 1), np.float32)
    check(w, t, G, "layer", 3, "independent", "all", window=(8, 0, below))


@pytest.mark.parametrize("sign", [1, -1])
def test_saturated_sigmoid_keeps_its_relative_precision(sign):
    """A norm of n above a threshold of 0, or below one of 2 n: sigma' is nearly exp(-n)."""
    norm = np.array([1, 5, 20, 50, 80, 200], np.float32)
    w = (norm * np.array([[0.6], [0.8]])).astype(np.float32)
    t = ((1 - sign) * norm)[None]
    _, _, to_t = pull_back((("k", 1), ("gradient", "all")), w[None], t[None], np.ones_like(w)[None])
    x = np.abs(np.sqrt((w.astype(float) ** 2).sum(axis=0)) - t[0])
    term = oracle.quantize(w, k=1, window=WINDOW).q[1]
    expected = -np.exp(-x) / (1 + np.exp(-x)) ** 2 * term.sum(axis=0)
    np.testing.assert_allclose(to_t[0, 0, :5], expected[:5], rtol=2e-5)
    assert to_t[0, 0, 5] == 0


@pytest.mark.whole(2)
@pytest.mark.parametrize("gradient", GRADIENTS)
@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_weights_of_16_bits(dtype, gradient):
    """Norms and sums are those of float32; the thresholds and their gradients stay so."""
    w, t, G = batch()
    w, G = (x.astype(jnp.dtype(dtype)) for x in (w, G))
    check(w, t, G, "filter", 2, "nested", gradient)


def test_weights_of_64_bits():
    w, t, G = (x.astype(np.float64) for x in batch())
    with jax.enable_x64(True):
        check(w, t, G, "filter", 3, "nested", "all")


@pytest.mark.whole(3)
@pytest.mark.parametrize("axis", [0, 1, 2, 3, -2])
def test_every_filter_axis(axis):
    w, t, G = (x[:1] for x in batch())
    _, _, expected = pull_back((("k", 2), ("gradient", "all")), w, t[:, :2], G)
    moved = 1 + axis if axis >= 0 else axis
    w, G = (np.moveaxis(x.reshape(1, 3, 2, 2, FILTERS), -1, moved) for x in (w, G))
    rule = (("k", 2), ("gradient", "all"), ("filter_axis", axis))
    _, to_w, to_t = pull_back(rule, w, t[:, :2], G)
    np.testing.assert_array_equal(to_w, G)
    np.testing.assert_allclose(to_t, expected, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("k", [0, 1, 2, 3])
def test_weights_get_the_cotangent_bit_for_bit(k):
    w = batch()[0][0]
    G = np.zeros_like(w)
    G.flat[:5] = [-0.0, np.inf, 1e-30, -(np.float32(2) ** 127), 0.1]
    quantize = lambda w, t: Shift(k, thresholds=t).quantize(w)  # noqa: E731
    pull = jax.jit(lambda w, t, G: jax.vjp(quantize, w, t)[1](G))
    for t in (None, np.full(k, 0.5, np.float32), np.full((k, FILTERS), 0.5, np.float32)):
        to_w, to_t = pull(w, t, G)
        np.testing.assert_array_equal(np.asarray(to_w).view(np.uint32), G.view(np.uint32))
        assert (to_t is None) if t is None else (to_t.shape == t.shape)


@pytest.mark.parametrize("gradient", GRADIENTS)
def test_zero_residuals_give_zero_threshold_gradients(gradient):
    """Zero weights have no term at all; a power of two has one, and it leaves nothing."""
    w = np.zeros((1, 4, 3), np.float32)
    w[..., 1:] = [0.5, -0.25]
    t = np.array([[-1, 0, 0.1], [0, -1, 0.1], [0.1, 0, -1]], np.float32)[None]
    rule = (("k", 3), ("gates", "independent"), ("gradient", gradient))
    _, _, to_t = pull_back(rule, w, t, np.ones_like(w))
    np.testing.assert_array_equal(to_t[0, :, 0], 0)
    np.testing.assert_array_equal(to_t[0, 1:, 1:], 0)
    assert to_t[0, 0, 1] < 0 < to_t[0, 0, 2]


def test_gradients_through_trees_follow_the_chain_rule():
    w, t, _ = batch()
    params = {"a": w[0], "b": {"c": w[1], "d": w[2, 0]}}
    spec = {"a": Shift(2, thresholds=t[0, :2, 5]), "b": {"c": Shift(1), "d": None}}

    def loss(params, spec):
        return sum(jnp.sum(jnp.sin(x)) for x in jax.tree.leaves(quantize_params(params, spec)))

    value, (to_params, to_spec) = jax.jit(jax.value_and_grad(loss, (0, 1)))(params, spec)
    found = oracle.quantize(w[0], t[0, :2, 5], 2, WINDOW)
    q = {"a": found.q[2], "b": {"c": oracle.quantize(w[1], k=1, window=WINDOW).q[1], "d": w[2, 0]}}
    np.testing.assert_allclose(value, sum(np.sin(x).sum() for x in jax.tree.leaves(q)), rtol=1e-5)
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, np.cos(y), rtol=1e-6), to_params, q)
    expected = oracle.threshold_gradient(found, t[0, :2, 5], np.cos(found.q[2])).sum(axis=1)
    np.testing.assert_allclose(to_spec["a"].thresholds, expected, rtol=1e-5)


# The penalty.

value_and_grad = jax.jit(jax.value_and_grad(residual_group_lasso))


@functools.partial(jax.jit, static_argnums=0)
def penalty(rule, w, t, lambdas):
    """Values, and gradients to weights and thresholds, for a stack of layers."""

    def of_layer(w, t):
        return residual_group_lasso(w, Shift(**dict(rule), thresholds=t), lambdas)

    return jax.vmap(jax.value_and_grad(of_layer, (0, 1)))(w, t)


def expected_penalty(w, t, lambdas, window=WINDOW, gates="nested"):
    found = oracle.quantize(w, t, len(lambdas), window, gates=gates)
    norms = found.norms[:, None]
    u = np.divide(found.residuals, norms, out=np.zeros_like(found.residuals), where=norms > 0)
    weights = np.asarray(lambdas, float)[:, None, None]
    return (weights * norms).sum(), (weights * u).sum(axis=0)


def assert_penalty(w, t, lambdas, window=WINDOW, gates="nested"):
    rule = (("k", len(lambdas)), ("gates", gates), ("window", Window(*window)))
    value, (to_w, to_t) = penalty(rule, w, t, np.asarray(lambdas, w.dtype))
    columns = [None] * len(w) if t is None else t
    expected = [
        expected_penalty(x, y, lambdas, window, gates) for x, y in zip(w, columns, strict=True)
    ]
    np.testing.assert_allclose(value, [x for x, _ in expected], rtol=1e-5)
    np.testing.assert_allclose(to_w, [x for _, x in expected], rtol=1e-5, atol=1e-6)
    if t is not None:
        np.testing.assert_array_equal(to_t, np.zeros_like(t))


@pytest.mark.whole(5)
@pytest.mark.parametrize(
    ("per", "gates"), [(None, "nested"), ("layer", "nested"), ("filter", "independent")]
)
@pytest.mark.parametrize("lambdas", [[0.7], [0.3, 1.1], [0.2, 0.0, 2.0]])
def test_penalty_and_its_gradient(lambdas, gates, per):
    """A closed gate leaves the residual: it is counted again, with the next weight."""
    w, t, _ = batch()
    assert_penalty(w, per and thresholds(t, per)[:, : len(lambdas)], lambdas, gates=gates)


@pytest.mark.parametrize("scale", [2.0**-100, 2.0**-30, 2.0**60, 2.0**100])
def test_penalty_of_tiny_and_huge_weights(scale):
    w, t, _ = batch(scale)
    assert_penalty(w, t, [0.5, 1.0, 2.0])


@pytest.mark.parametrize(("scale", "below"), FAR)
def test_penalty_of_weights_far_from_a_fixed_window(scale, below):
    w, t, _ = batch()
    assert_penalty(w * np.float32(scale), t, [0.5, 1.0, 2.0], (8, 0, below))


def test_penalty_of_a_closed_gate_by_pencil():
    """||(3, 4)|| = 5; open, its term (4, 4) leaves (-1, 0); closed, it leaves (3, 4) itself."""
    w = np.array([[3], [4]], np.float32)
    opened, closed = (Shift(thresholds=jnp.array([t, 0.0])) for t in (4.9, 5.0))
    for spec, expected, gradient in (
        (opened, 0.5 + 1, [0.1 * 0.6 - 1, 0.1 * 0.8]),
        (closed, 0.5 + 5, [1.1 * 0.6, 1.1 * 0.8]),
    ):
        found, to_w = value_and_grad(w, spec, np.float32([0.1, 1]))
        np.testing.assert_allclose(found, expected, rtol=1e-6)
        np.testing.assert_allclose(to_w.ravel(), gradient, rtol=1e-6)


@pytest.mark.parametrize("k", [0, 1, 3])
def test_one_lambda_is_for_all_residuals_but_the_first_which_gets_a_third(k):
    w = batch()[0][0]
    for number in (2, np.float32(0.3)):
        found, _ = value_and_grad(w, Shift(k), number)
        lambdas = [number / 3, number, number][:k]
        expected = expected_penalty(w, None, lambdas)[0] if k else 0
        np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_penalty_adds_up_over_the_arrays_in_shift_formats():
    w = batch()[0]
    params = {"a": w[0], "b": w[1], "c": w[2], "d": w[3]}
    spec = {"a": Shift(2), "b": None, "c": FixedPoint(), "d": Shift(2, filter_axis=0)}
    value, gradient = value_and_grad(params, spec, np.float32([1, 3]))
    one = expected_penalty(w[0], None, [1.0, 3.0])
    other = expected_penalty(w[3].T, None, [1.0, 3.0])
    np.testing.assert_allclose(value, one[0] + other[0], rtol=1e-5)
    np.testing.assert_allclose(gradient["a"], one[1], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(gradient["d"], other[1].T, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(gradient["b"], 0)
    np.testing.assert_array_equal(gradient["c"], 0)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float64"])
def test_penalty_of_other_types(dtype):
    error = 2 * float(jnp.finfo(dtype).eps) if dtype != "float64" else 1e-12
    with jax.enable_x64(dtype == "float64"):
        w = batch()[0][0].astype(jnp.dtype(dtype))
        value, gradient = value_and_grad(w, Shift(2), np.array([0.5, 1.5]))
        expected = expected_penalty(w, None, [0.5, 1.5])
        assert gradient.dtype == w.dtype
        assert value.dtype == ("float64" if dtype == "float64" else "float32")
        np.testing.assert_allclose(value, expected[0], rtol=min(error, 1e-5))
        np.testing.assert_allclose(np.asarray(gradient, float), expected[1], rtol=error, atol=error)
