"""What the integers of a run are against batch norm in float32, on the whole test split.

    python -m benchmarks.float_evaluation /tmp/net1

For each run: the accuracy of its integers, by which `training.evaluation` evaluates; that of the
same weights with batch norm in float32; and how many images change their class.
"""

import argparse

import jax
import numpy as np

from flightnn_jax import data, networks
from flightnn_jax.training import evaluation, runs, scaling


def main() -> None:
    """Compares the runs that are named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("workdirs", nargs="+", metavar="WORKDIR")
    parser.add_argument("--data_dir")
    flags = parser.parse_args()
    for workdir in flags.workdirs:
        print(f"{workdir}: {compared(workdir, flags.data_dir)}", flush=True)


def compared(workdir: str, data_dir: str | None = None, batch_size: int = 100) -> str:
    """A line on the last state of a run.

    Args:
      workdir: of the run.
      data_dir: where its data is; None for where it was when the run began.
      batch_size: images at once.
    """
    run = runs.reopen(workdir, data_dir)
    step, state = run.state_at("last")
    state = jax.device_get(state).deployed()
    scales = scaling.scales_of(run.model, state)
    variables = {
        "params": scaling.quantized(state.params, state.spec, scales),
        "batch_stats": state.batch_stats,
        "ranges": state.ranges,
    }
    in_floats = jax.jit(lambda images: run.model.apply(variables, images, floats=True))
    in_integers = evaluation.layer_outputs(run.model, state)
    *_, (last, *_) = networks.walk(run.model.network)
    test = run.train_split.dataset.open("test")
    floats = integers = changed = 0
    for batch in data.evaluation_batches(test, batch_size):
        mask = np.asarray(batch.mask)
        label = np.asarray(batch.labels)[mask]
        real = np.argmax(in_floats(batch.images), axis=1)[mask]
        whole = np.argmax(in_integers(batch.images)[last], axis=1)[mask]
        floats += int(np.sum(real == label))
        integers += int(np.sum(whole == label))
        changed += int(np.sum(real != whole))
    count = len(test)
    return (
        f"step {step}, {count} images: integers {100 * integers / count:.2f} %, batch norm in "
        f"float32 {100 * floats / count:.2f} %, {changed} images of another class"
    )


if __name__ == "__main__":
    main()
