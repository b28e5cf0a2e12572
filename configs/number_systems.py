"""All number systems beside each other: shifts, signs and tables of products, in one sweep.

    python -m launch.sweep --config=configs/number_systems.py:digits --workdir=/tmp/systems
    python -m launch.compare /tmp/systems
    python -m launch.explore /tmp/systems
    python -m launch.sweep --config=configs/number_systems.py:net1 --workdir=/tmp/1 --data_dir=/data

ARGUMENTS: `digits`, or a network without residual blocks (net1, net3, net4, net5), and `kinds` or
`smoke` if wanted. Members are full precision, FLightNN at mean k 1.5, LightNN-1, BinaryConnect,
binary networks without and with the distribution loss, and table units of 40 and 320 products,
with four seeds each; with `kinds` also table units whose levels are `uniform` and `laplace`. All
have one recipe and one length; fields given by --config.FIELD hold for all. A `smoke` takes four
epochs of a narrow network on the digits, and one seed.
"""

from configs import digits, paper
from flightnn_jax.training.config import Config

SEEDS = (0, 1, 2, 3)
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


def get_config(arguments: str = "digits") -> Config:
    """What all members share, for "digits" or a network, and the words."""
    where, *words = arguments.split(",")
    if where not in ("digits", *_NETWORKS) or set(words) - {"kinds", "smoke"}:
        raise ValueError(
            f"{arguments!r}: the arguments are digits or a network ({', '.join(_NETWORKS)}), and "
            "kinds or smoke if wanted, as in configs/number_systems.py:digits"
        )
    if where == "digits":
        config = digits.get_config("flightnn,tiny" if "smoke" in words else "flightnn")
        return config.override({"epochs": "4"} if "smoke" in words else {})
    fields = {"mode": "budget", "budget": "1.5", "epochs": "30", "learning_rate": "2e-3"}
    if "smoke" in words:
        fields |= {"dataset": "digits", "width": "8", "image_size": "32", "epochs": "4"}
    return paper.get_config(f"{where},flightnn").override(fields)


def get_members(arguments: str = "digits") -> dict[str, dict[str, str]]:
    """The fields of each member that differ from the others', by its name."""
    _, *words = arguments.split(",")
    get_config(arguments)  # which checks them
    rows = {name: {"scheme": name} for name in _SCHEMES}
    if "kinds" in words:
        rows |= {f"{s}-{k}": {"scheme": s, "codebook": k} for s in _TABLES for k in _KINDS}
    return {
        f"{name},seed={seed}": {**fields, "seed": str(seed)}
        for seed in (SEEDS[:1] if "smoke" in words else SEEDS)
        for name, fields in rows.items()
    }
