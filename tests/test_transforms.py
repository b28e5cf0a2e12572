"""The library under JAX's transformations, on several devices, and lowered for other machines.

Where a quantized weight is compared, it is compared bit for bit: thresholds are 0 or lie well
between the norms that they divide, so that no order of summation can move a filter across.
"""

import dataclasses
import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax import export, monitoring
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P
from numpy.testing import assert_allclose, assert_array_equal

import flightnn_jax as fl

# Without coverage, which these lines have from other tests: it costs a third of the time.
pytestmark = pytest.mark.slow


def normal(seed, *shape):
    """Numbers whose size grows with the last index, so that residuals' norms spread."""
    values = np.random.default_rng(seed).normal(size=shape)
    return jnp.asarray(values * np.linspace(0.1, 0.4, shape[-1]), jnp.float32)


norms_of = jax.jit(lambda fmt, w: fmt.residual_norms(w))


def dividing(w, **fields):
    """A Shift whose last threshold lies in the widest gap amid the norms of the residuals."""
    fmt = fl.Shift(**fields)
    norms = np.sort(norms_of(fmt, w)[-1])
    quarter = len(norms) // 4
    low = quarter + np.argmax(np.diff(norms[quarter:-quarter]))
    assert norms[low + 1] > 1.01 * norms[low]
    t = jnp.zeros(fmt.k).at[-1].set(norms[low : low + 2].mean())
    return fl.Shift(thresholds=t, **fields)


def per_filter(fmt, filters):
    """The same thresholds, a column for each filter."""
    return dataclasses.replace(fmt, thresholds=jnp.tile(fmt.thresholds[:, None], filters))


def stack(trees):
    return jax.tree.map(lambda *x: jnp.stack(x), *trees)


PARAMS = {
    "first": {"kernel": normal(0, 8, 16), "bias": normal(1, 1, 16)},
    "second": {"kernel": normal(2, 16, 8)},
}
X = normal(3, 24, 8)
FIRST = dividing(PARAMS["first"]["kernel"])
SECOND = dividing(PARAMS["second"]["kernel"], gates="independent")
SPEC = {"first": {"kernel": FIRST, "bias": None}, "second": {"kernel": per_filter(SECOND, 8)}}


def forward(quantized, x):
    hidden = jnp.tanh(x @ quantized["first"]["kernel"] + quantized["first"]["bias"])
    return jnp.sum(jnp.sin(hidden @ quantized["second"]["kernel"]))


def loss(params, spec, x):
    """A sum over the rows of x, so that parts of x give parts of the loss."""
    return forward(fl.quantize_params(params, spec), x)


gradient_of = functools.partial(jax.grad, argnums=(0, 1))
GRADIENT = jax.jit(gradient_of(loss))


def assert_trees_equal(got, expected):
    assert jax.tree.structure(got) == jax.tree.structure(expected)
    jax.tree.map(assert_array_equal, got, expected)


def assert_trees_close(got, expected, rtol=1e-5):
    """Equal up to the order of summation: relative to the largest number in each array."""
    assert jax.tree.structure(got) == jax.tree.structure(expected)
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(expected), strict=True):
        assert np.any(b != 0)
        assert_allclose(a, b, rtol=0, atol=rtol * np.abs(b).max())


@pytest.mark.parametrize("traced", [(), (0,), (1,), (0, 1)], ids=str)
def test_jit_whatever_is_traced(traced):
    """Parameters or a spec that jit closes over are constants in the middle of a trace."""
    both = (PARAMS, SPEC)

    @jax.jit
    def quantize(*given):
        given = iter(given)
        return fl.quantize_params(*(next(given) if i in traced else both[i] for i in range(2)))

    got = quantize(*(both[i] for i in traced))
    assert_trees_equal(got, fl.quantize_params(PARAMS, SPEC))


def test_gradient_is_straight_through():
    params, spec = GRADIENT(PARAMS, SPEC, X)
    expected = jax.grad(forward)(fl.quantize_params(PARAMS, SPEC), X)
    assert_trees_close(params, expected, rtol=1e-6)
    assert all(np.any(t != 0) for t in jax.tree.leaves(spec))


TRANSFORMED = {
    "eager": gradient_of(loss),
    "value_and_grad": lambda *args: jax.value_and_grad(loss, argnums=(0, 1))(*args)[1],
    "vjp": lambda p, s, x: jax.vjp(lambda p, s: loss(p, s, x), p, s)[1](1.0),
    "remat": gradient_of(jax.checkpoint(loss)),
    "inner remat": gradient_of(
        lambda p, s, x: forward(jax.checkpoint(fl.quantize_params)(p, s), x)
    ),
}


