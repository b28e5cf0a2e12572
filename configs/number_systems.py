"""All number systems beside each other: shifts, signs and tables of products, in one sweep.

    python -m launch.sweep --config=configs/number_systems.py:digits --workdir=/tmp/systems
    python -m launch.compare /tmp/systems
    python -m launch.explore /tmp/systems
    python -m launch.sweep --config=configs/number_systems.py:net1 --workdir=/tmp/1 --data_dir=/data

ARGUMENTS: `digits`, or a network without residual blocks (net1, net3, net4, net5), and of these
words those that are wanted, as in `digits,losses,seeds=8`. Members are full precision, FLightNN at
mean k 1.5, LightNN-1, BinaryConnect, binary networks without and with the distribution loss, and
table units of 40 and 320 products, with four seeds each. All have one recipe and one length;
fields given by --config.FIELD, such as epochs, hold for all.

    kinds     also table units whose levels are `uniform` and `laplace`, and codebooks of 5 and 10
              levels of weights beside activations of 8 bits
    losses    in place of all that, binary networks: without the distribution loss, with it as
              released and as printed, and with batch norm where that loss is 0; each by Adam at
              two rates and by SGD
    seeds=N   seeds 0 to N - 1
    smoke     four epochs of a narrow network on the digits, and one seed
"""

from configs import digits, paper
from flightnn_jax.training.config import Config

SEEDS = 4
_NETWORKS = ("net1", "net3", "net4", "net5")
_SCHEMES = (
    "full",
    "flightnn",
    "lightnn1",
    "binaryconnect",
    "bnn",
    "bnn_dl",
    "table40",
    "table320",
)
_TABLES = ("table40", "table320")
_KINDS = ("uniform", "laplace")  # beside kmeans, the default
_CODEBOOKS = ("codebook5", "codebook10")
_LOSSES = {
    "bnn": {"scheme": "bnn"},
    "released": {"scheme": "bnn_dl"},
    "paper": {"scheme": "bnn_dl", "distribution": "paper"},
    "fixed": {"scheme": "bnn_dl", "distribution": "fixed"},
}
_OPTIMIZERS = {
    "adam-1e-2": {"learning_rate": "1e-2"},
    "adam-1e-3": {"learning_rate": "1e-3"},
    "sgd-0.1": {"optimizer": "sgd", "learning_rate": "0.1"},
}
_WORDS = ("kinds", "losses", "smoke")


def get_config(arguments: str = "digits") -> Config:
    """What all members share, for "digits" or a network, and the words."""
    where, words, _ = _parse(arguments)
    if where == "digits":
        config = digits.get_config("flightnn,tiny" if "smoke" in words else "flightnn")
        return config.override({"epochs": "4"} if "smoke" in words else {})
    fields = {"mode": "budget", "budget": "1.5", "epochs": "30", "learning_rate": "2e-3"}
    if "smoke" in words:
        fields |= {"dataset": "digits", "width": "8", "image_size": "32", "epochs": "4"}
    return paper.get_config(f"{where},flightnn").override(fields)


def get_members(arguments: str = "digits") -> dict[str, dict[str, str]]:
    """The fields of each member that differ from the others', by its name."""
    _, words, seeds = _parse(arguments)
    rows = {name: {"scheme": name} for name in _SCHEMES}
    if "kinds" in words:
        rows |= {f"{s}-{k}": {"scheme": s, "codebook": k} for s in _TABLES for k in _KINDS}
        rows |= {name: {"scheme": name} for name in _CODEBOOKS}
    if "losses" in words:
        rows = {
            f"{loss}-{optimizer}": fields | rate
            for optimizer, rate in _OPTIMIZERS.items()
            for loss, fields in _LOSSES.items()
        }
    return {
        f"{name},seed={seed}": {**fields, "seed": str(seed)}
        for seed in range(seeds)
        for name, fields in rows.items()
    }


def _parse(arguments: str) -> tuple[str, set[str], int]:
    """The network or digits, the words, and the number of seeds."""
    where, *rest = arguments.split(",")
    words = {word for word in rest if not word.startswith("seeds=")}
    counts = [word.removeprefix("seeds=") for word in rest if word.startswith("seeds=")]
    seeds = counts or ["1" if "smoke" in words else str(SEEDS)]
    known = (
        where in ("digits", *_NETWORKS)
        and not words - set(_WORDS)
        and not words >= {"kinds", "losses"}
    )
    if not known or len(seeds) > 1 or not seeds[0].isdecimal() or not int(seeds[0]):
        raise ValueError(
            f"{arguments!r}: the arguments are digits or a network ({', '.join(_NETWORKS)}), and "
            "if wanted kinds or losses, smoke, and seeds=N of 1 or more, as in "
            "configs/number_systems.py:digits,seeds=2"
        )
    return where, words, int(seeds[0])
