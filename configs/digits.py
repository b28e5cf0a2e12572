"""The embedded default: a small network on scikit-learn's 1,797 digits, which need no download.

    python -m launch.train --config=configs/digits.py:flightnn --workdir=/tmp/digits

ARGUMENTS: a scheme (full, fp4, lightnn2, lightnn1, binaryconnect, bnn, bnn_dl, codebook5,
codebook10, table40, table320 or flightnn, the default), and `tiny` for images of 8x8 and a network
whose hardware fits the smallest FPGAs, or `smoke` for that network and a run of a few steps, which
shows that everything works. `bash launch/quickstart.sh` trains and compares four schemes: 98 to 99
% on 360 test images in ten seconds a scheme on two cores.
"""

from flightnn_jax.training.config import Config


def get_config(arguments: str = "") -> Config:
    """The config for "SCHEME", "tiny", "smoke", "SCHEME,tiny" or "SCHEME,smoke"."""
    words = [word for word in arguments.split(",") if word]
    small = {"smoke", "tiny"} & set(words)
    schemes = [word for word in words if word not in small]
    if len(schemes) > 1:
        raise ValueError(f"{arguments!r}: one scheme, and smoke if wanted, as in flightnn,smoke")
    config = Config(
        network="net4",
        width=32,
        dataset="digits",
        image_size=16,
        scheme=schemes[0] if schemes else "flightnn",
        mode="budget",
        budget=1.5,
        epochs=12,
        batch_size=32,
        learning_rate=3e-3,
        threshold_rate=3e-3,
    )
    if small:
        config = config.override({"width": "8", "image_size": "8"})
    if "smoke" in small:
        return config.override({"epochs": "2", "batch_size": "128"})
    return config
