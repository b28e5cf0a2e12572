"""Bad input: every error names the value and where it stands, the rule, and what to do."""

import dataclasses
import functools
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from flightnn_jax import (
    FixedPoint,
    Shift,
    Window,
    activation_exponent,
    add_residual_group_lasso,
    budget,
    count_shifts,
    decode_params,
    encode_params,
    exponent_of,
    init_thresholds,
    make_spec,
    power_of_two,
    quantize_activations,
    quantize_params,
    residual_group_lasso,
    round_to_power_of_two,
    split_filters,
    storage_bits,
)


@pytest.mark.parametrize("k", [-1, 4, 1.5, 2.0, "2", None])
def test_terms(k):
    with pytest.raises(ValueError, match=rf"k={k!r} .*whole number from 0 \(prune.*\) to 3"):
        Shift(k=k)


@pytest.mark.parametrize("field", ["rounding", "gates", "gradient"])
def test_unknown_choices_of_shift(field):
    known = {"rounding": "'log', 'linear'", "gates": "'nested', 'independent'"}
    choices = known.get(field, "'open', 'all'")
    with pytest.raises(ValueError, match=f"{field}='nearest' is unknown: choose of .*{choices}"):
        Shift(**{field: "nearest"})


@pytest.mark.parametrize("temperature", [0, -1.0, np.nan])
def test_temperature(temperature):
    with pytest.raises(ValueError, match=f"temperature={temperature} .* above 0 .*1 is the paper"):
        Shift(temperature=temperature)


@pytest.mark.parametrize("width", [1, 0, -8, 2.5])
def test_width_of_a_window(width):
    with pytest.raises(ValueError, match=f"width {width} .*width must be .*2 or more .*4 bits"):
        Window(width=width)


def test_other_fields_of_a_window():
    with pytest.raises(ValueError, match="below='zero' is unknown: choose 'clamp' or 'flush'"):
        Window(below="zero")
    with pytest.raises(ValueError, match=r"top=0\.5"):
        Window(top=0.5)


@pytest.mark.parametrize("bits", [1, 0, 17, 4.5, 4.0, "4"])
@pytest.mark.parametrize(
    ("function", "what"),
    [
        (FixedPoint, "a fixed-point weight"),
        (lambda bits: quantize_activations(jnp.ones(2), 0, bits), "an activation"),
        (lambda bits: activation_exponent(1.0, bits), "an activation"),
    ],
    ids=["weights", "activations", "exponent"],
)
def test_bits(function, what, bits):
    with pytest.raises(ValueError, match=f"bits={bits!r}: {what} has 2 to 16 bits"):
        function(bits)


@pytest.mark.parametrize("exponent", [-127, 127, 1000])
def test_exponents_of_activations(exponent):
    """2**exponent and 2**-exponent must both exist."""
    with pytest.raises(ValueError, match=f"exponent.*{exponent}.*-126 .*126"):
        quantize_activations(jnp.ones(2), exponent)


@pytest.mark.parametrize(
    ("field", "value"), [("window", 8), ("filter_axis", 1.0), ("filter_axis", "last")]
)
def test_fields_of_the_wrong_type(field, value):
    with pytest.raises((TypeError, ValueError), match=f"{field}={value!r}"):
        quantize_params(jnp.ones((2, 2)), Shift(**{field: value}))


def test_scale():
    with pytest.raises(ValueError, match="scale='filter' is unknown: choose 'layer' or 'unit'"):
        FixedPoint(scale="filter")


def penalty(params, spec):
    return residual_group_lasso(params, spec, 1e-5)


ON_TREES = [quantize_params, count_shifts, storage_bits, encode_params, penalty]
FINE = jnp.array([[0.7, 0.2, -0.1, 0.9], [0.3, -0.5, 0.4, 0.1], [0.6, 0.8, -0.7, 0.2]])
KERNEL = r"\['conv'\]\['kernel'\]"
EMPTY_WINDOW = "window 193..200 is empty .* from -126 to 127: choose a top within them, or None"
FINITE = "only finite ones can be quantized.*jax_debug_nans"
NO_ARRAY = "cannot be quantized: weights are floating-point arrays; convert it, or put None in its"
SHAPE = r"with k=2 and 4 filters they must be \(2,\) for the layer or \(2, 4\).*init_thresholds"


