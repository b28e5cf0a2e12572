"""Evaluates a checkpoint of a run on a split: accuracy, mean k, storage, as one line of JSON.

python -m launch.evaluate --workdir=/tmp/digits --split=validation --checkpoint=best
"""

import json

from . import command, devices, options
from .command import flags

_WORKDIR = flags.DEFINE_string("workdir", None, "Directory of the run.", required=True)
_SPLIT = flags.DEFINE_enum("split", "test", ["train", "validation", "test"], "What to evaluate on.")
_CHECKPOINT = flags.DEFINE_string(
    "checkpoint", "last", "last, best (by validation), or the number of a step."
)


def main() -> None:
    """Evaluates what the flags describe."""
    from flightnn_jax.training import runlog, runs

    devices.initialize()
    evaluation = runs.evaluate(
        _WORKDIR.value, _SPLIT.value, _CHECKPOINT.value, options.DATA_DIR.value
    )
    print(json.dumps(runlog.finite(evaluation), allow_nan=False))


if __name__ == "__main__":
    command.run(main)
