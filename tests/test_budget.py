"""A budget of mean k is met to within one filter, and by the filters that need it most."""

import functools
import math

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P
from numpy.testing import assert_allclose, assert_array_equal

import flightnn_jax as fl
from flightnn_jax import budget, data, networks
from flightnn_jax.training import models

pytestmark = pytest.mark.slow

BUDGETS = [0.0, 0.5, 1.0, 1.1, 1.25, 1.3, 1.5, 1.75, 2.0]


@functools.cache
def random_network(name, seed=0, k=2):
    """Kernels like those of a network, of different sizes and spreads, and their spec."""
    rng = np.random.default_rng(seed)
    params = {}
    for step in networks.walk_weights(networks.network(name)):
        shape = step.kernel_shape
        scale = rng.uniform(0.01, 0.3) * rng.uniform(0.5, 1.5, shape[-1])
        params[step.name] = {
            "kernel": jnp.asarray(rng.standard_t(rng.uniform(3, 30), shape) * scale, jnp.float32),
            "bias": jnp.ones(shape[-1]),
        }
    return params, fl.make_spec(params, fl.Shift(k=k))


def kernels(tree):
    return [tree[name]["kernel"] for name in sorted(tree)]


def counts(params, spec):
    return [np.asarray(c.k) for c in kernels(fl.count_shifts(params, spec))]


def sizes(params):
    return [np.full(w.shape[-1], math.prod(w.shape[:-1])) for w in kernels(params)]


def mean(values, weights):
    values, weights = np.concatenate(values), np.concatenate(weights).astype(np.float64)
    return (values * weights).sum() / weights.sum()


@pytest.mark.parametrize("mean_k", BUDGETS)
def test_met_within_one_filter(mean_k):
    params, spec = random_network("net4")
    k = counts(params, budget.gates_for(params, spec, mean_k))
    filters = sum(map(len, k))
    assert sum(map(np.sum, k)) == math.floor(round(mean_k * filters, 6))
    assert max(map(np.max, k)) <= math.ceil(mean_k)
    assert min(map(np.min, k)) >= math.floor(mean_k)


@pytest.mark.parametrize("mean_k", BUDGETS)
def test_met_within_one_filter_by_storage(mean_k):
    params, spec = random_network("net4")
    spec = budget.gates_for(params, spec, mean_k, cost="storage")
    size = sizes(params)
    got = mean(counts(params, spec), size)
    one_filter = max(map(np.max, size)) / sum(map(np.sum, size))
    assert one_filter < 0.02
    assert mean_k - one_filter < got <= mean_k + 1e-6
    bits = fl.storage_bits(params, spec).quantized
    assert bits == 4 * round(got * sum(map(np.sum, size)))
    assert float(budget.mean_shifts(params, spec, cost="storage")) == pytest.approx(got, rel=1e-6)


@pytest.mark.parametrize("seed", range(3))
def test_met_for_any_cost(seed):
    params, spec = random_network("net4")
    rng = np.random.default_rng(seed)
    cost = {
        name: {"kernel": rng.uniform(0.1, 3, len(n)), "bias": None}
        for name, n in zip(sorted(params), sizes(params), strict=True)
    }
    cost["conv1"]["kernel"] = 2.5  # one number for all filters of a layer
    spec = budget.gates_for(params, spec, 1.5, cost=cost)
    weights = [
        np.broadcast_to(c, len(n)) for c, n in zip(kernels(cost), sizes(params), strict=True)
    ]
    got = mean(counts(params, spec), weights)
    assert 1.49 < got <= 1.5 + 1e-6
    assert float(budget.mean_shifts(params, spec, cost=cost)) == pytest.approx(got, rel=1e-6)


def powers(x, low, high):
    """R(x) inside a window, by logarithms; no random weight is near a boundary."""
    with np.errstate(divide="ignore"):
        power = np.clip(np.rint(np.log2(np.abs(x))), low, high)
    return np.where(x == 0, 0, np.sign(x) * 2.0**power)