def tree(kernel=FINE, bias=None):
    return {"conv": {"kernel": kernel, "bias": jnp.ones(4) if bias is None else bias}}


@pytest.mark.parametrize("function", ON_TREES)
@pytest.mark.parametrize(
    ("kernel", "fmt", "message"),
    [
        (FINE.at[1, 2].set(np.nan), Shift(), f"NaN or infinite numbers in {KERNEL}: {FINITE}"),
        (FINE.at[1, 2].set(np.inf), FixedPoint(), f"infinite numbers in {KERNEL}: {FINITE}"),
        (
            FINE,
            Shift(thresholds=jnp.array([0.0, np.nan])),
            rf"infinite numbers in .thresholds of the format at {KERNEL}: {FINITE}",
        ),
        (FINE, Shift(thresholds=jnp.array([np.inf, 0])), f"of the format at {KERNEL}: {FINITE}"),
        (jnp.ones((3, 4), int), Shift(), f"{KERNEL}: an? int32 array {NO_ARRAY}"),
        (jnp.ones((3, 4), bool), FixedPoint(), f"{KERNEL}: a bool array {NO_ARRAY}"),
        (jnp.ones((3, 4), jnp.complex64), Shift(), f"{KERNEL}: a complex64 array {NO_ARRAY}"),
        (0.5, Shift(), rf"{KERNEL}: a float 0\.5 {NO_ARRAY}"),
        ("same", FixedPoint(), f"{KERNEL}: a str 'same' {NO_ARRAY}"),
        (FINE, Shift(filter_axis=2), rf"{KERNEL}: filter_axis=2 is not an axis of shape \(3, 4\)"),
        (FINE, FixedPoint(filter_axis=-3), f"{KERNEL}: filter_axis=-3 .*choose one of its 2 axes"),
        (jnp.float32(1), Shift(), rf"{KERNEL}: filter_axis=-1 is not an axis of shape \(\)"),
        (FINE, Shift(thresholds=jnp.zeros(3)), rf"{KERNEL}: thresholds of shape \(3,\): {SHAPE}"),
        (FINE, Shift(thresholds=jnp.zeros((2, 3))), rf"thresholds of shape \(2, 3\): {SHAPE}"),
        (FINE, Shift(thresholds=0.0), rf"thresholds of shape \(\): {SHAPE}"),
        (FINE, Shift(window=Window(top=200)), f"{KERNEL}: the exponent {EMPTY_WINDOW}"),
        (FINE, Shift(window=Window(top=-127)), "window -134..-127 is empty"),
        (FINE.astype(jnp.float16), Shift(window=Window(top=-25)), "from -24 to 15"),
        (np.float64(FINE), Shift(window=Window(top=200)), "window 193..200"),
        (FINE.astype(jnp.float8_e5m2), Shift(), f"{KERNEL}.*float8_e5m2.*float16, bfloat16, float"),
    ],
)
def test_weights_that_do_not_fit(function, kernel, fmt, message):
    spec = {"conv": {"kernel": fmt, "bias": None}}
    with pytest.raises((ValueError, TypeError), match=message):
        function(tree(kernel), spec)


@pytest.mark.parametrize("function", [*ON_TREES, init_thresholds])
@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (
            {"conv": {"kernel": Shift()}},
            r"parameters without a place in the spec: \['conv'\]\['bias'\].*make_spec\(params",
        ),
        (
            {"conv": {"kernel": Shift(), "bias": None, "scale": FixedPoint()}},
            r"places of the spec without a parameter: \['conv'\]\['scale'\].*make_spec\(params",
        ),
        ({"conf": Shift()}, r"without a place .*'kernel'.* without a parameter: \['conf'\]"),
        ([Shift(), None], r"without a place .*'kernel'.* without a parameter: \[0\].*\[1\]"),
        ({"conv": (Shift(), None)}, r"without a parameter: \['conv'\]\[0\]"),
        ({"conv": Shift()}, r"exactly one array.*\['conv'\] \(2 arrays\).*make_spec"),
        (Shift(), r"exactly one array.*\(the whole tree\) \(2 arrays\)"),
    ],
)
def test_specs_that_do_not_fit(function, spec, message):
    with pytest.raises(ValueError, match=message):
        function(tree(), spec)


