"""What may be added to Algorithm 1: against the same written out, and to the end of a run."""

import dataclasses
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from flightnn_jax import Binary, FixedPoint, Shift, data, make_spec, quantize_params, schemes
from flightnn_jax.integer import verify
from flightnn_jax.training import evaluation, export, loop, models, optimizer, runs, scaling
from flightnn_jax.training.config import Config
from flightnn_jax.training.quantization import spec_of
from flightnn_jax.training.state import carry_over, with_scales
from tests.support import training
from tests.support.variables import NETWORKS, state_of
from tests.training.test_step import first_steps

slow = pytest.mark.slow  # they compile

FIELDS = {
    "scheme": "lightnn2",
    "rounding": "linear",
    "warmup": 0.5,
    "weight_decay": 0.1,
    "label_smoothing": 0.2,
    "teacher_weight": 0.5,
    "temperature": 3.0,
    "clamp": False,
}


@pytest.fixture(scope="module")
def taught(tmp_path_factory):
    """(run, its state before the first step, the one behind it, its loss)."""
    workdir = tmp_path_factory.mktemp("teacher")
    loop.fit(training.prepare(workdir, scheme="full", epochs=1))
    run = training.prepare(workdir / "taught", **FIELDS, teacher=str(workdir))
    start = jax.device_get(run.initial_state())
    state, metrics = first_steps(run, 1)
    return run, start, jax.device_get(state), metrics[0].loss


@slow
def test_a_step_with_everything_is_written_out(taught):
    run, start, state, loss_of_step = taught
    batch = next(data.train_batches(run.train_split, run.order))
    key = jax.random.fold_in(jax.random.fold_in(jax.random.key(0), 1), 0)
    images = data.augment(key, batch.images, pad=2, flip=False)
    teacher = run.teacher()
    taught_by = teacher.model.apply(teacher.variables, images)
    wanted = jax.nn.softmax(taught_by / 3)
    labels = 0.8 * jax.nn.one_hot(batch.labels, 10) + 0.02
    weights, paper = (
        quantize_params(start.params, make_spec(start.params, Shift(k=2, rounding=rule)))
        for rule in ("linear", "log")
    )
    assert np.any(weights["conv1"]["kernel"] != paper["conv1"]["kernel"])

    def loss(params):
        logits, _ = run.model.apply(
            {"params": params, "batch_stats": start.batch_stats, "ranges": start.ranges},
            images,
            train=True,
            mutable=["batch_stats", "ranges"],
        )
        apart = jnp.sum(wanted * (jnp.log(wanted) - jax.nn.log_softmax(logits / 3)), axis=1)
        entropy = -jnp.sum(labels * jax.nn.log_softmax(logits), axis=1)
        return jnp.mean(entropy) + 0.5 * 9 * jnp.mean(apart)

    value, gradient = jax.jit(jax.value_and_grad(loss))(weights)
    assert_allclose(loss_of_step, value, rtol=1e-5)
    rate = 3e-3 / 5  # the first of five steps in which it rises
    for name, arrays in start.params.items():
        for part, w in arrays.items():
            g = gradient[name][part]
            decay = 0.1 * w if part == "kernel" else 0
            clear = np.abs(g) > 1e-5  # where Adam's epsilon and roundings are nothing
            expected = w - rate * (np.sign(g) + decay)
            assert_allclose(state.params[name][part][clear], expected[clear], atol=1e-5)


def test_rates_rise_before_they_fall():
    config = Config(warmup=0.25, schedule="step", decay_at=(0.5,))
    rate = optimizer.learning_rate(config, 1.0, 8)
    assert_allclose([rate(step) for step in range(8)], [0.5, 1, 1, 1, 0.1, 0.1, 0.1, 0.1])


def assert_is_its_integers(workdir, record):
    lowered = export.lower_run(workdir, mesh=training.one_device())
    batch = lowered.test.read(np.arange(len(lowered.test)))
    report = verify.verify(lowered.network, [batch], paths=["trained"], trained=lowered.trained)
    assert report.mismatches == 0
    assert report.accuracy() == record["test"]["top1"]
    assert record["test"]["float_reason"] is None