def oracle(weights, k, mean_k, cost, importance):
    """The rule one term at a time in float64: [k of each filter] for weights [fan_in, filters]."""
    terms = []
    for layer, (w, c) in enumerate(zip(weights, cost, strict=True)):
        w = np.asarray(w, np.float64)
        high = np.rint(np.log2(np.abs(w).max()))
        left, worth = w, np.inf
        squares = (w**2).sum(axis=0)
        for level in range(k):
            if importance is not None:
                error = (importance[layer] * left**2).sum(axis=0)
            else:
                error = (left**2).sum(axis=0) / (squares if level else squares.max())
            worth = np.minimum(error / c, worth)
            price = np.where(np.any(left, axis=0), c, 0)
            terms += [(level > 0, -worth[i], level, layer, i, price[i]) for i in range(w.shape[1])]
            left = left - powers(left, high - 7, high)
    taken = [np.zeros(w.shape[1], int) for w in weights]
    room = mean_k * sum(map(np.sum, cost)) + 1e-6
    for *_, level, layer, i, price in sorted(terms):
        if price and price <= room and taken[layer][i] == level:
            taken[layer][i] += 1
            room -= price
    return taken


@pytest.mark.whole(5)
@pytest.mark.parametrize("k", [1, 2, 3])
@pytest.mark.parametrize("seed", range(4))
def test_against_an_oracle(seed, k):
    rng = np.random.default_rng(seed)
    shapes = [(9, 7), (4, 12), (30, 3)]
    weights = [rng.normal(size=shape) * rng.uniform(0.1, 2, shape[1]) for shape in shapes]
    weights = [jnp.asarray(w, jnp.float32) for w in weights]
    squares = [rng.uniform(size=shape).astype(np.float32) * 1e-6 for shape in shapes]
    spec = fl.make_spec(weights, fl.Shift(k=k))
    integers = [rng.integers(1, 5, w.shape[1]).astype(float) for w in weights]
    for mean_k in np.linspace(0, k, 9):
        for cost in (integers, [np.ones_like(c) for c in integers]):
            # Relative to the largest of its layer, a first term ties with those of other layers.
            for importance in (None, squares) if mean_k >= 1 else (squares,):
                gates = budget.gates_for(weights, spec, mean_k, cost=cost, importance=importance)
                got = fl.count_shifts(weights, gates)
                expected = oracle(weights, k, mean_k, cost, importance)
                for found, wanted in zip(got, expected, strict=True):
                    assert_array_equal(found.k, wanted)


def test_filters_compete_across_layers():
    """0.75 is 1 or 0.5 and much; 1.01 is 1 and little. Scale must not matter."""
    rough = jnp.full((9, 8), 0.75) * 2**-7
    fine = jnp.full((9, 8), 1.01) * 2**7
    for params in ({"a": rough, "b": fine}, {"a": fine, "b": rough}):
        spec = fl.make_spec(params, fl.Shift(k=2))
        for mean_k, expected in ((1.0, [8, 8]), (1.25, [12, 8]), (1.5, [16, 8]), (1.75, [16, 12])):
            k = fl.count_shifts(params, budget.gates_for(params, spec, mean_k))
            found = {name: int(c.k.sum()) for name, c in k.items()}
            wanted = expected if params["a"] is rough else expected[::-1]
            assert list(found.values()) == wanted


def test_of_equal_filters_the_first_go_first():
    params = [jnp.full((3, 4), 0.7), jnp.full((3, 4), 0.7)]
    spec = fl.make_spec(params, fl.Shift(k=2))
    for budgeted, expected in ((1.25, [2, 2, 1, 1]), (1.75, [2, 2, 2, 2])):
        k = fl.count_shifts(params, budget.gates_for(params, spec, budgeted))
        assert_array_equal(k[0].k, expected)
        assert k[0].k.sum() + k[1].k.sum() == 8 * budgeted


def test_exact_filters_leave_their_share_to_others():
    w = jnp.array([[0.5, 0.7, 0.0, 0.7], [0.25, 0.7, 0.0, 0.7]])
    for mean_k, expected in ((1.25, [1, 2, 0, 2]), (2, [1, 2, 0, 2]), (1.0, [1, 2, 0, 1])):
        spec = budget.gates_for(w, fl.Shift(k=2), mean_k)
        assert_array_equal(fl.count_shifts(w, spec).k, expected)
        assert_array_equal(fl.count_shifts(w, spec).k_eff, expected)