@pytest.mark.parametrize("function", [*ON_TREES, init_thresholds])
def test_other_containers(function):
    message = r"in the kind of container.*tuple.*make_spec\(params"
    with pytest.raises(ValueError, match=message) as error:
        function([FINE, FINE], (Shift(), None))
    assert "0.7" not in str(error.value)  # no weights in the message


@pytest.mark.parametrize("function", [*ON_TREES, init_thresholds])
@pytest.mark.parametrize("stranger", ["shift", 4, Shift])
def test_strangers_in_a_spec(function, stranger):
    message = rf"holds formats \(Shift, FixedPoint\) or None, but has .* at {KERNEL}"
    with pytest.raises(TypeError, match=message) as error:
        function(tree(), {"conv": {"kernel": stranger, "bias": None}})
    assert repr(stranger) in str(error.value)


def test_many_problems_are_listed_together():
    params = {f"layer{n:02}": jnp.ones((2, 2), int) for n in range(12)}
    with pytest.raises(ValueError, match=r"\['layer00'\].*\['layer09'\].*and 2 more"):
        quantize_params(params, dict.fromkeys(params, Shift()))
    broken = [FINE, FINE * np.nan, FINE, FINE * np.inf]
    with pytest.raises(ValueError, match=r"numbers in \[1\]; \[3\]: only finite"):
        quantize_params(broken, [Shift(), Shift(), None, FixedPoint()])


@pytest.mark.quick(0)
@pytest.mark.parametrize("function", ON_TREES[:2] + ON_TREES[-1:])
def test_finite_arrays_that_jit_closes_over_are_no_error(function):
    """A spec with thresholds, or frozen parameters, that do not come as arguments of the step."""
    fmt = Shift(k=1, thresholds=jnp.array([0.1]))
    expected = function(FINE, fmt)
    over_spec = jax.jit(lambda w: function(w, fmt))(FINE)
    over_params = jax.jit(lambda fmt: function(FINE, fmt))(fmt)
    for jitted in (over_spec, over_params):
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), jitted, expected)


def test_filter_axis_of_quantize_params():
    with pytest.raises(ValueError, match=r"filter_axis=0 beside a spec.*Shift\(filter_axis=\.\.\."):
        quantize_params(FINE, Shift(), filter_axis=0)
    with pytest.raises(ValueError, match=rf"{KERNEL}: filter_axis=3 is not an axis of .*2 axes"):
        quantize_params(tree(), filter_axis=3)


@pytest.mark.parametrize(
    ("lambdas", "message"),
    [
        (-0.5, r"lambdas=-0\.5: .*finite and not negative.*reward large residuals"),
        ([1e-5, -3e-5], r"lambdas=\[.*-3.*\]: .*not negative"),
        (np.nan, "lambdas=nan: .*finite"),
        ([0.1, np.inf], r"lambdas=\[.*inf\]: .*finite"),
        ([1e-5] * 3, rf"lambdas of shape \(3,\) for the 2 residuals of {KERNEL}: give 2 numbers"),
        ([1e-5], r"lambdas of shape \(1,\) for the 2 residuals .* or one for all"),
        ([[1e-5, 1e-5]], r"lambdas of shape \(1, 2\) for the 2 residuals"),
    ],
)
def test_lambdas(lambdas, message):
    with pytest.raises(ValueError, match=message):
        residual_group_lasso(tree(), {"conv": {"kernel": Shift(k=2), "bias": None}}, lambdas)


@pytest.mark.parametrize(
    ("spec", "options", "message"),
    [
        ([None, None], {}, r"no shift format.*make_spec\(params, Shift\(k=2\)\)"),
        ([FixedPoint(), None], {}, "no shift format.*nothing that takes thresholds"),
        ([Shift(), Shift()], {"per": "kernel"}, "per='kernel' .*'layer', 'network' or 'filter'"),
        (
            [Shift(k=2), Shift(k=1)],
            {"per": "network"},
            r"k of \[1, 2\] cannot share .*same k everywhere, or per='layer'",
        ),
        ([Shift(), None], {"value": [1, 2, 3.0]}, r"shape \(3,\) .*k=2 gates: give one .* or 2"),
        ([Shift(), None], {"value": [[1.0]], "per": "filter"}, r"shape \(1, 1\).* k=2"),
        (
            [None, Shift(filter_axis=2)],
            {"per": "filter"},
            r"\[1\]: filter_axis=2 is not an axis of shape \(3, 4\)",
        ),
    ],
)
def test_init_thresholds(spec, options, message):
    with pytest.raises(ValueError, match=message):
        init_thresholds([FINE, FINE], spec, **options)


