"""Optax for a training run: penalties, Adam and the rates, over weights and thresholds.

    penalties -> {weights: Adam, thresholds: Adam}

What differs between the members of a sweep is an argument, so that they share a compiled step.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax  # type: ignore[import-untyped]  # it has no stubs

from flightnn_jax import penalty
from flightnn_jax.training.config import Config
from flightnn_jax.training.quantization import Penalty


class Hyperparameters(NamedTuple):
    """The numbers of a config that the training step takes as an argument.

    Invariant: two configs that differ in nothing else share one compiled step.

    Attributes:
      lambdas: [2] float32, weights of the penalty on a filter's two residuals.
      learning_rate: [] float32, of weights, biases and batch norm, before the schedule.
      threshold_rate: [] float32, of thresholds, before the schedule.
      budget: [] float32, the mean k at the end; or `limits.Limits`, where bounds are in units of
        hardware. Nothing reads it without a budget.
      seed: [] uint32, of the augmentation.
      teacher: a `distillation.Teacher`, whose logits are learned besides the labels; None for
        labels alone.
    """

    lambdas: Any
    learning_rate: Any
    threshold_rate: Any
    budget: Any
    seed: Any
    teacher: Any = None


def hyperparameters(config: Config, limits: Any = None, teacher: Any = None) -> Hyperparameters:
    """Those of a config, as NumPy arrays.

    Args:
      config: of the run.
      limits: of a budget in units of hardware.
      teacher: as in `Hyperparameters`.
    """
    return Hyperparameters(
        np.array(config.lambdas, np.float32),
        np.float32(config.learning_rate),
        np.float32(config.threshold_rate),
        np.float32(config.budget) if limits is None else limits,
        np.uint32(config.seed),
        teacher,
    )


def learning_rate(config: Config, initial: Any, steps: int) -> Callable[[Any], Any]:
    """The rate of each step of a training of `steps` steps.

    Example:
      >>> rate = learning_rate(Config(schedule="step"), initial=1.0, steps=100)
      >>> [round(float(rate(step)), 4) for step in (0, 50, 75)]
      [1.0, 0.1, 0.01]
    """
    schedule = optax.constant_schedule(initial)
    if config.schedule == "cosine":
        schedule = optax.cosine_decay_schedule(initial, steps)
    elif config.schedule == "step":
        bounds = {round(part * steps): config.decay_by for part in config.decay_at}
        schedule = optax.piecewise_constant_schedule(initial, bounds)
    rising = round(config.warmup * steps)
    if not rising:
        return schedule
    return lambda step: schedule(step) * jnp.minimum((step + 1) / rising, 1)


def make_optimizer(
    config: Config,
    steps: int,
    hyper: Hyperparameters,
    penalties: tuple[Penalty, ...] = (),
) -> optax.GradientTransformation:
    """Adam, or SGD of weights, over {"weights": params, "thresholds": spec}, each at its own rate.

    Args:
      config: says what the schedule and the optimizer of weights are, and whether thresholds are
        trained at all.
      steps: of the whole training.
      hyper: may be traced. The optimizer's state does not depend on it.
      penalties: each adds its gradient before Adam. They have no state, so the optimizer's is
        Adam's, whatever the scheme and the version of this program.
    """
    rates = {"weights": hyper.learning_rate, "thresholds": hyper.threshold_rate}
    schedules = {name: learning_rate(config, r, steps) for name, r in rates.items()}
    parts = {name: optax.adam(schedule) for name, schedule in schedules.items()}
    if config.optimizer == "sgd":
        parts["weights"] = optax.sgd(schedules["weights"], momentum=config.momentum)
    if config.weight_decay:
        parts["weights"] = optax.adamw(
            schedules["weights"], weight_decay=config.weight_decay, mask=_kernels
        )
    if config.has_budget:
        parts["thresholds"] = optax.set_to_zero()
    adam = optax.partition(parts, {name: name for name in rates})
    before = optax.chain(optax.identity(), *(_with(hyper, each) for each in penalties))

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        stateless = before.init(params)
        return adam.update(before.update(updates, stateless, params)[0], state, params)

    return optax.GradientTransformation(adam.init, update)


def _kernels(params: Any) -> Any:
    return jax.tree.map(lambda w: w.ndim > 1, params)


def _with(hyper: Hyperparameters, each: Penalty) -> optax.GradientTransformation:
    return penalty.add_penalty(lambda params, spec: each(params, spec, hyper))
