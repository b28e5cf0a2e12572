"""The paper's tables 2 to 4 as sweeps: each scheme of a network, with several seeds.

    python -m launch.sweep --config=configs/reproduction.py:net1 --workdir=/tmp/1 --data_dir=/data
    python -m launch.sweep --workdir=/tmp/1 --status
    python -m launch.sweep --config=configs/reproduction.py:net4,ablations --workdir=/tmp/4 ...

ARGUMENTS: a network (net1 to net7) and, if wanted, `staged`, `ablations` or `lambdas`; `smoke` for
four epochs each of a narrow network on the embedded digits. A sweep goes on where it was stopped.
Fields given by --config.FIELD hold for all members, such as --config.epochs=10.

Rows are full precision, L-2, L-1, FP, and the two FLightNNs a and b, whose mean k is the storage of
the paper's in units of L-1's, where its table has enough digits to tell. All rows have one recipe
and one length. With `staged` the quantized ones begin in full precision and go on as LightNN-2, in
the same number of epochs; rows of a seed share these stages. Ablations are of equal length, too:
`plain`, and one option or two more than it; members with the same stages train them once. Lambdas
are the paper's own training of thresholds, at the full length, for several weights of the penalty.
"""

from configs import paper
from flightnn_jax.paper import tables as published
from flightnn_jax.training.config import Config

SEEDS = (0, 1, 2)
_STAGES = "full:0.4,lightnn2:0.3"
_ABLATIONS: dict[str, dict[str, str]] = {
    "plain": {},
    "warm": {"stages": _STAGES},
    "taught": {"stages": _STAGES, "teacher": "first"},
    "scaled": {"stages": _STAGES, "filter_scales": "true"},
    "averaged": {"ema": "0.999", "reestimate": "50"},
    "measured": {"reestimate": "50"},
    "linear": {"rounding": "linear"},
    "rising": {"warmup": "0.05"},
    "decayed": {"weight_decay": "1e-2"},
    "smoothed": {"label_smoothing": "0.1"},
    "all": {
        "stages": _STAGES,
        "teacher": "first",
        "filter_scales": "true",
        "ema": "0.999",
        "reestimate": "50",
    },
}
_LAMBDAS = ("0", "1e-6", "1e-5", "1e-4", "1e-3")
_NOT_OF_FULL = ("warm", "taught", "scaled", "linear", "all")  # nothing that full precision reads


def get_config(arguments: str = "") -> Config:
    """What all members share, for "NETWORK", and with "staged" or another of the words."""
    network, *words = arguments.split(",")
    known = ", ".join(published.BUDGETS)
    if network not in published.BUDGETS or set(words) - {"staged", "ablations", "lambdas", "smoke"}:
        raise ValueError(
            f"{arguments!r}: the arguments are a network ({known}), and staged, ablations, lambdas "
            "or smoke if wanted, as in configs/reproduction.py:net1"
        )
    config = paper.get_config(f"{network},flightnn")
    fields = {"mode": "budget", "epochs": "30", "learning_rate": "2e-3"}
    if "staged" in words:
        fields |= {"stages": _STAGES}
    if "lambdas" in words:
        fields = {"mode": "paper"}
    if "smoke" in words:
        fields |= {"dataset": "digits", "width": "8", "image_size": "32", "epochs": "4"}
    return config.override(fields)


def get_members(arguments: str = "") -> dict[str, dict[str, str]]:
    """The fields of each member that differ from the others', by its name."""
    network, *words = arguments.split(",")
    get_config(arguments)  # which checks them
    a, b = map(str, published.BUDGETS[network])
    rows = {name: {"scheme": name} for name in ("full", "lightnn2", "lightnn1", "fp4")}
    rows["flightnn_a"] = {"scheme": "flightnn", "budget": a}
    rows["flightnn_b"] = {"scheme": "flightnn", "budget": b}
    if "staged" in words:
        rows["full"] |= {"stages": "none"}  # which has none of quantized weights
    if "lambdas" in words:
        rows = {f"lambda1={x}": {"scheme": "flightnn", "lambda1": x} for x in _LAMBDAS}
    if "ablations" in words:
        rows = {
            f"{option}-{name}": rows[name] | fields
            for option, fields in _ABLATIONS.items()
            for name in ("full", "lightnn1", "flightnn_b")
            if name != "full" or option not in _NOT_OF_FULL
        }
    return {
        f"{name},seed={seed}": {**fields, "seed": str(seed)}
        for seed in SEEDS
        for name, fields in rows.items()
    }