def test_make_spec():
    with pytest.raises(ValueError, match=rf"{KERNEL}: filter_axis=2 is not an axis of .*2 axes"):
        make_spec(tree(), Shift(filter_axis=2))
    with pytest.raises(TypeError, match=rf"'shift' at {KERNEL}"):
        make_spec(tree(), lambda path, leaf: "shift" if leaf.ndim == 2 else None)
    with pytest.raises(ValueError, match=rf"{KERNEL}: an? int32 array {NO_ARRAY}"):
        make_spec(tree(jnp.ones((3, 4), int)), lambda path, leaf: Shift())


@pytest.mark.parametrize("rule", ["shift", None, Shift, {"conv": Shift()}])
def test_make_spec_with_something_else_than_a_rule(rule):
    with pytest.raises(TypeError, match=r"format.*function.*path.*leaf"):
        make_spec(tree(), rule)


X, STEPS = jnp.ones(3), jnp.ones(3, int)
CODES = Shift().encode(FINE)
TYPES = "float16, bfloat16, float32 or float64"


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (lambda: quantize_activations(X, -4.0), "exponent|float32|integer|activation_exponent"),
        (lambda: jax.jit(quantize_activations)(X, -4.0), "exponent|float32|integer"),
        (lambda: quantize_activations(STEPS, -4), f"int32|{TYPES}|activations must"),
        (lambda: round_to_power_of_two(STEPS), f"int32|{TYPES}|convert them"),
        (lambda: exponent_of(STEPS), f"int32|{TYPES}|convert"),
        (lambda: power_of_two(3, jnp.int32), f"int32|{TYPES}"),
        (lambda: power_of_two(jnp.array([0.5])), "exponent|float32|integer"),
        (lambda: split_filters(FixedPoint().encode(FINE)), "FixedPointCodes|ShiftCodes"),
        (lambda: split_filters(FINE), "ShiftCodes|encode_params"),
        (lambda: split_filters({"a": CODES}), "dict|ShiftCodes"),
        (
            lambda: jax.jit(lambda w: decode_params(encode_params(w, Shift())))(FINE),
            "(the whole tree)|traced|concrete|outside jit",
        ),
        (lambda: jax.jit(lambda w: storage_bits(w, Shift()).quantized)(FINE), "outside jit"),
    ],
)
def test_wrong_types(function, words):
    with pytest.raises(TypeError) as error:
        function()
    assert [word for word in words.split("|") if word not in str(error.value)] == []


def test_unknown_rounding():
    with pytest.raises(ValueError, match=r"rounding 'up' is unknown: choose 'log' .*'linear'"):
        round_to_power_of_two(X, "up")


@pytest.mark.parametrize("given", [None, "a", {"a": 1}, [[1], [1, 2]], 10**400])
@pytest.mark.parametrize(
    ("function", "what"),
    [
        (lambda x: residual_group_lasso(FINE, Shift(), x), "lambdas"),
        (lambda x: quantize_activations(x, 0), "activations"),
        (lambda x: quantize_activations(X, x), "exponent"),
        (activation_exponent, "largest"),
        (round_to_power_of_two, "values"),
        (power_of_two, "exponents"),
        (lambda x: init_thresholds(FINE, Shift(), value=x), "thresholds"),
        (lambda x: budget.budget_at(x, 10, 1), "step"),
    ],
)
def test_what_is_no_number(function, what, given):
    with pytest.raises((TypeError, ValueError), match=f"{what} .*give a number") as error:
        function(given)
    assert len(str(error.value)) < 300


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda: Shift(rounding=np.ones(2)), "rounding=array.*'log', 'linear'"),
        (lambda: Shift(temperature=np.inf), "temperature=inf .*finite"),
        (lambda: Window(below=np.ones(2)), "below=array.*'clamp' or 'flush'"),
        (lambda: FixedPoint(scale=np.ones(2)), "scale=array.*'layer' or 'unit'"),
        (lambda: activation_exponent(np.nan), "largest .*nan.*finite"),
        (lambda: activation_exponent(1j), "largest 1j is complex"),
        (lambda: quantize_activations(X, np.zeros(2, int)), r"shape \(2,\) .* \(3,\).*broadcasts"),
        (lambda: init_thresholds(FINE, Shift(), value=np.nan), "nan.*finite; 0 opens all gates"),
        (lambda: init_thresholds(FINE, Shift(), value=1j), "1.?j.*real"),
        (lambda: quantize_params(FINE, Shift(thresholds=jnp.zeros(2, int))), "int32.*float32"),
        (lambda: quantize_params(FINE, Shift(thresholds=np.array(["a", "b"]))), "<U1.*float32"),
        (lambda: residual_group_lasso(FINE, Shift(), 1j), "complex64.*real numbers"),
        (lambda: residual_group_lasso(FINE, Shift(), True), "bool.*real numbers"),
        (lambda: budget.gates_for(FINE, Shift(), "a"), "mean_k='a'.*0 to 2"),
        (lambda: budget.gates_for(FINE, Shift(), np.ones(3)), "mean_k=array.*0 to 2"),
        (lambda: budget.budget_at(0, "a", 1), "steps='a'.*one step or more"),
        (lambda: budget.budget_at(0, 10, None), "mean_k=None.*0 <= mean_k <= start"),
        (lambda: add_residual_group_lasso(0.1).update(X, None, X), "'weights' .*by `parts`"),
    ],
)
def test_other_values(function, message):
    with pytest.raises((TypeError, ValueError), match=message):
        function()


