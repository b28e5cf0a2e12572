"""The programs that accelerators run, lowered for devices that need not be there."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np

from benchmarks import integer_networks
from flightnn_jax import networks, platforms
from flightnn_jax.data import Batch, Dataset
from flightnn_jax.integer import inference
from flightnn_jax.integer.inference import float32
from flightnn_jax.training import models, optimizer, runs, step
from flightnn_jax.training.config import Config
from flightnn_jax.training.machine import ONE_CPU, Machine

MEMBERS = 4  # of a population
_STEPS = 1000


def batch_of(network: networks.Network, count: int) -> Batch:
    """The shapes of a batch."""
    shape: Any = jax.ShapeDtypeStruct
    return Batch(
        shape((count, *network.input_shape), np.uint8),
        shape((count,), np.int32),
        shape((count,), np.bool_),
    )


class Training(NamedTuple):
    """A training step and what it is called with, besides a state and a batch.

    Attributes:
      config: of the run.
      model: what is trained.
      step: of one run.
      steps: of several runs at once, likewise.
      hyper: the numbers of one run.
    """

    config: Config
    model: models.Model
    step: step.TrainStep
    steps: step.TrainStep
    hyper: optimizer.Hyperparameters


def training(
    network: networks.Network, count: int, mesh: jax.sharding.Mesh, machine: Machine
) -> Training:
    """FLightNN on `count` images a step, made for a machine."""
    config = Config(network=network, scheme="flightnn", batch_size=count)
    labels = tuple(str(i) for i in range(network.classes))
    source: Any = None  # no image is read
    height, width, channels = network.input_shape
    dataset = Dataset("none", labels, source, (height, width, channels))
    model = runs.build_model(config, dataset, machine=machine)
    what = (config, model, dataset, _STEPS, mesh)
    made, several = step.make_train_step(*what), step.make_steps(*what)
    return Training(config, model, made, several, optimizer.hyperparameters(config))


def _shapes(made: Training, mesh: jax.sharding.Mesh) -> Any:
    return jax.eval_shape(lambda: step.init_state(made.config, made.model, mesh))


def training_step(
    network: networks.Network, count: int, mesh: jax.sharding.Mesh, machine: Machine, track: bool
) -> jax.stages.Lowered:
    """A step of FLightNN on `count` images, over all devices."""
    made = training(network, count, mesh, machine)
    return made.step.lower(_shapes(made, mesh), batch_of(network, count), made.hyper, track)


def population(
    network: networks.Network, count: int, mesh: jax.sharding.Mesh, machine: Machine
) -> jax.stages.Lowered:
    """A step of several members at once, each on `count` images of its own."""
    made = training(network, count, mesh, machine)

    def several(each: Any) -> Any:
        return jax.ShapeDtypeStruct((MEMBERS, *np.shape(each)), each.dtype)

    leaves = jax.tree.leaves(_shapes(made, mesh))
    alone = (leaves, batch_of(network, count), made.hyper)
    return made.steps.lower(*jax.tree.map(several, alone), False)


def integers(
    network: networks.Network, count: int, mesh: jax.sharding.Mesh, path: str
) -> jax.stages.Lowered:
    """Inference on integers, by a path of `make_inference` or the float32 form."""
    platform = platforms.resolved(mesh.devices.flat[0].platform)
    made = integer_networks.random_network(network)
    infer: Callable[[Any], Any]
    if path == "float32":
        program, numbers = float32.form_of(made, platform=platform)
        last = program.layers[-1].name
        infer = lambda images: float32.layer_outputs(program, numbers, images)[last]  # noqa: E731
    else:
        infer = inference.make_inference(made, path, platform)
    spread = jax.jit(infer, in_shardings=step.by_batch(mesh), out_shardings=step.by_batch(mesh))
    return spread.lower(batch_of(network, count).images)


# By the name of each: (network, images, mesh, machine) -> Lowered.
PROGRAMS: dict[str, Callable[..., jax.stages.Lowered]] = {
    "step, ranges tracked": functools.partial(training_step, track=True),
    "step, ranges frozen": functools.partial(training_step, track=False),
    "step as on a CPU": lambda network, count, mesh, _: training_step(
        network, count, mesh, ONE_CPU, track=True
    ),
    "population": population,
    **{
        path: lambda network, count, mesh, _, path=path: integers(network, count, mesh, path)
        for path in ("fast", "shifts", "float32")
    },
}
