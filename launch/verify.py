"""Runs an integer network by every interpreter over a whole data set, and compares every layer.

    python -m launch.verify --run=/tmp/digits
    python -m launch.verify --integers=net1.safetensors --dataset=cifar10 --data_dir=/data
    python -m launch.verify --integers=net1.safetensors --paths=fast,onnx

A run is lowered first. The reference are shifts and additions in JAX; --paths names what is
compared with it, by default all that can run here: a line says what cannot. The exit code is 0
if all integers are equal, 1 if not, 2 for wrong input.
"""

import sys

from flightnn_jax.integer import verify

from . import command, devices, options
from .command import flags

_RUN = flags.DEFINE_string("run", None, "Directory of a training run.")
_INTEGERS = flags.DEFINE_string("integers", None, "File of an integer network.")
_CHECKPOINT = flags.DEFINE_string(
    "checkpoint", "last", "Of the run: last, best (by validation), or the number of a step."
)
_DATASET = flags.DEFINE_string("dataset", None, "Its test split is run; by default the run's.")
_PATHS = flags.DEFINE_list("paths", None, f"Of {', '.join(verify.PATHS)}; by default all that can.")
_BATCH = flags.DEFINE_integer("batch", 40, "Images at once.", lower_bound=1)


def main() -> None:
    """Verifies what the flags describe."""
    from flightnn_jax.training import sources

    if (_RUN.value is None) == (_INTEGERS.value is None):
        raise command.UsageError("give --run=WORKDIR or --integers=FILE")
    devices.quiet()  # not `initialize`: its flag makes int8 convolutions slow
    if _INTEGERS.value is not None:
        source = sources.from_file(_INTEGERS.value)
    else:
        source = sources.from_run(_RUN.value or "", _CHECKPOINT.value, options.DATA_DIR.value)
    network, data_dir = source.network, options.DATA_DIR.value
    batches = sources.batches_of(network, _BATCH.value, _DATASET.value, data_dir)
    report = verify.verify(network, batches, paths=_PATHS.value, kernels=source.kernels)
    if _PATHS.value is None:
        for path, why_not in verify.unavailable().items():
            print(f"{path}: skipped, {why_not}")
    print(report)
    if source.accuracy is not None:
        print(f"accuracy as trained {100 * source.accuracy:.2f} %")
    sys.exit(1 if report.mismatches else 0)


if __name__ == "__main__":
    command.run(main)