@dataclasses.dataclass
class Unregistered:
    kernel: object


class Attributes:
    def __init__(self):
        self.kernel, self.itself = FINE, self


class OfAnotherLibrary:
    shape, dtype = (3, 4), np.dtype("float32")


class Names(dict):
    pass


@pytest.mark.parametrize(
    "hidden",
    [
        Unregistered(FINE),
        Unregistered([Unregistered(FINE)]),
        Attributes(),
        OfAnotherLibrary(),
        Names(kernel=FINE),
        types.MappingProxyType({"kernel": FINE}),
        np.array([FINE, None], object),
    ],
    ids=lambda hidden: type(hidden).__name__,
)
def test_arrays_that_jax_does_not_see(hidden):
    """They would come back as they are."""
    for function in (
        quantize_params,
        lambda params: make_spec(params, FixedPoint()),
        lambda params: make_spec(params, lambda path, leaf: None),
    ):
        with pytest.raises(TypeError, match=rf"{type(hidden).__name__} at \['a'\].*register_data"):
            function({"a": hidden, "b": FINE})
    assert quantize_params({"a": hidden}, {"a": None})["a"] is hidden  # as that spec says


def holds_itself():
    tree = {"kernel": np.ones((2, 2))}
    tree["more"] = [tree, tree]
    return tree


def deep():
    return functools.reduce(lambda tree, _: [tree], range(3000), np.ones((2, 2)))


@pytest.mark.parametrize("tree", [holds_itself, deep])
def test_trees_without_end(tree):
    for call in (
        lambda: quantize_params(tree()),
        lambda: quantize_params(tree(), Shift()),
        lambda: count_shifts(FINE, tree()),
    ):
        with pytest.raises(ValueError, match="more than 500 levels, or holds itself"):
            call()


def test_other_leaves_hide_nothing():
    leaves = [
        jax.nn.relu,
        jax.jit(jnp.sin),
        "same",
        None,
        3,
        np.float32(2),
        {1, 2},
        jax.random.key(0),
    ]
    assert quantize_params([*leaves, FINE])[: len(leaves)] == leaves


@pytest.mark.parametrize("function", [*ON_TREES, budget.mean_shifts])
def test_shapes_have_no_numbers(function):
    w, fmt = jax.eval_shape(lambda: (FINE, Shift(thresholds=jnp.zeros(2))))
    with pytest.raises(TypeError, match=r"^\['a'\] is a .*ShapeDtypeStruct.*jax.eval_shape call"):
        function({"a": w}, {"a": Shift()})
    with pytest.raises(TypeError, match=r"thresholds of the format at \['a'\] is a .*Struct"):
        function({"a": FINE}, {"a": fmt})


def test_shapes_where_shapes_suffice():
    w, fmt = jax.eval_shape(lambda: (FINE, Shift(thresholds=jnp.zeros(2))))
    assert make_spec({"a": w}, fmt) == {"a": fmt}
    assert init_thresholds(w, fmt).thresholds.shape == (2,)
    assert jax.eval_shape(quantize_params, w, fmt) == w
