"""Data sets by name, batches in an order that only the seed and the step decide, augmentation.

train = load("cifar10", "train", data_dir="/data")
order = TrainOrder(len(train), batch_size=128, seed=0)
for batch in train_batches(train, order, start=step):
    images = augment(key, batch.images, pad=train.dataset.pad, flip=train.dataset.flip)
    x = center(images)
"""

from typing import TYPE_CHECKING

from flightnn_jax.atomic import cache_dir as default_cache_dir
from flightnn_jax.data.catalog import DATASETS, check_name, find, load
from flightnn_jax.data.dataset import DataError, Dataset, Source, Split
from flightnn_jax.data.order import EvaluationOrder, TrainOrder, share
from flightnn_jax.data.splits import ArraySplit, RecordSplit, first
from flightnn_jax.lazy import getter

if TYPE_CHECKING:
    from flightnn_jax.data.augmentation import augment, center
    from flightnn_jax.data.feed import Batch, check_batch_size, evaluation_batches, train_batches
else:  # with JAX, which a data set's name and its errors do not need
    _FEED = ("Batch", "check_batch_size", "evaluation_batches", "train_batches")
    _TABLE = dict.fromkeys(_FEED, "feed") | {"augment": "augmentation", "center": "augmentation"}
    __getattr__ = getter(__name__, _TABLE)

__all__ = [
    "DATASETS",
    "ArraySplit",
    "Batch",
    "DataError",
    "Dataset",
    "EvaluationOrder",
    "RecordSplit",
    "Source",
    "Split",
    "TrainOrder",
    "augment",
    "center",
    "check_batch_size",
    "check_name",
    "default_cache_dir",
    "evaluation_batches",
    "find",
    "first",
    "load",
    "share",
    "train_batches",
]