@slow
def test_the_average_is_what_is_evaluated(tmp_path):
    """Against the weights of all steps, and of a run that went on in the middle."""
    fields = {"scheme": "lightnn1", "ema": 0.5, "track": 1.0, "checkpoint_every": 1, "keep": 99}
    run = training.prepare(tmp_path / "whole", **fields)
    record = runs.train(run)
    with run.checkpoints(write=False) as checkpoints:
        like = run.initial_state()
        states = [checkpoints.restore_step(s, like)[0] for s in range(1, run.steps + 1)]
    average = np.float64(states[0].params["conv1"]["kernel"])
    for number, state in enumerate(states[1:], 1):
        kept = min(0.5, number / (10 + number))
        average = kept * average + (1 - kept) * np.float64(state.params["conv1"]["kernel"])
    last = jax.device_get(states[-1])
    assert_allclose(last.average["conv1"]["kernel"], average, atol=1e-6)
    plain = dataclasses.replace(last, params=last.average, average={})
    spec = make_spec(plain.params, Shift(k=1))
    kernels = evaluation.trained_kernels(run.model, last)
    expected = quantize_params(plain.params, spec)
    for name, kernel in kernels.items():
        assert_array_equal(kernel, expected[name]["kernel"])
    assert record["validation"] == run.evaluate(plain, run.validation_split)._asdict()
    assert record["storage_bits"] == run.count(plain)["storage_bits"]
    again = training.prepare(tmp_path / "again", **fields)
    source = tmp_path / "whole/checkpoints/4"
    shutil.copytree(source, tmp_path / "again/checkpoints/4")
    jax.tree.map(assert_array_equal, jax.device_get(loop.fit(again)), last)
    assert_is_its_integers(tmp_path / "again", record)


@pytest.mark.whole(2)
@pytest.mark.parametrize("scheme", ["lightnn1", "flightnn", "fp4"])
@pytest.mark.quick(0)
def test_scales_are_the_best_of_all(scheme):
    """By brute force; and the fold has them in its batch norm."""
    net = NETWORKS["resnet"]
    state = state_of(net, scheme)
    model = models.Model(net)
    ones = scaling.ones(state.batch_stats, state.spec)
    chosen = jax.device_get(with_scales(dataclasses.replace(state, scales=ones)))
    assert set(chosen.scales) == set(state.batch_stats)
    rule = FixedPoint(bits=4) if scheme == "fp4" else Shift(k=1)
    w = state.params["conv1"]["kernel"]
    grid = np.float32(2.0) ** (np.arange(64, dtype=np.float32) / 64)
    errors = [np.sum((w - c * np.asarray(rule.quantize(w / c))) ** 2, axis=(0, 1, 2)) for c in grid]
    found = [int(np.argmin(np.abs(grid - c))) for c in chosen.scales["conv1"]]
    best = np.min(errors, axis=0)
    assert_allclose([errors[n][i] for i, n in enumerate(found)], best, rtol=1e-4)
    assert np.all(best < errors[0])
    assert with_scales(state) is state
    of_full = spec_of(schemes.find("full"), state.params)
    assert scaling.ones(state.batch_stats, of_full) == {}
    fold = scaling.folded(model, chosen)
    for name, c in chosen.scales.items():
        kernel, slope = (fold.params[name][part] for part in ("kernel", "scale"))
        assert_allclose(kernel * c, state.params[name]["kernel"], rtol=1e-6)
        assert_allclose(slope / c, state.params[name]["scale"], rtol=1e-6)
        assert_allclose(
            fold.batch_stats[name]["mean"] * c, state.batch_stats[name]["mean"], rtol=1e-6
        )