@pytest.mark.parametrize("gates", ["nested", "independent"])
def test_a_budget_below_one_prunes_the_smallest_of_each_layer(gates):
    scales = jnp.array([[1.1, 0.3, 0.6, 0.9]])
    params = [scales * jnp.ones((3, 1)), 128 * scales[:, ::-1] * jnp.ones((3, 1))]
    spec = fl.make_spec(params, fl.Shift(k=2, gates=gates))
    k = fl.count_shifts(params, budget.gates_for(params, spec, 0.5))
    assert [c.k.tolist() for c in k] == [[1, 0, 0, 1], [1, 0, 0, 1]]


def test_other_formats_and_thresholds_that_were_there_do_not_matter():
    params, spec = random_network("net4")
    mixed = {**spec, "conv2": {"kernel": fl.FixedPoint(bits=4), "bias": None}}
    trained = fl.init_thresholds(params, mixed, value=0.1)
    shared = fl.init_thresholds(params, mixed, per="network")
    expected = budget.gates_for(params, mixed, 1.5)
    for other in (trained, shared):
        got = budget.gates_for(params, other, 1.5)
        jax.tree.map(assert_array_equal, got, expected)
    assert expected["conv2"] == mixed["conv2"]
    assert float(budget.mean_shifts(params, expected)) == pytest.approx(1.5, abs=0.02)


def test_formats_of_different_k_share_one_budget():
    w = jnp.asarray(np.random.default_rng(0).normal(size=(5, 6)), jnp.float32)
    params, spec = [w, 2 * w, w, w + 1], [fl.Shift(k=k) for k in (0, 1, 2, 3)]
    squares = [jnp.full_like(w, v) for v in (9.0, 9.0, 2.0, 1.0)]
    for mean_k, expected in ((0, [0] * 4), (0.75, [0, 6, 6, 6]), (1.5, [0, 6, 12, 18]), (3, None)):
        k = fl.count_shifts(params, budget.gates_for(params, spec, mean_k, importance=squares))
        assert [int(c.k.sum()) for c in k] == (expected or [0, 6, 12, 18])
    assert budget.gates_for(w, fl.Shift(k=0), 0).thresholds.shape == (0, 6)


def test_importance_decides_where_errors_are_alike():
    w = jnp.full((4, 6), 0.7)
    v = jnp.broadcast_to(jnp.array([1.0, 5.0, 2.0, 4.0, 0.0, 3.0]) * 1e-9, w.shape)
    spec = budget.gates_for(w, fl.Shift(k=2), 1.5, importance=v)
    assert fl.count_shifts(w, spec).k.tolist() == [1, 2, 1, 2, 1, 2]
    # Worth for its cost: 1, 5/9, 2, 1, 0, 3/2; 1 + 1 + 2 of the 4.25 that are left are spent.
    cost = jnp.array([1.0, 9.0, 1.0, 4.0, 1.0, 2.0])
    spec = budget.gates_for(w, fl.Shift(k=2), 1 + 4.25 / 18, cost, importance=v)
    assert fl.count_shifts(w, spec).k.tolist() == [2, 1, 2, 1, 1, 2]


def test_filters_may_lie_on_any_axis_and_have_any_type():
    w = jnp.asarray(np.random.default_rng(0).normal(size=(6, 3, 5)), jnp.bfloat16)
    for axis in (0, 1, -1):
        fmt = fl.Shift(filter_axis=axis)
        moved = jnp.moveaxis(w, axis, -1)
        got = fl.count_shifts(w, budget.gates_for(w, fmt, 1.5)).k
        assert_array_equal(got, fl.count_shifts(moved, budget.gates_for(moved, fl.Shift(), 1.5)).k)


