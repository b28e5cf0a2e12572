"""One step, and what the loop makes of them."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from flightnn_jax import data, quantize_params
from flightnn_jax.training import loop, optimizer, runs, summary
from flightnn_jax.training.quantization import residual_lasso
from flightnn_jax.training.step import by_batch, data_mesh, make_train_step, replicated
from tests.support import training
from tests.support.tiny import TINY

pytestmark = pytest.mark.slow


def first_steps(run, count, track=True, pad=2):
    """The state after some steps, and their metrics."""
    dataset = dataclasses.replace(run.train_split.dataset, pad=pad)
    step = make_train_step(run.config, run.model, dataset, run.steps, run.mesh)
    # On the devices, as the loop has them: of NumPy's arrays another program would be compiled.
    teacher = None if run.teacher is None else run.teacher()
    hyper = optimizer.hyperparameters(run.config, teacher=teacher)
    hyper = jax.device_put(hyper, replicated(run.mesh))
    sharding = by_batch(run.mesh)
    state, all_metrics = run.initial_state(), []
    for batch in data.train_batches(run.train_split, run.order, stop=count, sharding=sharding):
        state, metrics = step(state, batch, hyper, track)
        all_metrics.append(jax.device_get(metrics))
    assert step._cache_size() <= 2  # with and without tracked ranges
    return state, all_metrics


def numbers(state):
    return [np.array(leaf) for leaf in jax.tree.leaves(state)]


def test_a_step_is_algorithm_1(tmp_path):
    """Against the same step written out: one function, no partition of the optimizer, no mesh."""
    run = training.prepare(tmp_path, lambda1=0.1, threshold_rate=0.01, clamp=False)
    config, model, state = run.config, run.model, run.initial_state()
    batch = next(data.train_batches(run.train_split, run.order))
    key = jax.random.fold_in(jax.random.fold_in(jax.random.key(config.seed), 1), 0)
    images = data.augment(key, batch.images, pad=2, flip=False)
    variables = {"batch_stats": state.batch_stats, "ranges": state.ranges}

    def loss(params, spec):
        kernels = [(layer["kernel"], spec[name]["kernel"]) for name, layer in params.items()]
        quantized = quantize_params(params, spec)
        logits, _ = model.apply(
            {"params": quantized, **variables}, images, train=True, mutable=list(variables)
        )
        entropy = -jnp.mean(jax.nn.log_softmax(logits)[jnp.arange(len(logits)), batch.labels])
        norms = [fmt.residual_norms(w).sum(axis=1) for w, fmt in kernels]
        return entropy + sum(0.1 / 3 * n[0] + 0.1 * n[1] for n in norms)

    value, gradient = jax.jit(jax.value_and_grad(loss, argnums=(0, 1)))(state.params, state.spec)
    expected = []
    for trained, g, rate in zip((state.params, state.spec), gradient, (3e-3, 0.01), strict=True):
        adam = optax.adam(rate)
        expected.append(optax.apply_updates(trained, adam.update(g, adam.init(trained))[0]))
    stepped, [metrics] = first_steps(run, 1)
    assert_allclose(metrics.loss, value, rtol=1e-5)
    # Adam's first step is the gradient's sign times the rate, so signs must be the same.
    for got, want in zip((stepped.params, stepped.spec), expected, strict=True):
        assert jax.tree.structure(got) == jax.tree.structure(want)
        differences = jax.tree.map(lambda a, b: jnp.mean(jnp.abs(a - b) > 1e-4), got, want)
        assert max(map(float, jax.tree.leaves(differences))) < 0.02
    assert int(stepped.step) == 1


@pytest.mark.whole(2)
@pytest.mark.parametrize("scheme", ["flightnn", "lightnn2", "fp4", "full", "lightnn1"])
def test_every_scheme_learns(tmp_path, scheme):
    run = training.prepare(tmp_path, scheme=scheme, epochs=12, learning_rate=0.03)
    state, metrics = first_steps(run, 60, pad=0)
    assert np.mean([m.loss for m in metrics[-3:]]) < 0.7 * metrics[0].loss
    assert (state.ranges == {}) == (scheme == "full")
    assert all((m.penalty > 0) == (scheme == "flightnn") for m in metrics)


@pytest.mark.whole(2)
@pytest.mark.parametrize(
    ("field", "value", "mode"),
    [
        ("budget", 0.5, "budget"),
        ("seed", 1, "paper"),
        ("lambda0", 1.0, "paper"),
        ("lambda1", 1.0, "paper"),
        ("learning_rate", 0.01, "paper"),
        ("threshold_rate", 0.1, "paper"),
    ],
)
def test_members_of_a_sweep_share_a_compiled_step(tmp_path, field, value, mode):
    one, other = (
        training.prepare(tmp_path, mode=mode, **fields) for fields in ({}, {field: value})
    )
    steps = [
        make_train_step(run.config, run.model, run.train_split.dataset, run.steps, run.mesh)
        for run in (one, other)
    ]
    assert steps[0] is steps[1]
    states = [first_steps(run, 3)[0] for run in (one, other)]
    assert any((a != b).any() for a, b in zip(*map(numbers, states), strict=True))


def test_what_is_compiled_in_makes_another_step(tmp_path):
    run = training.prepare(tmp_path)
    others = [training.prepare(tmp_path, **f) for f in ({"clamp": False}, {"schedule": "step"})]
    steps = [
        make_train_step(r.config, r.model, r.train_split.dataset, r.steps, r.mesh)
        for r in (run, *others)
    ]
    assert len(set(map(id, steps))) == 3


def test_penalties_add_up(tmp_path):
    state = training.prepare(tmp_path).initial_state()
    trained = {"weights": state.params, "thresholds": state.spec}
    zeros = jax.tree.map(jnp.zeros_like, trained)
    hyper = optimizer.hyperparameters(TINY)

    def updates(*penalties):
        adam = optimizer.make_optimizer(TINY, 10, hyper, penalties)
        return adam.update(zeros, adam.init(trained), trained)[0]["weights"]["conv1"]

    def of_biases(params, spec, hyper):
        del spec
        return hyper.lambdas[1] * jnp.sum(params["conv1"]["bias"] - 1.0)

    both, lasso = updates(of_biases, residual_lasso), updates(residual_lasso)
    assert_array_equal(both["kernel"], lasso["kernel"])
    assert_allclose(both["bias"], -TINY.learning_rate, rtol=1e-3)
    assert not lasso["bias"].any()


def test_schemes_start_from_the_same_weights(tmp_path):
    one, two = (
        training.prepare(tmp_path, scheme=scheme).initial_state() for scheme in ("full", "flightnn")
    )
    jax.tree.map(assert_array_equal, one.params, two.params)


def test_eight_devices_do_what_one_does(tmp_path):
    results = [
        first_steps(training.prepare(tmp_path, mesh), 3)
        for mesh in (training.one_device(), data_mesh())
    ]
    (one, one_metrics), (eight, eight_metrics) = results
    assert len(eight.step.sharding.device_set) == 8
    # Orders of summation differ, and Adam makes a whole step of a gradient's sign.
    for a, b in zip(one_metrics, eight_metrics, strict=True):
        assert_allclose(a[:2], b[:2], rtol=2e-3)
        assert abs(a.accuracy - b.accuracy) <= 1.01 / 240  # quantized logits may tie: one image
    for a, b in zip(jax.tree.leaves(one.batch_stats), jax.tree.leaves(eight.batch_stats), strict=1):
        assert_allclose(a, b, rtol=0.02, atol=2e-3)


TRACKED = {"epochs": 1, "track": 0.5, "clamp": False}


def test_nothing_compiles_after_the_first_step(tmp_path, monkeypatch):
    # a config of no earlier test: compiled steps are shared
    run = training.prepare(tmp_path, **TRACKED, checkpoint_every=None)
    compiled, counts = [], []
    original = loop.Loop.read

    def listen(event, *_, **_kwargs):
        compiled.extend([event] if "backend_compile" in event else [])

    def read(self, all_but=0):
        if all_but:  # behind every step
            counts.append(len(compiled))
        original(self, all_but)

    monkeypatch.setattr(loop.Loop, "read", read)
    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        loop.fit(run)
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)
    assert len(counts) == run.steps == 5
    assert counts[0] >= 2
    assert len(set(counts)) == 1


def test_ranges_move_only_while_they_are_tracked(tmp_path):
    run = training.prepare(tmp_path, **TRACKED)
    before = numbers(run.initial_state().ranges)
    tracked, _ = first_steps(run, 2)
    frozen, _ = first_steps(run, 2, track=False)
    assert all(a > b for a, b in zip(numbers(tracked.ranges), before, strict=True))
    assert_array_equal(numbers(frozen.ranges), before)


def test_weights_are_clamped(tmp_path):
    state, _ = first_steps(training.prepare(tmp_path, learning_rate=0.7), 2)
    largest = [float(jnp.max(jnp.abs(layer["kernel"]))) for layer in state.params.values()]
    assert max(largest) == 1
    state, _ = first_steps(training.prepare(tmp_path, learning_rate=0.7, clamp=False), 2)
    assert max(float(jnp.max(jnp.abs(layer["kernel"]))) for layer in state.params.values()) > 1


def test_frozen_thresholds_keep_k_at_two_in_paper_mode(tmp_path):
    run = training.prepare(tmp_path, threshold_rate=0.0, lambda1=0.01)
    state, _ = first_steps(run, 10)
    counted = summary.count(state.params, state.spec)
    assert counted["mean_k"] == 2
    assert all(layer["thresholds"] == [0, 0] for layer in counted["layers"].values())


@pytest.mark.exhaustive
def test_k_falls_as_thresholds_rise_in_paper_mode(tmp_path):
    run = training.prepare(tmp_path, threshold_rate=0.2, network="net4", width=8)
    state, _ = first_steps(run, 10)
    counted = summary.count(state.params, state.spec)
    assert counted["mean_k"] < 2
    rising = [layer for layer in counted["layers"].values() if layer["thresholds"][1] > 0]
    assert rising
    assert all(layer["mean_k"] == 2 for layer in counted["layers"].values() if layer not in rising)


@pytest.mark.whole(1)
@pytest.mark.parametrize(
    ("cost", "field"), [("filter", "mean_k"), ("storage", "mean_k_of_weights")]
)
def test_a_budget_is_met(tmp_path, cost, field):
    run = training.prepare(tmp_path, mode="budget", budget=1.5, budget_cost=cost)
    state, metrics = first_steps(run, run.steps)
    counted = summary.count(state.params, state.spec)
    assert abs(counted[field] - 1.5) <= 0.02
    assert all(np.isfinite(m.loss) for m in metrics)


def test_schedules():
    config = TINY
    step = optimizer.learning_rate(dataclasses.replace(config, schedule="step"), 1.0, 200)
    assert_allclose([step(s) for s in (0, 99, 100, 149, 150)], [1, 1, 0.1, 0.1, 0.01], rtol=1e-6)
    cosine = optimizer.learning_rate(config, 1.0, 200)
    assert_allclose([cosine(s) for s in (0, 100, 200)], [1, 0.5, 0], atol=1e-7)
    constant = optimizer.learning_rate(dataclasses.replace(config, schedule="constant"), 1.0, 200)
    assert constant(0) == constant(199) == 1


def test_the_loop_writes_what_happened(finished):
    workdir, record, _ = finished
    rows = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    assert [(row["step"], row["epoch"]) for row in rows] == [(5, 1), (10, 2)]
    assert set(rows[-1]["train"]) == {"loss", "penalty", "accuracy"}
    assert json.loads((workdir / "result.json").read_text()) == record
    assert record["config"] == TINY.to_dict()
    assert record["validation"] == rows[-1]["validation"]
    for name in ("mean_k", "storage_bits", "layers"):
        assert record[name] == rows[-1][name]
    assert record["versions"]["jax"] == jax.__version__
    assert list((workdir / "tensorboard").iterdir())
    evaluated = runs.evaluate(workdir, mesh=training.one_device())
    assert evaluated["top1"] == record["test"]["top1"]
    for line in ("test accuracy", "conv2/kernel"):
        assert line in summary.text(record)


def test_a_loss_that_is_no_number_stops(tmp_path):
    run = training.prepare(tmp_path, learning_rate=1e30, clamp=False, scheme="full")
    with pytest.raises(loop.DivergedError, match=r"the loss of step \d+ is (nan|inf): lower learn"):
        loop.fit(run)


@pytest.mark.exhaustive
def test_begins_with_the_weights_of_another_run(tmp_path, finished):
    workdir, _, origin = finished
    fields = {"start_from": str(workdir)}
    still = training.prepare(tmp_path / "still", scheme="lightnn1", learning_rate=0.0, **fields)
    state = loop.fit(still)
    jax.tree.map(assert_array_equal, state.params, origin.params)
    assert int(state.step) == still.steps
    other = training.prepare(tmp_path / "other", network="net4", width=8, **fields)
    with pytest.raises(ValueError, match="start from a run of the same network"):
        loop.fit(other)
    with pytest.raises(data.DataError, match="no_run"):
        training.prepare(tmp_path / "none", start_from=str(tmp_path / "no_run"))
