"""One battery of checks that every kind of parameter tree must pass.

The project defines none of these containers and none of the networks in them. What is expected
comes from calls on single arrays and from a pattern for the names of the kernels.
"""

import collections
import dataclasses
import functools
import re
from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import flax.core
import flax.linen as nn
import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from numpy.testing import assert_allclose, assert_array_equal

import flightnn_jax as fl

IMAGE = (6, 6, 3)


class Linen(nn.Module):
    @nn.compact
    def __call__(self, x):
        x = nn.relu(nn.Conv(4, (3, 3))(x))
        return nn.Dense(5)(x.mean((-3, -2)))


class Nnx(nnx.Module):
    def __init__(self, rngs):
        self.conv = nnx.Conv(3, 4, (3, 3), rngs=rngs)
        self.dense = nnx.Linear(4, 5, rngs=rngs)

    def __call__(self, x):
        return self.dense(nnx.relu(self.conv(x)).mean((-3, -2)))


class Equinox(eqx.Module):
    conv: eqx.nn.Conv2d
    dense: eqx.nn.Linear
    activation: Callable

    def __call__(self, x):
        return self.dense(self.activation(self.conv(x)).mean((-2, -1)))


@functools.partial(
    jax.tree_util.register_dataclass, data_fields=["kernel", "bias"], meta_fields=["name"]
)
@dataclasses.dataclass(frozen=True)
class Record:
    kernel: Any
    bias: Any
    name: str


Pair = collections.namedtuple("Pair", ["kernel", "bias"])


def normal(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32) / 4


def kernel(seed):
    return jnp.asarray(normal(seed, 3, 3, 2, 4))


def haiku(network, side=6):
    """A Haiku network as (params, forward): only shapes are traced, the numbers are NumPy's."""
    transformed = hk.transform_with_state(lambda x: network()(x, is_training=True))
    image = jax.ShapeDtypeStruct((2, side, side, 3), jnp.float32)
    params, state = jax.eval_shape(transformed.init, jax.random.key(0), image)
    seeds = iter(range(1000))
    params = jax.tree.map(lambda s: jnp.asarray(normal(next(seeds), *s.shape)), params)
    state = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), state)
    return params, lambda p, x: transformed.apply(p, state, None, x)[0]


def small_haiku(x, is_training):
    x = hk.Conv2D(4, 3)(x)
    x = hk.BatchNorm(True, True, 0.9)(x, is_training)
    return hk.Linear(5)(jax.nn.relu(x).mean((1, 2)))


def linen():
    return Linen().init(jax.random.key(0), jnp.ones((1, *IMAGE)))


def equinox():
    keys = jax.random.split(jax.random.key(0))
    conv = eqx.nn.Conv2d(3, 4, 3, key=keys[0])
    return Equinox(conv, eqx.nn.Linear(4, 5, key=keys[1]), jax.nn.relu)


def nested():
    return [kernel(0), kernel(1)[0, 0, 0]], (kernel(2),), Pair(kernel(3), jnp.ones(4))


def dataclasses_():
    return [Record(kernel(0), jnp.ones(4), "first"), Record(kernel(2), None, "second")]


def mixture():
    integers = {"steps": jnp.int32(3), "epoch": 7, "table": jnp.arange(12).reshape(3, 4)}
    others = {"none": None, "mask": np.ones((3, 4), bool), "scale": jnp.ones((1, 1, 1, 4))}
    return {"kernel": kernel(0), **integers, **others}


def half():
    return jax.tree.map(lambda x: x.astype(jnp.bfloat16), nested()[2])


def pytorch():
    conv = {"conv.weight": normal(0, 4, 3, 3, 3), "conv.bias": normal(1, 4)}
    return {**conv, "fc.weight": normal(2, 5, 4), "fc.bias": normal(3, 5)}


class Kind(NamedTuple):
    """A kind of tree: how to make one, and which of its leaves are kernels, by their path."""

    make: Callable[[], Any]
    count: int
    kernels: str = "kernel"
    filter_axis: int = -1


