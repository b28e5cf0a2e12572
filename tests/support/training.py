"""A training run of seconds, which the tests of training, checkpoints and commands share."""

import jax

from flightnn_jax.networks import Conv, GlobalAverage, MaxPool, Network
from flightnn_jax.training import runs, step
from flightnn_jax.training.config import Config

# Compiling a step takes the tests' time, in proportion to the convolutions.
TINY = Config(
    network=Network(
        name="tiny",
        input_shape=(8, 8, 3),
        layers=(Conv(4), MaxPool(), Conv(10), GlobalAverage()),
        classes=10,
    ),
    dataset="digits",
    image_size=8,
    epochs=2,
    batch_size=240,
    learning_rate=3e-3,
    threshold_rate=3e-3,
    checkpoint_every=3,
)


def one_device():
    return step.data_mesh(jax.devices()[:1])


def prepare(workdir, mesh=None, **fields):
    config = Config.from_dict(TINY.to_dict() | fields)
    return runs.prepare(config, workdir, mesh=one_device() if mesh is None else mesh)
