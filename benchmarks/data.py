"""Images a second of the data pipeline: read, placed on the device, augmented.

    python -m benchmarks.data --data_dir=/data

One row for each data set in --data_dir: the time to decode it all once, to read it from the cache,
and to make batches for training. Photographs are decoded in every epoch. A step of network 1 takes
more than 1000 us an image on such a machine; "batches" says how much of it the data takes.
"""

import tempfile
import time
from collections.abc import Sequence

import jax
from absl import app, flags

from flightnn_jax import data

_DATA_DIR = flags.DEFINE_string("data_dir", None, "Where TFDS has prepared data sets.")
_BATCH = flags.DEFINE_integer("batch_size", 128, "Examples in a batch.", lower_bound=1)
_STEPS = flags.DEFINE_integer("steps", 200, "Steps that are measured.", lower_bound=1)


def main(argv: Sequence[str]) -> None:
    """Prints the table."""
    del argv
    print(f"{'data set':14}{'decode s':>10}{'cached s':>10}{'batches us':>12}{'augmented us':>14}")
    for dataset in data.DATASETS:
        try:
            print(f"{dataset.name:14}" + _row(dataset.name))
        except data.DataError as error:
            print(f"{dataset.name:14}  {str(error).split('. ')[0]}")


def _row(name: str) -> str:
    with tempfile.TemporaryDirectory() as cache_dir:
        seconds = []
        for _ in range(2):
            start = time.perf_counter()
            train = data.load(name, "train", data_dir=_DATA_DIR.value, cache_dir=cache_dir)
            seconds.append(time.perf_counter() - start)
    decode, cached = seconds
    plain = _microseconds(train, augmented=False)
    augmented = _microseconds(train, augmented=True)
    return f"{decode:10.2f}{cached:10.2f}{plain:12.1f}{augmented:14.1f}"


def _microseconds(train: data.Split, augmented: bool) -> float:
    """Time for an image, of the steps after the first few."""
    steps = _STEPS.value if not train.dataset.photographs else max(1, _STEPS.value // 20)
    order = data.TrainOrder(len(train), min(_BATCH.value, len(train)), seed=0)
    key, warm = jax.random.key(0), 4
    start = 0.0
    for step, batch in enumerate(data.train_batches(train, order, stop=warm + steps)):
        if step == warm:
            start = time.perf_counter()
        images, dataset = batch.images, train.dataset
        if augmented:
            step_key = jax.random.fold_in(key, step)
            images = data.augment(step_key, images, pad=dataset.pad, flip=dataset.flip)
        images.block_until_ready()
    return (time.perf_counter() - start) / (steps * order.batch_size) * 1e6


if __name__ == "__main__":
    app.run(main)