KINDS = {
    "Linen": Kind(linen, 2),
    "FrozenDict": Kind(lambda: flax.core.freeze(linen()), 2),
    "nnx.State": Kind(lambda: nnx.state(Nnx(nnx.Rngs(0))), 2),
    "Haiku": Kind(lambda: haiku(lambda: small_haiku)[0], 2, r"\['w'\]$"),
    "Equinox": Kind(equinox, 2, "weight", filter_axis=0),
    "nested": Kind(nested, 3, r"^\[0\]\[0\]|^\[1\]|kernel"),
    "dataclasses": Kind(dataclasses_, 2),
    "bare array": Kind(lambda: kernel(0), 1, "^$"),
    "None and integers": Kind(mixture, 1),
    "bfloat16": Kind(half, 1),
    "NumPy, as PyTorch": Kind(pytorch, 2, "weight", filter_axis=0),
}


class Case(NamedTuple):
    """A tree of some kind, its leaves, and thresholds that divide its filters."""

    kind: Kind
    params: Any
    leaves: list[Any]
    is_kernel: list[bool]
    thresholds: jax.Array

    def shift(self, **fields):
        return fl.Shift(filter_axis=self.kind.filter_axis, **fields)

    def spec(self, **fields):
        return fl.make_spec(self.params, self.shift(**fields))

    def trainable(self):
        """The floating-point leaves, and a function that puts the rest back beside them."""
        floats, rest = eqx.partition(self.params, is_float)
        return floats, lambda floats: eqx.combine(floats, rest)

    def kernels(self, tree=None):
        leaves = self.leaves if tree is None else jax.tree.leaves(tree)
        return [x for x, chosen in zip(leaves, self.is_kernel, strict=True) if chosen]


# A quick run takes three kinds: others compile other shapes, trace models, or have like leaves.
SLOW = set(KINDS) - {"Linen", "nested", "bare array"}
# Their leaves are the arrays of another kind, in other containers.
ALIKE = {"FrozenDict", "Haiku", "dataclasses", "None and integers"}


def marks(kind):
    return [pytest.mark.slow] * (kind in SLOW) + [pytest.mark.exhaustive] * (kind in ALIKE)


CASES = {kind: pytest.param(kind, marks=marks(kind)) for kind in KINDS}


@pytest.fixture(scope="module", params=list(CASES.values()))
def case(request):
    kind = KINDS[request.param]
    params = kind.make()
    paths, leaves = zip(*jax.tree_util.tree_leaves_with_path(params), strict=True)
    is_kernel = [bool(re.search(kind.kernels, jax.tree_util.keystr(p))) for p in paths]
    assert sum(is_kernel) == kind.count  # the pattern is right
    kernels = [w for w, chosen in zip(leaves, is_kernel, strict=True) if chosen]
    fmt = fl.Shift(filter_axis=kind.filter_axis)
    norms = np.sort(np.concatenate([norms_of_one(fmt, w)[1] for w in kernels]))
    middle = len(norms) // 2
    thresholds = jnp.array([0.0, (norms[middle - 1] + norms[middle]) / 2])
    return Case(kind, params, list(leaves), is_kernel, thresholds)


@jax.jit
def quantize_one(fmt, w):
    return fmt.quantize(jnp.asarray(w))


@jax.jit
def norms_of_one(fmt, w):
    return fmt.residual_norms(jnp.asarray(w))


def is_float(leaf):
    return hasattr(leaf, "dtype") and jnp.issubdtype(leaf.dtype, jnp.floating)


def weighted(tree):
    """A loss whose gradient differs in every element of every floating-point leaf."""
    floats = filter(is_float, jax.tree.leaves(tree))
    return sum(jnp.sum(x.astype(jnp.float32) * normal(i, *x.shape)) for i, x in enumerate(floats))


def assert_trees_equal(got, expected):
    assert jax.tree.structure(got) == jax.tree.structure(expected)
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(expected), strict=True):
        if a is not b:
            assert a.dtype == b.dtype
            assert_array_equal(a, b)