@pytest.mark.exhaustive
@slow
def test_a_run_with_scales_is_its_integers(tmp_path):
    """Its statistics are those of the images that were measured, its teacher the first stage."""
    fields = {"scheme": "lightnn1", "filter_scales": True, "track": 1.0, "stages": "full:0.5"}
    run = training.prepare(tmp_path, **fields, reestimate=3, ema=0.9, teacher="first")
    record = runs.train(run)
    teacher, first = run.teacher().variables["params"], run.before.last_state().deployed()
    assert run.before.teacher is None
    jax.tree.map(assert_array_equal, teacher, first.params)
    state = jax.device_get(run.last_state())
    begun = carry_over(run.before.last_state(), run.initial_state())
    jax.tree.map(assert_array_equal, state.scales, begun.scales)
    first = data.train_batches(run.train_split, run.order, stop=3)
    images = np.concatenate([np.float64(batch.images) for batch in first]) / 128 - 1
    kernel = evaluation.trained_kernels(run.model, state)["conv1"] * state.scales["conv1"]
    x = jax.lax.conv_general_dilated(
        np.float32(images), kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
    stats = state.batch_stats["conv1"]
    assert_allclose(stats["mean"], np.mean(x, (0, 1, 2)), rtol=1e-4, atol=1e-6)
    assert_allclose(stats["variance"], np.var(x, (0, 1, 2)), rtol=1e-4)
    assert_is_its_integers(tmp_path, record)


def test_teachers_that_do_not_fit_are_refused(tmp_path):
    with pytest.raises(ValueError, match="teacher=first without stages"):
        training.prepare(tmp_path / "run", teacher="first")
    with pytest.raises(data.DataError, match=r"gone/config.json does not exist"):
        training.prepare(tmp_path / "run", teacher=str(tmp_path / "gone"))
    for fields, problem in (
        ({"teacher": ""}, "teacher='': give the directory"),
        ({"temperature": 0.0}, "temperature=0: logits are divided"),
        ({"warmup": 1.5}, "are parts of the training, 0 to 1: 1.5"),
        ({"ema": 1.5}, "ema=1.5: choose a finite number that is not negative, at most 1"),
        ({"affine_terms": 1, "reestimate": 9}, "keep batch norm's statistics; leave"),
        ({"rounding": "down"}, "rounding 'down' is unknown"),
    ):
        with pytest.raises(ValueError, match=problem):
            Config(**fields)


def test_sgd_moves_by_its_momentum():
    config = Config(optimizer="sgd", momentum=0.5, learning_rate=0.25, schedule="constant")
    sgd = optimizer.make_optimizer(config, 3, optimizer.hyperparameters(config))
    trained = {"weights": {"w": jnp.zeros(2)}, "thresholds": {}}
    state, moved = sgd.init(trained), np.zeros(2)
    for gradient in ([1.0, -2.0], [4.0, 0.0], [0.0, 1.0]):
        moved = 0.5 * moved + np.array(gradient)
        gradients = {"weights": {"w": jnp.array(gradient)}, "thresholds": {}}
        changes, state = sgd.update(gradients, state, trained)
        assert_allclose(changes["weights"]["w"], -0.25 * moved)
    with pytest.raises(ValueError, match=r"optimizer=sgd with mode=budget .*choose adam, or"):
        dataclasses.replace(config, mode="budget")
    with pytest.raises(ValueError, match="distribution 'none' is unknown: choose one of released"):
        Config(distribution="none")


@slow
def test_the_control_of_the_distribution_loss_holds_norms(tmp_path):
    fields = {"optimizer": "sgd", "scheme": "bnn_dl", "learning_rate": 0.1}
    run = training.prepare(tmp_path, distribution="fixed", **fields)
    state, metrics = first_steps(run, 2)
    state = jax.device_get(state)
    for name, layer in state.params.items():
        if "scale" in layer:
            binary = isinstance(state.spec[name]["kernel"], Binary)
            assert np.all(layer["scale"] == 2) == binary
    assert [m.penalty for m in metrics] == [0, 0]