def test_gates_are_masks_and_constants():
    """Weights that move leave them as they are, and no gradient goes through them."""
    params, spec = random_network("net4")
    spec = budget.gates_for(params, spec, 1.4)
    moved = jax.tree.map(lambda w: -3 * w[..., ::-1] + 0.01, params)
    for before, after in zip(counts(params, spec), counts(moved, spec), strict=True):
        assert_array_equal(before, after)
    values = {float(t) for fmt in kernels(spec) for t in np.unique(fmt.thresholds)}
    assert values == {0.0, budget.CLOSED}
    assert all(fmt.thresholds.dtype == jnp.float32 for fmt in kernels(spec))

    def total(params):
        gates = budget.gates_for(params, spec, 1.4)
        return sum(w.sum() for w in kernels(fl.quantize_params(params, gates)))

    gradient = jax.grad(total)(params)
    assert all(np.all(g == 1) for g in kernels(gradient))
    with_thresholds = jax.grad(lambda s: fl.quantize_params(params, s)["conv2"]["kernel"].sum())
    assert all(np.all(np.isfinite(t)) for t in jax.tree.leaves(with_thresholds(spec)))


def test_jit_compiles_once_for_all_budgets():
    params, spec = random_network("net4")
    compiled = 0

    @jax.jit
    def gates(params, mean_k):
        nonlocal compiled
        compiled += 1
        return budget.gates_for(params, spec, mean_k)

    for mean_k in BUDGETS:
        got = gates(params, mean_k)
        jax.tree.map(assert_array_equal, got, budget.gates_for(params, spec, mean_k))
    assert compiled == 1
    before = budget._thresholds._cache_size()
    budget.gates_for(params, spec, 1.2345)
    assert budget._thresholds._cache_size() == before


def test_parameters_spread_over_devices():
    params, spec = random_network("net4")
    params, spec = ({name: tree[name] for name in ("conv2", "conv3")} for tree in (params, spec))
    expected = budget.gates_for(params, spec, 1.5)
    mesh = jax.make_mesh((8,), ("model",), axis_types=(AxisType.Auto,))
    gates = jax.jit(lambda p: budget.gates_for(p, spec, 1.5))
    for axes in (P(), P(None, None, None, "model"), P(None, None, "model")):
        shardings = {"kernel": NamedSharding(mesh, axes), "bias": NamedSharding(mesh, P())}
        placed = {name: jax.device_put(p, shardings) for name, p in params.items()}
        jax.tree.map(assert_array_equal, gates(placed), expected)


def test_weights_that_are_not_finite_stay_in_their_layer_under_jit():
    params, spec = random_network("net4")
    broken = {**params, "conv2": {**params["conv2"], "kernel": params["conv2"]["kernel"] * np.nan}}
    spec = jax.jit(lambda p: budget.gates_for(p, spec, 1.5))(broken)
    quantized = jax.jit(fl.quantize_params)(broken, spec)
    for name, p in quantized.items():
        assert np.isnan(p["kernel"]).all() == (name == "conv2")
        assert np.isnan(p["kernel"]).any() == (name == "conv2")


@pytest.mark.parametrize(
    ("step", "expected"),
    [(0, 2.0), (200, 2.0), (250, 1.9), (300, 1.8), (450, 1.5), (700, 1.0), (999, 1.0), (5000, 1.0)],
)
def test_schedule(step, expected):
    at = functools.partial(budget.budget_at, steps=1000, mean_k=1.0, begin=0.2, end=0.7)
    assert_allclose(at(step), expected, rtol=1e-6)
    assert_array_equal(jax.jit(at)(step), at(step))


def test_schedule_ends_at_the_very_budget():
    for mean_k in BUDGETS:
        assert budget.budget_at(60, 100, mean_k) == np.float32(mean_k)
        assert budget.budget_at(0, 100, mean_k, start=3.0) == pytest.approx(3, rel=1e-6)


PARAMS, SPEC = {"w": jnp.ones((3, 2)), "b": jnp.ones(2)}, {"w": fl.Shift(k=2), "b": None}