def test_quantizes_kernels_and_leaves_the_rest(case):
    fmt = case.shift(thresholds=case.thresholds)
    got = fl.quantize_params(case.params, fl.make_spec(case.params, fmt))
    assert jax.tree.structure(got) == jax.tree.structure(case.params)
    before_and_after = zip(case.leaves, jax.tree.leaves(got), strict=True)
    for (before, after), is_kernel in zip(before_and_after, case.is_kernel, strict=True):
        if is_kernel:
            assert (after.shape, after.dtype) == (before.shape, before.dtype)
            assert np.any(np.asarray(after) != np.asarray(before))
            assert_array_equal(after, quantize_one(fmt, before))
        else:
            assert after is before


def test_default_is_two_terms_everywhere(case):
    expected = fl.quantize_params(case.params, case.spec(k=2))
    assert_trees_equal(fl.quantize_params(case.params, filter_axis=case.kind.filter_axis), expected)
    if case.kind.filter_axis == -1:
        assert_trees_equal(fl.quantize_params(case.params), expected)


def test_spec_stands_beside_the_parameters(case):
    fmt = case.shift(k=1)
    arrays = eqx.filter(case.params, eqx.is_array_like)
    for params in (case.params, jax.eval_shape(lambda p: p, arrays)):
        spec = fl.make_spec(params, fmt)
        beside = jax.tree.map(lambda x, s: s, params, spec)
        found = jax.tree.leaves(beside, is_leaf=lambda s: isinstance(s, fl.Shift))
        assert found == [fmt] * case.kind.count


@pytest.mark.quick(0)
@pytest.mark.parametrize("per", ["layer", "network", "filter"])
def test_thresholds(case, per):
    spec = fl.init_thresholds(case.params, case.spec(), per=per, value=case.thresholds)
    axis = case.kind.filter_axis
    shapes = [(2, w.shape[axis]) if per == "filter" else (2,) for w in case.kernels()]
    assert [t.shape for t in jax.tree.leaves(spec)] == ([(2,)] if per == "network" else shapes)
    same = case.spec(thresholds=case.thresholds)
    assert_trees_equal(fl.quantize_params(case.params, spec), fl.quantize_params(case.params, same))


@pytest.mark.quick(0)
def test_shift_counts(case):
    fmt = case.shift(thresholds=case.thresholds)
    counts = fl.count_shifts(case.params, fl.make_spec(case.params, fmt))
    expected = [fmt.count_shifts(jnp.asarray(w)) for w in case.kernels()]
    assert_trees_equal(jax.tree.leaves(counts), jax.tree.leaves(expected))
    assert {int(k) for c in expected for k in c.k} == {1, 2}  # the thresholds decide something


def test_storage(case):
    got = fl.storage_bits(case.params, case.spec(k=1))
    assert got.quantized == sum(4 * w.size for w in case.kernels())  # no weight is zero
    rest = [x for x, is_kernel in zip(case.leaves, case.is_kernel, strict=True) if not is_kernel]
    assert got.floating == sum(8 * x.nbytes for x in rest if isinstance(x, jax.Array | np.ndarray))


@pytest.mark.quick(0)
def test_encodes_and_decodes(case):
    spec = case.spec(thresholds=case.thresholds)
    encoded = fl.encode_params(case.params, spec)
    leaves = jax.tree.leaves(encoded, is_leaf=lambda x: isinstance(x, fl.Codes))
    for leaf, w, is_kernel in zip(leaves, case.leaves, case.is_kernel, strict=True):
        assert isinstance(leaf, fl.ShiftCodes) == is_kernel
        assert leaf.shape == w.shape if is_kernel else leaf is w
    assert_trees_equal(fl.decode_params(encoded), fl.quantize_params(case.params, spec))