@pytest.mark.parametrize("name", TRANSFORMED)
def test_gradient_under(name):
    assert_trees_close(TRANSFORMED[name](PARAMS, SPEC, X), GRADIENT(PARAMS, SPEC, X))


STACK = [normal(seed, 3, 6, 8) * 2.0**seed for seed in range(3)]
FORMATS = {
    "FLightNN": lambda w: dividing(w, k=2),
    "per filter": lambda w: per_filter(dividing(w, k=1), 8),
    "codebook": lambda w: fl.Codebook(5).start(w),
    "filters first": lambda w: fl.Shift(k=2, thresholds=jnp.zeros(2), filter_axis=0),
    "no window": lambda w: dividing(w, k=3, window=None, rounding="linear"),
    "LightNN": lambda w: fl.Shift(k=2),
    "fixed point": lambda w: fl.FixedPoint(bits=4),
    "binary": lambda w: fl.Binary(),
}


@pytest.mark.whole(3)
@pytest.mark.parametrize("name", FORMATS)
def test_vmap_is_a_loop(name):
    pairs = [(w, FORMATS[name](w)) for w in STACK]
    weights, formats = stack(pairs)
    got = jax.vmap(fl.quantize_params)(weights, formats)
    assert_array_equal(got, stack([fl.quantize_params(*pair) for pair in pairs]))
    along_last = jax.vmap(fl.quantize_params, in_axes=(-1, 0), out_axes=-1)
    assert_array_equal(along_last(jnp.moveaxis(weights, 0, -1), formats), jnp.moveaxis(got, 0, -1))
    counts = jax.vmap(fl.count_shifts)(weights, formats)
    assert_trees_equal(counts, stack([fl.count_shifts(*pair) for pair in pairs]))


def test_jit_of_grad_of_vmap():
    pairs = [(w, FORMATS["FLightNN"](w)) for w in STACK]

    def one(w, fmt):
        return jnp.sum(jnp.sin(fl.quantize_params(w, fmt))) + fl.residual_group_lasso(w, fmt, 0.1)

    def total(*stacked):
        return jax.vmap(one)(*stacked).sum()

    alone = jax.jit(gradient_of(one))
    got = jax.jit(gradient_of(total))(*stack(pairs))
    assert_trees_close(got, stack([alone(*pair) for pair in pairs]))


def test_scan_over_layers():
    layers = [(normal(seed, 8, 8), dividing(normal(seed, 8, 8))) for seed in range(4)]

    def layer(hidden, weights):
        return jnp.tanh(hidden @ fl.quantize_params(*weights)), None

    runs = {
        "scan": lambda layers: jax.lax.scan(layer, X, stack(layers))[0].sum(),
        "loop": lambda layers: functools.reduce(lambda x, w: layer(x, w)[0], layers, X).sum(),
    }
    got = {name: jax.jit(jax.value_and_grad(run))(layers) for name, run in runs.items()}
    assert_trees_close(got["scan"], got["loop"])


def test_training_in_scan_is_training_in_a_loop():
    adam = optax.adam(0.01)

    def step(state, x):
        trained, optimizer = state
        value, gradient = jax.value_and_grad(lambda t: loss(*t, x))(trained)
        updates, optimizer = adam.update(gradient, optimizer)
        return (optax.apply_updates(trained, updates), optimizer), value

    trained = (PARAMS, SPEC)
    start = (trained, adam.init(trained))
    batches = jnp.stack([X[i : i + 6] for i in range(0, 18, 3)])
    scanned, losses = jax.jit(lambda s: jax.lax.scan(step, s, batches))(start)
    jitted = jax.jit(step)
    state, expected = start, []
    for x in batches:
        state, value = jitted(state, x)
        expected.append(value)
    assert jitted._cache_size() == 1  # new weights and thresholds, the same program
    assert_allclose(losses, expected, rtol=1e-4)
    assert_trees_close(scanned[0], state[0], rtol=1e-4)  # Adam divides by small gradients


def test_donated_weights_are_used_up():
    params = jax.tree.map(jnp.copy, PARAMS)
    got = jax.jit(fl.quantize_params, donate_argnums=0)(params, SPEC)
    assert_trees_equal(got, fl.quantize_params(PARAMS, SPEC))
    assert params["first"]["kernel"].is_deleted()


