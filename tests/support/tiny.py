"""A training run of seconds: a record for tests, and a config file for the commands they start.

Compiling a step takes the tests' time, in proportion to the convolutions.
"""

from flightnn_jax.networks import Conv, GlobalAverage, MaxPool, Network
from flightnn_jax.training.config import Config

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
CONFIG = f"--config={__file__}"  # of commands


def get_config(arguments=""):
    """The config of --config; there are no ARGUMENTS."""
    assert not arguments
    return TINY.override({"mode": "budget", "budget": "1.5"})
