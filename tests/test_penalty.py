"""The penalty in an optimizer: the steps of a loss that contains it."""

import subprocess
import sys
from pathlib import Path

import chex
import jax
import jax.numpy as jnp
import optax
import pytest
from numpy.testing import assert_array_equal

import flightnn_jax as fl

KEYS = jax.random.split(jax.random.key(0), 3)
X, Y = jax.random.normal(KEYS[0], (32, 6)), jax.random.normal(KEYS[1], (32, 4))
PARAMS = {
    "hidden": {"kernel": jax.random.normal(KEYS[2], (6, 8)) / 2, "bias": jnp.zeros(8)},
    "out": {"kernel": jax.random.normal(KEYS[2], (8, 4)) / 2, "bias": jnp.zeros(4)},
}
LAMBDAS = jnp.array([0.01, 0.03])
LAYOUTS = {
    "named": (lambda p, s: {"weights": p, "thresholds": s}, None),
    "a pair": (lambda p, s: (p, s), tuple),
    "inside": (lambda p, s: [p, {"spec": s}], lambda tree: (tree[0], tree[1]["spec"])),
}


def spec_of(per):
    return fl.init_thresholds(PARAMS, fl.make_spec(PARAMS, fl.Shift(k=2)), per)


def loss(params, spec):
    q = fl.quantize_params(params, spec)
    hidden = jnp.tanh(X @ q["hidden"]["kernel"] + q["hidden"]["bias"][None])
    return jnp.mean((hidden @ q["out"]["kernel"] + q["out"]["bias"][None] - Y) ** 2)


def train(jit, optimizer, gradient, trained, steps=5):
    """What `steps` steps make of a tree."""

    @jit
    def step(trained, state):
        updates, state = optimizer.update(gradient(trained), state, trained)
        return optax.apply_updates(trained, updates), state

    state = optimizer.init(trained)
    for _ in range(steps):
        trained, state = step(trained, state)
    return trained


@pytest.mark.whole(2)
@pytest.mark.parametrize(
    ("jit", "per"),
    [(jax.jit, "layer"), (jax.jit, "network"), (lambda f: f, "layer")],
    ids=["jit", "shared thresholds", "no jit"],
)
@pytest.mark.quick(0)
def test_the_chain_takes_the_steps_of_the_penalty_in_the_loss(jit, per):
    adam = optax.adam(0.02)
    chain = optax.chain(fl.add_residual_group_lasso(LAMBDAS), adam)
    start = {"weights": PARAMS, "thresholds": spec_of(per)}

    def plain(t):
        return loss(t["weights"], t["thresholds"])

    def penalized(t):
        return plain(t) + fl.residual_group_lasso(t["weights"], t["thresholds"], LAMBDAS)

    chained = train(jit, chain, jax.grad(plain), start)
    chex.assert_trees_all_equal(chained, train(jit, adam, jax.grad(penalized), start))
    chex.assert_trees_all_equal_structs(chained, start)


@pytest.mark.quick(0)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_any_tree_that_has_the_parts(layout):
    arrange, parts = LAYOUTS[layout]
    spec = spec_of("layer")
    trained = arrange(PARAMS, spec)
    transformation = fl.add_residual_group_lasso(0.03, *([parts] if parts else []))
    state = transformation.init(trained)
    assert not jax.tree.leaves(state)
    ones = jax.tree.map(jnp.ones_like, trained)
    updates, _ = transformation.update(ones, state, trained)
    gradient = jax.grad(fl.residual_group_lasso)(PARAMS, spec, 0.03)
    zeros = jax.tree.map(jnp.zeros_like, spec)  # none for thresholds
    expected = jax.tree.map(jnp.add, ones, arrange(gradient, zeros))
    chex.assert_trees_all_equal(updates, expected)


def test_a_spec_that_is_not_trained():
    spec = fl.make_spec(PARAMS, fl.Shift(k=1))
    transformation = fl.add_residual_group_lasso(0.1, parts=lambda params: (params, spec))
    zeros = jax.tree.map(jnp.zeros_like, PARAMS)
    updates, _ = transformation.update(zeros, transformation.init(PARAMS), PARAMS)
    chex.assert_trees_all_equal(updates, jax.grad(fl.residual_group_lasso)(PARAMS, spec, 0.1))


def test_other_lambdas_compile_nothing_anew():
    @jax.jit
    @chex.assert_max_traces(n=1)
    def step(lambdas, pair):
        transformation = fl.add_residual_group_lasso(lambdas, parts=tuple)
        return transformation.update(pair, transformation.init(pair), pair)[0]

    pair = (PARAMS, spec_of("layer"))
    one, two = step(LAMBDAS, pair), step(2 * LAMBDAS, pair)
    added = [(u[0]["out"]["kernel"] - PARAMS["out"]["kernel"]) for u in (one, two)]
    chex.assert_trees_all_close(2 * added[0], added[1], rtol=1e-4)
    assert_array_equal(one[1]["out"]["kernel"].thresholds, 0)


def test_needs_the_parameters():
    transformation = fl.add_residual_group_lasso(0.1)
    with pytest.raises(ValueError, match=r"call update\(updates, state, params\)"):
        transformation.update({}, optax.EmptyState())


@pytest.mark.quick(0)
def test_without_optax_the_library_works_and_says_what_is_missing():
    code = """
import sys
sys.modules["optax"] = None  # cannot be imported
import flightnn_jax as fl
assert fl.residual_group_lasso([], [], 1.0) == 0
try:
    fl.add_residual_group_lasso(1.0)
except ModuleNotFoundError as error:
    assert "needs Optax: pip install optax" in str(error)
else:
    raise AssertionError
"""
    root = Path(fl.__file__).parent.parent
    subprocess.run([sys.executable, "-c", code], check=True, cwd=root)