def test_eval_shape():
    shapes = jax.eval_shape(lambda p, s: (p, s), PARAMS, SPEC)
    assert jax.eval_shape(fl.quantize_params, *shapes) == shapes[0]
    counts = jax.eval_shape(fl.count_shifts, *shapes)["first"]
    assert counts["kernel"].k == jax.ShapeDtypeStruct((16,), jnp.int32)
    assert counts["bias"] is None


def test_new_numbers_compile_nothing():
    """Eager calls: new weights and thresholds, and a spec that is equal but made anew."""
    events = []

    def listen(event, duration, **kwargs):
        del duration, kwargs
        events.append(event)

    def compiled(f, seed, **fields):
        params = {"kernel": normal(seed, 5, 16)}
        spec = fl.make_spec(params, fl.Shift(thresholds=jnp.array([0.0, 0.1 * seed]), **fields))
        events.clear()
        f(params, spec)
        return events.count("/jax/core/compile/backend_compile_duration")

    monitoring.register_event_duration_secs_listener(listen)
    try:
        penalty = functools.partial(fl.residual_group_lasso, lambdas=0.1)
        for f in (fl.quantize_params, fl.count_shifts, penalty):
            assert compiled(f, 1, window=fl.Window(8)) > 0
            assert compiled(f, 2, window=fl.Window(8)) == 0
        assert compiled(fl.quantize_params, 2, window=fl.Window(7)) > 0  # another program
    finally:
        monitoring.unregister_event_duration_listener(listen)


def equations(jaxpr):
    """All equations of a jaxpr and of those inside it."""
    for equation in jaxpr.eqns:
        yield equation
        for inner in jax.tree.leaves(equation.params, is_leaf=lambda x: hasattr(x, "eqns")):
            inner = getattr(inner, "jaxpr", inner)
            if hasattr(inner, "eqns"):
                yield from equations(inner)


EVERYTHING = {
    "quantize": fl.quantize_params,
    "gradient": lambda p, s: gradient_of(loss)(p, s, X),
    "count": fl.count_shifts,
    "penalty": lambda p, s: jax.value_and_grad(fl.residual_group_lasso)(p, s, 0.1),
}


@pytest.mark.parametrize("name", EVERYTHING)
def test_stays_on_the_device_in_32_bits(name):
    """No callback to the host; and 32 bits stay 32 bits where 64 are allowed."""
    given = (PARAMS | {"third": normal(5, 4, 8)}, SPEC | {"third": fl.FixedPoint()})
    narrow = jax.eval_shape(EVERYTHING[name], *given)
    with jax.enable_x64(True):
        assert jax.eval_shape(EVERYTHING[name], *given) == narrow
        found = list(equations(jax.make_jaxpr(EVERYTHING[name])(*given).jaxpr))
    assert len(found) > 50
    assert not [e for e in found if "callback" in e.primitive.name]
    results = [v.aval for e in found for v in e.outvars]
    wide = [r for r in results if r.dtype.itemsize > 4 and r.size > 3]  # lambdas, a position
    assert not wide


INEXACT = re.compile(r" (log|exponential|power|log-plus-one|exponential-minus-one)\(")


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_compiled_quantizer_has_no_logarithm(dtype):
    def operations(f):
        w = PARAMS["first"]["kernel"].astype(dtype)
        return set(INEXACT.findall(jax.jit(f).lower(w, FIRST).compile().as_text()))

    formula = operations(lambda w, fmt: jnp.exp2(jnp.round(jnp.log2(jnp.abs(w)))))
    assert len(formula) == 2  # the search finds what is there: log, and exponential or power
    assert not operations(lambda w, fmt: (fmt.quantize(w), fl.FixedPoint().quantize(w)))


@pytest.mark.parametrize("name", EVERYTHING)
def test_lowers_for_other_platforms(name):
    shapes = jax.eval_shape(lambda p, s: (p, s), PARAMS, SPEC)
    exported = export.export(jax.jit(EVERYTHING[name]), platforms=("cpu", "cuda", "tpu"))(*shapes)
    assert exported.platforms == ("cpu", "cuda", "tpu")
    assert "custom_call" not in re.sub("@Sharding|@LayoutConstraint", "", exported.mlir_module())


def test_exported_functions_take_specs_and_codes():
    """They are written and read as bytes; what comes back has the spec's own type."""
    per_network = fl.init_thresholds(PARAMS, fl.make_spec(PARAMS, fl.Shift(window=None)), "network")
    fixed = fl.make_spec(PARAMS, fl.FixedPoint())
    for spec in (SPEC, per_network, fixed):
        codes = fl.encode_params(PARAMS, spec)

        def answer(params, spec, codes):
            counts = fl.count_shifts(params, spec)
            return fl.quantize_params(params, spec), counts, fl.decode_params(codes), spec, codes

        compiled = jax.jit(answer)
        exported = export.export(compiled)(PARAMS, spec, codes)
        again = export.deserialize(exported.serialize()).call(PARAMS, spec, codes)
        assert_trees_equal(again, compiled(PARAMS, spec, codes))