def test_gradient_and_adam(case):
    """One step on a loss with a penalty, to the weights and the thresholds together."""
    floats, restore = case.trainable()
    adam = optax.adam(0.01)

    def loss(trained):
        params, spec = restore(trained[0]), trained[1]
        penalty = fl.residual_group_lasso(params, spec, [0.01, 0.03])
        return weighted(fl.quantize_params(params, spec)) + penalty, penalty

    @jax.jit
    def step(trained):
        values, gradient = jax.value_and_grad(loss, has_aux=True)(trained)
        updates, _ = adam.update(gradient, adam.init(trained))
        return values, gradient, optax.apply_updates(trained, updates)

    fmt = case.shift(thresholds=case.thresholds)
    trained = (floats, fl.make_spec(case.params, fmt))
    (before, penalty), gradient, moved = step(trained)
    norms = [norms_of_one(fmt, w).sum(axis=1) for w in case.kernels()]
    assert_allclose(penalty, sum(0.01 * n[0] + 0.03 * n[1] for n in norms), rtol=1e-5)
    assert jax.tree.structure(gradient) == jax.tree.structure(trained)
    assert jax.tree.structure(moved) == jax.tree.structure(trained)
    leaves = map(jax.tree.leaves, (gradient, trained, moved))
    for g, old, new in zip(*leaves, strict=True):
        assert (g.shape, g.dtype) == (new.shape, new.dtype) == (old.shape, old.dtype)
        assert np.all(np.isfinite(g))
        assert np.all(g != 0)
        assert np.all(np.asarray(new) != np.asarray(old))
    assert step(moved)[0][0] < before


@pytest.mark.quick(0)
def test_mixed_formats_under_a_prefix(case):
    """Three copies of the tree: shifts, fixed point, and None for a whole subtree."""
    params = (case.params, [case.params], {"float": case.params})
    shift, fixed = case.shift(k=1), fl.FixedPoint(bits=3, filter_axis=case.kind.filter_axis)
    spec = (fl.make_spec(case.params, shift), [fl.make_spec(case.params, fixed)], {"float": None})
    quantized = fl.quantize_params(params, spec)
    assert jax.tree.structure(quantized) == jax.tree.structure(params)
    for fmt, tree in ((shift, quantized[0]), (fixed, quantized[1])):
        for got, w in zip(case.kernels(tree), case.kernels(), strict=True):
            assert_array_equal(got, quantize_one(fmt, w))
    assert all(a is b for a, b in zip(jax.tree.leaves(quantized[2]), case.leaves, strict=True))

    assert_trees_equal(fl.decode_params(fl.encode_params(params, spec)), quantized)
    size = sum(w.size for w in case.kernels())
    assert fl.storage_bits(params, spec).quantized == (4 + 3) * size
    counts = fl.count_shifts(params, spec)
    assert len(jax.tree.leaves(counts[0])) == 2 * case.kind.count  # k and k_eff
    assert not jax.tree.leaves(counts[1:])


@pytest.mark.quick(0)
@pytest.mark.parametrize("case", [CASES[k] for k in ("Linen", "nnx.State")], indirect=True)
def test_gradient_of_shared_thresholds_is_the_sum(case):
    """Three copies: shared by the whole tree, shared in a part of it, one vector a layer."""
    floats, restore = case.trainable()
    bare, own = case.spec(), case.spec(thresholds=case.thresholds)
    part = fl.SharedThresholds(case.thresholds, bare)
    spec = fl.SharedThresholds(case.thresholds, (bare, [part], {"own": own}))

    @jax.jit
    @jax.grad
    def gradient(spec, floats):
        params = restore(floats)
        first, [second], third = fl.quantize_params((params, [params], {"own": params}), spec)
        return weighted(first) + weighted(second) + weighted(third["own"])

    got = gradient(spec, floats)
    assert jax.tree.structure(got) == jax.tree.structure(spec)
    whole, part, *layers = jax.tree.leaves(got)
    assert len(layers) == case.kind.count
    assert np.all(whole != 0)
    assert_allclose(whole, sum(layers), rtol=1e-5)
    assert_allclose(part, sum(layers), rtol=1e-5)


def test_inner_thresholds_win():
    w = kernel(0)
    closed, opened = jnp.array([0.0, 9.0]), jnp.array([0.0, 0.0])
    inner = {"b": fl.SharedThresholds(opened, fl.Shift()), "c": fl.Shift(thresholds=opened)}
    spec = fl.SharedThresholds(closed, {"a": fl.Shift(), **inner})
    counts = fl.count_shifts({"a": w, "b": w, "c": w}, spec)
    assert [set(counts[name].k.tolist()) for name in "abc"] == [{1}, {2}, {2}]


def nearest_power(w, width=8):
    """Section 4 of the design in float64: R(w) in the window below R(max|w|)."""
    exponent = np.round(np.log2(np.abs(w.astype(np.float64))))
    return np.sign(w) * 2 ** np.maximum(exponent, exponent.max() - width + 1)


