"""A network and a data set of your own: a record, and a file of arrays.

    python -m configs.own digits.npz
    python -m launch.train --config=configs/own.py:digits.npz --workdir=/tmp/own
    python -m launch.lower --workdir=/tmp/own
    python -m launch.verify --run=/tmp/own
    python -m launch.estimate --config=configs/own.py:digits.npz

The first command writes the file, as you would write yours: scikit-learn's digits as gray images of
8x6 pixels. ARGUMENTS: the file. A folder of images will do as well: --config.dataset=folder:PATH,
with PATH/train/CLASS/*.png. Expected: 97.8 % on 360 test images at 1.5 shifts a weight, after half
a minute on two cores, most of it compiling; no mismatches; 23,000 images/s on the paper's FPGA.
"""

import sys

import numpy as np

from flightnn_jax.networks import Conv, Dense, GlobalAverage, MaxPool, Network, Residual
from flightnn_jax.training.config import Config

NETWORK = Network(
    name="own",
    input_shape=(8, 6, 1),  # height, width, channels
    classes=10,
    layers=(
        Conv(16, size=5),
        MaxPool(),
        Residual(Conv(32), Conv(32), shortcut=Conv(32, size=1)),
        Conv(32),
        GlobalAverage(),
        Dense(10),
    ),
)


def get_config(file: str = "digits.npz") -> Config:
    """The config for a file of images as `NETWORK` takes them."""
    return Config(
        network=NETWORK,
        dataset=f"npz:{file or 'digits.npz'}",
        mode="budget",
        budget=1.5,
        epochs=12,
        batch_size=32,
        learning_rate=3e-3,
    )


def write_digits(file: str) -> None:
    """Writes digits as a data set: images uint8, labels from 0, and the classes' names."""
    from sklearn import datasets  # type: ignore[import-untyped]  # it has no stubs

    images, labels = datasets.load_digits(return_X_y=True)
    images = np.rint(images * 255 / 16).astype(np.uint8).reshape(-1, 8, 8)[:, :, 1:7]
    names = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
    np.savez(
        file,
        x_train=images[360:],
        y_train=labels[360:],
        x_test=images[:360],
        y_test=labels[:360],
        class_names=names,
    )


if __name__ == "__main__":
    write_digits(sys.argv[1])
