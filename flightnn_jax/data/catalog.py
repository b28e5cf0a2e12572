"""The data sets that the library knows, as a table."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Dataset:
    """What is to be known of a data set before it is opened.

    Every data set has three splits here. "train" and "validation" are parts of the original train
    split; "test" is what results are reported on, and only evaluation opens it.

    Attributes:
      name: its name in TFDS, or "digits".
      classes: how many.
      image_size: height and width of its images; of the crops, if they are photographs.
      validation_percent: how much of the original train split is the validation split. From TFDS
        it is the last records of it: for CIFAR, train[45000:].
      test_split: the original split that is the test split here.
      pad: training images are shifted by up to so many pixels in each direction.
      flip: whether training images are mirrored at random.
      photographs: whether images have sizes of their own and are too many for memory. They are
        then cropped on the host, at random for training, and `pad` and `flip` are off.
    """

    name: str
    classes: int
    image_size: int = 32
    validation_percent: int = 10
    test_split: str = "test"
    pad: int = 4
    flip: bool = True
    photographs: bool = False


DIGITS = Dataset("digits", classes=10, pad=2, flip=False)

DATASETS = (
    Dataset("cifar10", classes=10),
    Dataset("cifar100", classes=100),
    Dataset("svhn_cropped", classes=10, flip=False),
    Dataset(
        "imagenet2012",
        classes=1000,
        image_size=224,
        validation_percent=1,
        test_split="validation",  # its own test split has no labels
        pad=0,
        flip=False,
        photographs=True,
    ),
    DIGITS,
)


def find(name: str) -> Dataset:
    """The data set of that name.

    Raises:
      ValueError: if there is none; the message lists the known ones.

    Example:
      >>> find("cifar100").classes
      100
    """
    for dataset in DATASETS:
        if dataset.name == name:
            return dataset
    known = ", ".join(dataset.name for dataset in DATASETS)
    raise ValueError(f"data set {name!r} is unknown: choose one of {known}")