@pytest.mark.slow
def test_a_network_of_others():
    params, forward = haiku(lambda: hk.nets.MobileNetV1(num_classes=10), side=32)
    quantized = fl.quantize_params(params, fl.make_spec(params, fl.Shift(k=1)))
    leaves = jax.tree_util.tree_leaves_with_path(params)
    for (path, before), after in zip(leaves, jax.tree.leaves(quantized), strict=True):
        if path[-1].key == "w":
            assert_array_equal(after, nearest_power(np.asarray(before)))
        else:
            assert after is before
    image = jnp.asarray(normal(0, 2, 32, 32, 3))
    run = jax.jit(forward)
    logits = run(quantized, image)
    assert logits.shape == (2, 10)
    assert np.all(np.isfinite(logits))
    assert np.any(logits != run(params, image))


MODELS = {
    "Linen": lambda tree, x: Linen().apply(tree, x),
    "nnx.State": lambda tree, x: nnx.merge(nnx.graphdef(Nnx(nnx.Rngs(0))), tree)(x),
    "Equinox": lambda tree, x: jax.vmap(tree)(jnp.moveaxis(x, -1, 1)),
}


@pytest.mark.parametrize(
    "kind", ["Linen", *(pytest.param(kind, marks=pytest.mark.slow) for kind in list(MODELS)[1:])]
)
def test_quantized_models_run(kind):
    """The trees go back into the models that they came from."""
    params, image = KINDS[kind].make(), jnp.asarray(normal(0, 2, *IMAGE))
    quantized = fl.quantize_params(params, filter_axis=KINDS[kind].filter_axis)
    got, exact = MODELS[kind](quantized, image), MODELS[kind](params, image)
    assert got.shape == (2, 5)
    assert 0 < np.abs(got - exact).max() < np.abs(exact).max()


class Attention(nn.Module):
    @nn.compact
    def __call__(self, tokens):
        x = nn.Embed(7, 8, name="table")(tokens)
        return nn.MultiHeadDotProductAttention(num_heads=2)(x)


class NnxAttention(nnx.Module):
    def __init__(self, rngs):
        self.table = nnx.Embed(7, 8, rngs=rngs)
        self.attention = nnx.MultiHeadAttention(2, 8, decode=False, rngs=rngs)


@pytest.mark.parametrize("kind", ["Linen", "nnx"])
def test_biases_of_attention_and_embeddings_stay_float(kind):
    """Biases of [heads, features] and tables have two axes, too."""
    if kind == "Linen":
        tokens = jax.ShapeDtypeStruct((1, 3), jnp.int32)
        params = jax.eval_shape(Attention().init, jax.random.key(0), tokens)
    else:
        params = nnx.eval_shape(lambda: nnx.state(NnxAttention(nnx.Rngs(0)), nnx.Param))
    spec = fl.make_spec(params, fl.Shift())
    formats = jax.tree_util.tree_leaves_with_path(spec, is_leaf=lambda x: isinstance(x, fl.Shift))
    assert len(formats) == 4
    assert all("kernel" in jax.tree_util.keystr(path) for path, _ in formats)
    assert len(jax.tree.leaves(params)) == 9


def test_equality_of_specs():
    def flexible(*thresholds):
        return fl.Shift(thresholds=jnp.array(thresholds))

    assert flexible(0.0, 0.5) == flexible(0.0, 0.5) != flexible(0.0, 0.4)
    assert flexible(0.0, 0.5) != fl.Shift() == fl.Shift()
    assert flexible(0.0, 0.5) != dataclasses.replace(flexible(0.0, 0.5), rounding="linear")
    assert flexible(0.0, 0.5) != "shift"
    w = kernel(0)
    shared = [fl.init_thresholds(w, fl.Shift(), "network", value) for value in (0, 0, 1)]
    assert shared[0] == shared[1] != shared[2]
    assert fl.encode_params(w, fl.Shift()) == fl.encode_params(w, fl.Shift())
    assert fl.encode_params(w, fl.Shift()) != fl.encode_params(2 * w, fl.Shift())
    assert hash(fl.Shift()) == hash(fl.Shift())
