"""Trains a network, or goes on where a run in the same workdir stopped.

    python -m launch.train --config=configs/digits.py --workdir=/tmp/digits
    python -m launch.train --config=configs/paper.py:net1,flightnn --workdir=/tmp/net1 \
        --data_dir=/data --config.lambda1=1e-4

The same command goes on after a kill, to the same weights with the same devices and threads.
SIGTERM saves first and ends with the exit code 143, so that whoever sent it knows that the training
is not done. In the workdir: config.json, metrics.jsonl, tensorboard/, checkpoints/ and, at the end,
result.json and plots/ with pictures of the run, for which matplotlib is needed.

A run with a budget in units of hardware, such as --config.budget="9000 nJ", ends with what its
network costs; the exit code is 3 if a bound is broken.
"""

import sys

from . import bounds, command, devices, options
from .command import flags

_WORKDIR = flags.DEFINE_string("workdir", None, "Directory of the run.", required=True)


def main() -> None:
    """Trains what the flags describe."""
    import jax

    from flightnn_jax import explore
    from flightnn_jax.training import runs, summary

    config = options.config()
    devices.initialize()
    run = runs.prepare(config, _WORKDIR.value, options.DATA_DIR.value)
    record = runs.train(run)
    if record is None:
        sys.exit(command.STOPPED_BY_SIGTERM)
    print(summary.text(record))
    if jax.process_index() == 0:
        print(explore.draw([explore.read(_WORKDIR.value)]))
        kept = [(each["line"], each["kept"]) for each in record.get("budgets", [])]
        sys.exit(bounds.told(kept))


if __name__ == "__main__":
    command.run(main)
