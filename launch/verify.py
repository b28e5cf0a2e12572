"""Runs an integer network by every interpreter over a whole data set, and compares every layer.

    python -m launch.verify --run=/tmp/digits
    python -m launch.verify --integers=net1.safetensors --dataset=cifar10 --data_dir=/data
    python -m launch.verify --integers=own.safetensors --dataset=npz:own.npz --paths=fast,onnx
    python -m launch.verify --run=/tmp/digits --integers=digits.safetensors

A run is lowered first, unless its file is given, too; the path `trained` is the trained network as
training evaluated it. The reference is shifts and additions in JAX; --paths names what is
compared with it, by default all that can run here: a line says what cannot. The exit code is 0
if all integers are equal, 1 if not, 2 for wrong input.
"""

import sys
from collections.abc import Iterator

import numpy as np

from flightnn_jax import data
from flightnn_jax.integer import files, verify
from flightnn_jax.integer.network import IntegerNetwork

from . import command, options
from .command import flags

_RUN = flags.DEFINE_string("run", None, "Directory of a training run.")
_INTEGERS = flags.DEFINE_string("integers", None, "File of an integer network.")
_CHECKPOINT = flags.DEFINE_string(
    "checkpoint", "last", "Of the run: last, best (by validation), or the number of a step."
)
_DATASET = flags.DEFINE_string(
    "dataset", None, "Its test split is run; by default that of the training. See --config.dataset."
)
_KNOWN = ", ".join([verify.TRAINED, *verify.PATHS])
_PATHS = flags.DEFINE_list("paths", None, f"Of {_KNOWN}; by default all that can.")
_BATCH = flags.DEFINE_integer("batch", 40, "Images at once.", lower_bound=1)


def main() -> None:
    """Verifies what the flags describe."""
    if _RUN.value is None and _INTEGERS.value is None:
        raise command.UsageError("give --run=WORKDIR or --integers=FILE, or both")
    command.quiet()  # not `initialize`: its flag makes int8 convolutions slow
    network = None if _INTEGERS.value is None else files.load(_INTEGERS.value)
    trained, test = None, None
    if _RUN.value is not None:
        from flightnn_jax.training import export

        lowered = export.lower_run(
            _RUN.value, which=_CHECKPOINT.value, data_dir=options.DATA_DIR.value
        )
        network, trained, test = network or lowered.network, lowered.trained, lowered.test
    assert network is not None
    if test is None or _DATASET.value is not None:
        test = _test_split(network)
    report = verify.verify(network, _batches(test), paths=_PATHS.value, trained=trained)
    if _PATHS.value is None:
        for path, why_not in verify.unavailable().items():
            print(f"{path}: skipped, {why_not}")
    print(report)
    accuracy = network.provenance.get("accuracy_as_trained")
    if accuracy is not None:
        print(f"accuracy as trained {100 * accuracy:.2f} %")
    sys.exit(1 if report.mismatches else 0)


def _test_split(network: IntegerNetwork) -> data.Split:
    """That of --dataset, or of what the network was trained on, with images that it takes."""
    name = _DATASET.value or network.provenance.get("config.dataset")
    if name is None:
        raise ValueError(
            f"{network.name} does not say what it was trained on: name a data set with --dataset"
        )
    size = network.provenance.get("config.image_size")
    dataset = data.find(name, data_dir=options.DATA_DIR.value, image_size=size)
    if size is None and dataset.resizes:
        dataset = dataset.sized(network.input_shape[0])
    if dataset.image_shape != network.input_shape:
        raise ValueError(
            f"{network.name} takes images of shape {network.input_shape}, and those of {name} have "
            f"{dataset.image_shape}: name another data set with --dataset"
        )
    return dataset.open("test")


def _batches(test: data.Split) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Images and labels in order; the last batch may be smaller."""
    for start in range(0, len(test), _BATCH.value):
        yield test.read(np.arange(start, min(start + _BATCH.value, len(test))))


if __name__ == "__main__":
    command.run(main)