def gates(*args, **kwargs):
    return budget.gates_for(PARAMS, SPEC, *args, **kwargs)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: gates(2.1), r"mean_k=2.1.* 0 to 2 terms.* larger k"),
        (lambda: gates(-0.1), r"mean_k=-0.1.* number from 0 to 2"),
        (lambda: gates(np.nan), r"mean_k=nan.* number from 0 to 2"),
        (
            lambda: budget.gates_for(PARAMS, {"w": None, "b": None}, 1),
            r"no shift format.*make_spec",
        ),
        (
            lambda: gates(1, cost="bits"),
            r"cost='bits'.*'filter', 'storage'",
        ),
        (
            lambda: gates(1, cost={"w": 1}),
            r"costs is not like the parameters",
        ),
        (
            lambda: gates(1, cost={"w": [1] * 3, "b": 0}),
            r"\['w'\]: give 2 ",
        ),
        (lambda: gates(1, cost={"w": -1, "b": 0}), r"-1 .*above 0"),
        (
            lambda: gates(1, cost={"w": None, "b": 0}),
            r"None .*give 2 finite",
        ),
        (lambda: budget.mean_shifts(PARAMS, SPEC, cost={"w": 0, "b": 0}), r"\['w'\]: .*above 0"),
        (
            lambda: gates(1, importance={"w": jnp.ones(2), "b": 0}),
            r"importance of shape \(2,\) .*\(3, 2\) at \['w'\].*Adam's nu",
        ),
        (lambda: gates(1, importance=1), r"importance is not like"),
        *(
            (
                lambda bad=bad: gates(1, importance={"w": jnp.full_like(PARAMS["w"], bad), "b": 0}),
                r"importance of \['w'\] has NaN, infinite or negative",
            )
            for bad in (np.nan, np.inf, -1)
        ),
        (lambda: budget.budget_at(0, 10, 1.5, begin=0.6, end=0.6), r"begin=0.6.*begin < end <= 1"),
        (lambda: budget.budget_at(0, 0, 1.5), r"steps=0.*one step or more"),
        (lambda: budget.budget_at(0, 10, 2.5), r"mean_k=2.5 and start=2.*start at the k"),
    ],
)
def test_errors(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.slow
@pytest.mark.optimized
def test_training_on_digits_ends_at_the_budget_on_every_seed():
    steps, batch = 120, 64
    model = models.Model(networks.network("net4", width=32, input_shape=(8, 8, 3)))
    train = data.load("digits", "train", image_size=8)
    test = data.load("digits", "test", image_size=8)
    images, labels = jnp.asarray(train.images), jnp.asarray(train.labels)
    params = jax.eval_shape(model.init, jax.random.key(0), images[:1])["params"]
    spec = fl.make_spec(params, fl.Shift(k=2))
    optimizer = optax.adam(3e-3)

    @jax.jit
    @chex.assert_max_traces(n=1)  # for all seeds and budgets
    def train_one(seed, mean_k):
        variables = model.init(jax.random.key(seed), images[:1])
        params = variables.pop("params")

        def step(state, i):
            params, rest, slots, gates = state
            goal = budget.budget_at(i, steps, mean_k)
            gates = budget.gates_for(params, spec, goal, importance=slots[0].nu)
            rows = jax.random.randint(
                jax.random.fold_in(jax.random.key(seed), i), (batch,), 0, 1257
            )

            def loss(params):
                weights = {"params": fl.quantize_params(params, gates), **rest}
                logits, updates = model.apply(
                    weights, images[rows], train=True, mutable=["batch_stats", "ranges"]
                )
                return optax.softmax_cross_entropy_with_integer_labels(
                    logits, labels[rows]
                ).mean(), updates

            gradient, rest = jax.grad(loss, has_aux=True)(params)
            updates, slots = optimizer.update(gradient, slots, params)
            return (optax.apply_updates(params, updates), rest, slots, gates), None

        state = (params, variables, optimizer.init(params), budget.gates_for(params, spec, 2.0))
        return jax.lax.scan(step, state, jnp.arange(steps))[0]

    @jax.jit
    def infer(params, rest, gates):
        variables = {"params": fl.quantize_params(params, gates), **rest}
        return model.apply(variables, test.images, floats=True)

    for seed, mean_k in ((0, 1.25), (0, 1.5), (1, 1.5), (2, 1.5), (2, 1.75)):
        params, rest, _, gates = train_one(seed, mean_k)
        k = np.concatenate(counts(params, gates))
        assert k.sum() == math.floor(mean_k * len(k))
        assert abs(k.mean() - mean_k) < 0.02
        logits = infer(params, rest, gates)
        assert np.mean(np.argmax(logits, -1) == test.labels) > 0.8
