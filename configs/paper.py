"""The networks of the paper's tables 2 to 5, each on its data set, in each of the five schemes.

    python -m launch.train --config=configs/paper.py:net1,flightnn --workdir=/tmp/net1 \
        --data_dir=/data

ARGUMENTS: a network (net1 to net8), a scheme (full, fp4, lightnn2, lightnn1 or flightnn), and
`smoke` for one epoch of a narrow network on the embedded digits, which need no download. Data:
CIFAR-10 for networks 1 to 3, SVHN (cropped) for 4 and 5, CIFAR-100 for 6 and 7, ImageNet for 8,
as TFDS has prepared them in --data_dir.

Expected of network 1 after 30 epochs at --config.learning_rate=2e-3, one seed, test accuracy (%):
full 84.3, lightnn2 83.7, flightnn 83.9 (with --config.mode=budget: mean k 1.5), fp4 83.2, lightnn1
82.7. On two cores a run takes about ten minutes (1,400 to 2,200 images/s); smoke, half a minute.
The other networks, and the 160 epochs of the default, were not run yet.

The paper says "Adam" and no more. Step decay, clamped weights, pad-4 crops and flips are what the
first author's other code does; the rates, the number of epochs and the batch are ours.
"""

from flightnn_jax.training.config import Config

_DATASETS = {
    "net1": "cifar10",
    "net2": "cifar10",
    "net3": "cifar10",
    "net4": "svhn_cropped",
    "net5": "svhn_cropped",
    "net6": "cifar100",
    "net7": "cifar100",
    "net8": "imagenet2012",
}


def get_config(arguments: str = "") -> Config:
    """The config for "NETWORK,SCHEME" or "NETWORK,SCHEME,smoke"."""
    network, scheme, smoke = [*arguments.split(","), "", ""][:3]
    if network not in _DATASETS:
        raise ValueError(
            f"network {network!r} is unknown: choose one of {', '.join(_DATASETS)}, as in "
            "configs/paper.py:net1,flightnn"
        )
    if smoke not in ("", "smoke") or arguments.count(",") > 2:
        raise ValueError(f"{arguments!r}: the arguments are NETWORK,SCHEME and smoke if wanted")
    config = Config(
        network=network,
        dataset=_DATASETS[network],
        scheme=scheme,
        epochs=90 if network == "net8" else 160,
        batch_size=256 if network == "net8" else 128,
    )
    if smoke:
        # Network 8 halves its images six times and cannot take smaller ones than 32.
        small = {"dataset": "digits", "width": "16", "image_size": "32", "epochs": "1"}
        return config.override(small)
    return config