# The filter axis, and how a kernel with its filters there is spread over the devices.
LAYOUTS = {
    "filters last": (-1, P(None, None, None, "d")),
    "inputs, filters last": (-1, P(None, None, "d", None)),
    "filters first": (0, P("d", None, None, None)),
    "inputs, filters first": (0, P(None, "d", None, None)),
    "replicated": (-1, P(None, None, None, None)),
}
KERNEL = normal(7, 3, 3, 16, 32)
DIVIDING = dividing(KERNEL).thresholds
SPREAD = KERNEL * jnp.exp2(jnp.linspace(0, 6, 32)).reshape(1, 1, 1, 32)


def spread(layout, axis_type, kernel=KERNEL):
    """The filter axis of a layout, the kernel in this layout, and the same over eight devices."""
    axis, spec = LAYOUTS[layout]
    w = kernel if axis == -1 else jnp.moveaxis(kernel, (3, 2), (0, 1))
    mesh = jax.make_mesh((8,), ("d",), axis_types=(axis_type,))
    return axis, w, jax.device_put(w, NamedSharding(mesh, spec))


@jax.jit
def measure(w, fmt):
    """What must be equal bit for bit; and the penalty and gradients, equal up to their sums."""

    def value(w, fmt):
        penalty = fl.residual_group_lasso(w, fmt, 0.1)
        return jnp.sum(jnp.sin(fl.quantize_params(w, fmt))) + penalty, penalty

    gradient, penalty = gradient_of(value, has_aux=True)(w, fmt)
    return (fl.quantize_params(w, fmt), fl.count_shifts(w, fmt)), (penalty, *gradient)


@pytest.mark.whole(2)
@pytest.mark.parametrize(
    ("layout", "axis_type"),
    [
        ("filters last", AxisType.Explicit),
        ("inputs, filters first", AxisType.Auto),
        ("inputs, filters first", AxisType.Explicit),
        *((layout, AxisType.Auto) for layout in LAYOUTS if layout != "inputs, filters first"),
    ],
)
def test_sharded_weights(layout, axis_type):
    axis, w, placed = spread(layout, axis_type)
    formats = [fl.Shift(thresholds=t, filter_axis=axis) for t in (DIVIDING, jnp.zeros(2), None)]
    formats += [fl.FixedPoint(filter_axis=axis), fl.Binary(filter_axis=axis)]
    exact, close = measure(w, formats[0])
    assert set(exact[1].k.tolist()) == {1, 2}
    with jax.set_mesh(placed.sharding.mesh):
        quantized = fl.quantize_params([placed] * len(formats), formats)
        got_exact, got_close = measure(placed, formats[0])
    assert_trees_equal(quantized, fl.quantize_params([w] * len(formats), formats))
    assert_trees_equal(got_exact, exact)
    assert_trees_close(got_close, close)
    for array in (*quantized, got_exact[0], got_close[1]):  # Q, and the gradient to the weights
        assert array.sharding.is_equivalent_to(placed.sharding, w.ndim)


@pytest.mark.whole(2)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_devices_exchange_a_few_numbers_a_filter(layout):
    """The weights themselves are never gathered."""
    axis, _, placed = spread(layout, AxisType.Auto, normal(7, 3, 3, 64, 32))
    fmt = fl.Shift(thresholds=jnp.zeros(2), filter_axis=axis)
    text = measure.lower(placed, fmt).compile().as_text()
    sent = re.findall(r"= (.*?) (?:all-gather|all-to-all|collective-permute|all-reduce)\(", text)
    assert bool(sent) == (layout != "replicated")
    shapes = [shape.split(",") for shape in re.findall(r"\[([\d,]+)\]", " ".join(sent))]
    assert all(np.prod(np.array(shape, int)) <= 2 * 32 for shape in shapes)


def over_devices(f, **how):
    mesh = jax.make_mesh((8,), ("d",), axis_types=(AxisType.Auto,))
    return jax.jit(jax.shard_map(f, mesh=mesh, **how))


def objective(params, spec, x):
    share = len(x) / len(X)
    return loss(params, spec, x) + share * fl.residual_group_lasso(params, spec, 0.1)


def gradient_on_a_device(params, spec, x, check_vma):
    gradient = gradient_of(objective)(params, spec, x)
    # Where JAX checks what varies, it sums the gradients of what does not by itself.
    return gradient if check_vma else jax.lax.psum(gradient, "d")


