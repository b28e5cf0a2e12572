"""Opening a data set by its name."""

from pathlib import Path

from flightnn_jax import atomic
from flightnn_jax.data import cache, catalog, digits, records, splits

_SPLITS = ("train", "validation", "test")


def load(
    name: str,
    split: str,
    *,
    data_dir: str | Path | None = None,
    cache_dir: str | Path | None = None,
    image_size: int | None = None,
) -> splits.Split:
    """Opens one split of a data set; the others are not touched.

    Args:
      name: "digits", which comes with scikit-learn, or a data set that TFDS has prepared:
        "cifar10", "cifar100", "svhn_cropped" or "imagenet2012".
      split: "train", "validation" (a part of the original train split, the same in every run)
        or "test".
      data_dir: where TFDS has prepared data sets; None takes $TFDS_DATA_DIR, or
        ~/tensorflow_datasets. It is only read.
      cache_dir: where images are kept after they were decoded, a file of 3 kB an image; None takes
        `default_cache_dir()`, and "" keeps none. Photographs are not kept.
      image_size: height and width of the images; None takes the data set's own. Digits are
        enlarged to it and photographs cropped, and the others have their own only.

    Returns:
      The split: it has a length, its `dataset` and its `image_size`, and reads rows.

    Raises:
      DataError: if the data is missing (the message says how to get it) or damaged.
      ValueError: if there is no such data set, split or size.

    Example:
      >>> test = load("digits", "test")
      >>> len(test), test.images.shape, test.labels.dtype
      (360, (360, 32, 32, 3), dtype('int32'))
    """
    dataset = catalog.find(name)
    if split not in _SPLITS:
        raise ValueError(f"split {split!r} is unknown: choose one of {', '.join(_SPLITS)}")
    size = dataset.image_size if image_size is None else image_size
    if size < 8:
        raise ValueError(f"image_size={size}: images have 8 pixels a side or more")
    if dataset == catalog.DIGITS:
        return splits.ArraySplit(dataset, *digits.read(split, size))
    if not dataset.photographs and size != dataset.image_size:
        raise ValueError(
            f"image_size={size} for {name}, whose images have {dataset.image_size} pixels a side: "
            "leave it out, or choose a network that takes this size"
        )
    opened = records.Records(dataset, split, data_dir)
    if dataset.photographs:
        return splits.RecordSplit(opened, size)
    directory = atomic.cache_dir() if cache_dir is None else Path(cache_dir)
    arrays = cache.cached(
        None if cache_dir == "" else directory,
        opened.key,
        lambda: records.decode_all(opened),
    )
    return splits.ArraySplit(dataset, *arrays)
