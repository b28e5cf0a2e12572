"""Runs an integer network by every interpreter over a whole data set, and compares every layer.

    python -m launch.verify --run=/tmp/digits
    python -m launch.verify --integers=net1.safetensors --dataset=cifar10 --data_dir=/data
    python -m launch.verify --integers=own.safetensors --dataset=npz:own.npz --paths=fast,onnx
    python -m launch.verify --run=/tmp/digits --integers=digits.safetensors

A run is lowered first. Of a file its own golden images and digests are run first; with --run too
it must have the integers that lowering the run gives, at the step that the file names. The path
`trained` is the trained network as training evaluated it. The reference is shifts and additions
in JAX; --paths names what is compared with it, by default all that can run here: a line says what
cannot. The exit code is 0 if all integers are equal, 1 if not, 2 for wrong input.
"""

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from flightnn_jax import data
from flightnn_jax.integer import files, proof, verify
from flightnn_jax.integer.network import IntegerNetwork

from . import command, options
from .command import flags

if TYPE_CHECKING:
    from flightnn_jax.training import export

_MAX_LINES = 10

_RUN = flags.DEFINE_string("run", None, "Directory of a training run.")
_INTEGERS = flags.DEFINE_string("integers", None, "File of an integer network.")
_CHECKPOINT = flags.DEFINE_string(
    "checkpoint", "last", "Of the run: last, best (by validation), or the number of a step."
)
_DATASET = flags.DEFINE_string(
    "dataset", None, "Its test split is run; by default that of the training. See --config.dataset."
)
_KNOWN = ", ".join([verify.TRAINED, *verify.PATHS])
_MORE = ", ".join(verify.ON_REQUEST)
_PATHS = flags.DEFINE_list("paths", None, f"Of {_KNOWN} (by default all that can), {_MORE}.")
_IMAGES = flags.DEFINE_integer(
    "images", None, "Runs so many, the first of the split; all by default.", lower_bound=1
)
_BATCH = flags.DEFINE_integer("batch", 40, "Images at once.", lower_bound=1)


def main() -> None:
    """Verifies what the flags describe."""
    if _RUN.value is None and _INTEGERS.value is None:
        raise command.UsageError("give --run=WORKDIR or --integers=FILE, or both")
    command.quiet()  # not `initialize`: its flag makes int8 convolutions slow
    network, trained, test, lowered = None, None, None, None
    if _INTEGERS.value is not None:
        network = files.load(_INTEGERS.value)
        _stop_at(f"{_INTEGERS.value} is not what its network gives", proof.differences(network))
    if _RUN.value is not None:
        lowered = _lower(_RUN.value, network)
        if network is not None:
            what = f"{_INTEGERS.value} is not what {_RUN.value} is lowered to"
            _stop_at(what, proof.unlike(network, lowered.network))
        network, trained, test = network or lowered.network, lowered.trained, lowered.test
    assert network is not None
    if test is None or _DATASET.value is not None:
        test = _test_split(network)
    report = verify.verify(network, _batches(test), paths=_PATHS.value, trained=trained)
    if _PATHS.value is None:
        for path, why_not in verify.unavailable().items():
            print(f"{path}: skipped, {why_not}")
    print(report)
    if lowered is not None and verify.TRAINED in report.paths:
        differs, rounded = report.paths[verify.TRAINED].mismatches, lowered.rounded_after_training
        if differs and rounded is not None:
            print(f"{verify.TRAINED}: {rounded}")
    said = proof.as_trained(network)
    if said is not None:
        print(said)
    sys.exit(1 if report.mismatches else 0)


def _lower(run: str, network: IntegerNetwork | None) -> "export.LoweredRun":
    """A run as integers: of the step and the affine maps of a file, if there is one."""
    from flightnn_jax.training import export

    which, terms = _CHECKPOINT.value, None
    if network is not None:
        terms = network.affine_terms
        if not _CHECKPOINT.present:
            which = str(network.provenance.get("step", which))
    return export.lower_run(
        run,
        which=which,
        affine_terms=terms,
        data_dir=options.DATA_DIR.value,
        images=_IMAGES.value,
    )


def _stop_at(what: str, lines: list[str]) -> None:
    """Ends with exit code 1 and these lines, if there are any."""
    if lines:
        print(f"{what}:", *lines[:_MAX_LINES], sep="\n  ")
        if len(lines) > _MAX_LINES:
            print(f"  and {len(lines) - _MAX_LINES} more")
        sys.exit(1)


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
    return data.first(dataset.open("test"), _IMAGES.value)


def _batches(test: data.Split) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Images and labels in order; the last batch may be smaller."""
    for start in range(0, len(test), _BATCH.value):
        yield test.read(np.arange(start, min(start + _BATCH.value, len(test))))


if __name__ == "__main__":
    command.run(main)