@pytest.fixture(scope="module")
def on_one_device():
    return jax.jit(gradient_of(objective))(PARAMS, SPEC, X)


@pytest.mark.whole(1)
@pytest.mark.parametrize("check_vma", [True, False])
@pytest.mark.parametrize("where", ["inside", "outside"])
def test_data_parallel_gradient_is_that_of_the_sum(where, check_vma, on_one_device):
    how = {"in_specs": (P(), P(), P("d")), "out_specs": P(), "check_vma": check_vma}
    if where == "inside":
        local = functools.partial(gradient_on_a_device, check_vma=check_vma)
        gradient = over_devices(local, **how)
    else:
        total = over_devices(lambda *given: jax.lax.psum(objective(*given), "d"), **how)
        gradient = jax.jit(gradient_of(total))
    assert_trees_close(gradient(PARAMS, SPEC, X), on_one_device)


@pytest.mark.whole(1)
@pytest.mark.parametrize("check_vma", [True, False])
@pytest.mark.parametrize("per", ["layer", "filter"])
def test_filters_split_over_devices(per, check_vma):
    """One of the devices alone sees the largest weight of the layer, which moves the window."""
    w = SPREAD.reshape(-1, 32)
    fmt, split = dividing(w), P(None, "d")
    fmt, of_format = (fmt, P()) if per == "layer" else (per_filter(fmt, 32), split)

    def local(w, fmt):
        exact, (penalty, to_w, to_fmt) = measure(w, fmt)
        if per == "layer" and not check_vma:
            to_fmt = jax.lax.psum(to_fmt, "d")
        return exact, (jax.lax.psum(penalty, "d"), to_w, to_fmt)

    specs = (split, of_format)
    out_specs = (split, P("d")), (P(), *specs)
    run = over_devices(local, in_specs=specs, out_specs=out_specs, check_vma=check_vma)
    (got_exact, got_close), (exact, close) = run(w, fmt), measure(w, fmt)
    assert_trees_equal(got_exact, exact)
    assert_trees_close(got_close, close)


PLACES = {"filters": P(None, None, None, "d"), "inputs": P(None, None, "d"), "nothing": P()}


@pytest.mark.whole(3)
@pytest.mark.parametrize("check_vma", [True, False])
@pytest.mark.parametrize("place", PLACES)
def test_what_a_layer_shares_is_that_of_all_shards(place, check_vma):
    formats = [fl.Shift(k=1), fl.Shift(window=fl.Window(below="flush")), fl.FixedPoint()]
    formats.append(fl.Binary())
    how = {"in_specs": PLACES[place], "out_specs": PLACES[place], "check_vma": check_vma}
    run = over_devices(lambda *w: tuple(fl.quantize_params(list(w), formats)), **how)
    whole = [SPREAD] * len(formats)
    assert_trees_equal(list(run(*whole)), fl.quantize_params(whole, formats))
    if place != "nothing":
        bad = (np.nan, np.inf, np.nan, np.inf)
        broken = [w.at[0, 0, 0, 31].set(x) for w, x in zip(whole, bad, strict=True)]
        assert all(np.isnan(w).all() for w in run(*broken))


def test_parts_of_a_filter_have_gates_of_their_own():
    """With thresholds a filter is to be whole on its device: nobody can see that it is not."""
    w, split = SPREAD.reshape(-1, 32), P("d")
    fmt = dividing(w)
    run = over_devices(fl.quantize_params, in_specs=(split, P()), out_specs=split)
    as_filters = jnp.concatenate(jnp.split(w, 8), axis=1)  # the window is the whole layer's
    parts = fl.quantize_params(as_filters, fmt)
    wanted = jnp.concatenate(jnp.split(parts, 8, axis=1))
    assert_trees_equal(run(w, fmt), wanted)
    assert np.any(wanted != fl.quantize_params(w, fmt))


@pytest.mark.parametrize("check_vma", [True, False])
@pytest.mark.parametrize(
    "function",
    [lambda w, fmt: fl.budget.gates_for(w, fmt, 1.5).thresholds, fl.budget.mean_shifts],
)
def test_budgets_are_of_the_whole_network(function, check_vma):
    how = {"in_specs": P(None, "d"), "out_specs": P("d"), "check_vma": check_vma}
    run = over_devices(lambda w: function(w, fl.Shift()), **how)
    with pytest.raises(ValueError, match=r"differ over the axes \('d',\) of shard_map.*outside"):
        run(KERNEL[0, 0])
