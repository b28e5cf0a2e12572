"""What a verification takes: a network from a run or a file, and the images of a test split."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from flightnn_jax import data
from flightnn_jax.integer import IntegerNetwork, files
from flightnn_jax.training import export


class Source(NamedTuple):
    """A network and what is known of its training.

    Attributes:
      network: as integers.
      accuracy: top 1 on the test split as trained; None where the file does not say.
      kernels: the trained weights as floats, by the layers' names; None for those of the file.
    """

    network: IntegerNetwork
    accuracy: float | None
    kernels: Mapping[str, Any] | None


def from_run(workdir: str | Path, which: str = "last", data_dir: str | None = None) -> Source:
    """Lowers a run's checkpoint; the arguments are those of `export.deploy`."""
    deployed = export.deploy(workdir, which=which, data_dir=data_dir)
    return Source(deployed.network, deployed.accuracy, deployed.kernels)


def from_file(path: str | Path) -> Source:
    """Loads an integer network."""
    network = files.load(path)
    return Source(network, network.provenance.get("accuracy_as_trained"), None)


def batches_of(
    network: IntegerNetwork,
    batch_size: int,
    dataset: str | None = None,
    data_dir: str | None = None,
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Images and labels of a test split, in its order.

    Args:
      network: its provenance names the data set if `dataset` is None.
      batch_size: of all batches but the last.
      dataset: a name for `data.load`.
      data_dir: where TFDS has prepared data sets.

    Raises:
      ValueError: if no data set is named.

    Example:
      >>> from flightnn_jax.integer import Average
      >>> sums = (Average("average", "image", None, -7),)
      >>> network = IntegerNetwork("mean", (8, 8, 3), sums, 3, None, -7, ("r", "g", "b"), {}, None)
      >>> sum(len(labels) for _, labels in batches_of(network, 100, "digits"))
      360
    """
    name = dataset or network.provenance.get("config.dataset")
    if name is None:
        raise ValueError(
            f"{network.name} does not say what it was trained on: name a data set with --dataset"
        )
    split = data.load(name, "test", data_dir=data_dir, image_size=network.input_shape[0])
    for start in range(0, len(split), batch_size):
        yield split.read(np.arange(start, min(start + batch_size, len(split))))
