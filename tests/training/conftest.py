"""A training that several modules look at."""

import pytest

from flightnn_jax.training import loop, runs
from tests.support import training


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """(workdir, record, last state) of a run of `training.TINY` that is done: only to be read."""
    workdir = tmp_path_factory.mktemp("finished")
    state = loop.fit(training.prepare(workdir))
    return workdir, runs.train(training.prepare(workdir)), state
