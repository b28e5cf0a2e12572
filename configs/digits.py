"""The embedded default: a small network on scikit-learn's 1,797 digits, which need no download.

    python -m launch.train --config=configs/digits.py:flightnn --workdir=/tmp/digits

ARGUMENTS: a scheme (full, fp4, lightnn2, lightnn1 or flightnn, the default), and `smoke` for a
run of a few steps, which shows that everything works. `bash launch/quickstart.sh` trains and
compares four schemes: 98 to 99 % on 360 test images in ten seconds a scheme on two cores.
"""

from flightnn_jax.training.config import Config


def get_config(arguments: str = "") -> Config:
    """The config for "SCHEME", "smoke" or "SCHEME,smoke"."""
    words = [word for word in arguments.split(",") if word]
    smoke = "smoke" in words
    schemes = [word for word in words if word != "smoke"]
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
    if smoke:
        return config.override(
            {"epochs": "2", "width": "8", "image_size": "8", "batch_size": "128"}
        )
    return config
