"""A training run of seconds, which the tests of training, checkpoints and commands share."""

import jax

from flightnn_jax.training import runs, step
from flightnn_jax.training.config import Config
from tests.support.tiny import TINY


def one_device():
    return step.data_mesh(jax.devices()[:1])


def prepare(workdir, mesh=None, **fields):
    config = Config.from_dict(TINY.to_dict() | fields)
    return runs.prepare(config, workdir, mesh=one_device() if mesh is None else mesh)
