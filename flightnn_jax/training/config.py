"""Everything that decides a training run, in one frozen record that checks itself."""

import dataclasses
import math
import typing
from typing import Any

from flightnn_jax import networks, schemes
from flightnn_jax.data import Dataset, check_name, find
from flightnn_jax.hardware import demands
from flightnn_jax.training import fields as records
from flightnn_jax.training import stages

MODES = ("paper", "budget")
COSTS = ("filter", "storage")
SCHEDULES = ("cosine", "step", "constant")
PER = ("layer", "network", "filter")
FIRST = "first"  # in place of a teacher's directory
ROUNDINGS = ("log", "linear")
CODEBOOKS = ("uniform", "laplace", "kmeans")
OPTIMIZERS = ("adam", "sgd")
DISTRIBUTIONS = ("released", "paper", "fixed")
MAX_WEIGHTS = 1 << 28  # with gradients and Adam's two means they take 4 GB
_MAX_INT = 2**31 - 1  # steps are counted in int32
_MAX_COUNTS = {
    "image_size": 1024,
    "affine_terms": 4,
    **dict.fromkeys(("epochs", "batch_size", "evaluate_every"), _MAX_INT),
    "reestimate": _MAX_INT,
    **dict.fromkeys(("checkpoint_every", "keep"), _MAX_INT),
}
_MAX_NUMBERS = {
    **dict.fromkeys(("lambda1", "lambda0", "learning_rate", "threshold_rate", "decay_by"), 1e30),
    **dict.fromkeys(("weight_decay", "teacher_weight", "temperature"), 1e30),
    **dict.fromkeys(("label_smoothing", "ema", "momentum"), 1),
    "seed": 2**32 - 1,  # of a larger one JAX takes 32 bits, so two seeds would be one
}


def _option(default: Any, meaning: str, decisive: bool = True) -> Any:
    """A field; `decisive` says whether it has an influence on the weights that come out."""
    return dataclasses.field(default=default, metadata={"help": meaning, "decisive": decisive})


@dataclasses.dataclass(frozen=True)
class Config:
    """A training run. What a field means stands beside it, and in `launch.train --help`.

    Example:
      >>> config = Config(network="net4", dataset="digits", scheme="lightnn1")
      >>> config.override({"scheme": "flightnn", "lambda1": "1e-4"}).lambda1
      0.0001
    """

    network: str | networks.Network = _option(  # noqa: RUF009 - a Network is frozen
        "net1", "network, net1 to net8; in a config file also a record, as in configs/own.py"
    )
    width: int | None = _option(None, "filters of its widest layer; none for the network's own")
    dataset: str = _option(
        "digits",
        "data set: digits; cifar10, cifar100, svhn_cropped, imagenet2012 or tfds:NAME, which TFDS "
        "has prepared; npz:FILE of NumPy arrays, or folder:FOLDER of images, of your own",
    )
    image_size: int | None = _option(
        None,
        "height and width, for digits, photographs and folders; none for the data set's own",
    )
    scheme: str = _option(
        "flightnn",
        "full, fp4, lightnn2, lightnn1, flightnn, binaryconnect, bnn, bnn_dl, codebook5, "
        "codebook10, table40 or table320",
    )
    mode: str = _option(
        "paper",
        "what decides a flightnn's k: paper, thresholds that are trained; or budget, a mean k",
    )
    budget: float | str = _option(
        1.5,
        "for budget: the mean k at the end, 0 to 2; or bounds with units, such as '9000 nJ' or "
        "'3400 images/s and 40 kB', in k, kB, nJ, LUT, images/s and cycles",
    )
    style: str | None = _option(
        None,
        "for a budget with units: of the design, hardwired, engine or array; none for hardwired "
        "if LUTs are bounded, otherwise engine",
    )
    device: str = _option("XC7Z045", "for a budget with units: an FPGA's name, or its .json file")
    prune: bool = _option(
        False, "for a budget with units: whether filters may lose all their terms"
    )
    budget_cost: str = _option(
        "filter", "for budget: the mean over filters, or storage, over weights"
    )
    thresholds_per: str = _option("layer", "what shares thresholds: layer, network or filter")
    lambda1: float = _option(3e-5, "weight of the penalty on the residuals; 0 or more")
    lambda0: float | None = _option(
        None, "weight of the penalty on whole filters; none for a third of lambda1"
    )
    epochs: int = _option(160, "passes over the train split")
    batch_size: int = _option(128, "images a step, over all devices")
    optimizer: str = _option("adam", "of weights, biases and batch norm: adam or sgd")
    momentum: float = _option(0.9, "for sgd, 0 to 1")
    learning_rate: float = _option(1e-3, "of weights, biases and batch norm")
    threshold_rate: float = _option(1e-3, "Adam's, for thresholds; 0 freezes them")
    weight_decay: float = _option(0.0, "AdamW's, of kernels; 0 for Adam")
    label_smoothing: float = _option(
        0.0, "the part of a label that is spread over all classes, 0 to 1"
    )
    teacher: str | None = _option(
        None,
        "directory of a run of the same classes, usually of full precision, whose logits are "
        "learned, too; or first, for the first of the stages of this run",
    )
    teacher_weight: float = _option(1.0, "for a teacher: of its part of the loss")
    temperature: float = _option(4.0, "for a teacher: by which logits are divided")
    ema: float | None = _option(
        None,
        "decay of a running average of the weights, such as 0.999, which is evaluated and lowered "
        "in place of the last ones; none for these",
    )
    filter_scales: bool = _option(
        False,
        "whether each filter has a scale from 1 to 2, the best one for its weights where the "
        "training or its last stage begins; batch norm takes it up, so it costs nothing",
    )
    reestimate: int | None = _option(
        None,
        "batches of the train split, without augmentation, from which batch norm's statistics are "
        "measured anew at the end; none to keep the running ones",
    )
    rounding: str = _option(
        "log",
        "to a power of two: log, the nearest exponent, as in the paper; or linear, the nearest "
        "value; for weights that are sums of powers",
    )
    codebook: str = _option(
        "kmeans",
        "levels of weights that are few numbers: uniform, at equal distances; laplace, those of a "
        "Laplacian; or kmeans, which follow the weights",
    )
    distribution: str = _option(
        "released",
        "for bnn_dl: its loss as the authors' program has it, released, or as they print it, "
        "paper; or fixed, for a control: no loss, but batch norm's scale 2, its bias in [-2, 2]",
    )
    schedule: str = _option("cosine", "of both rates: cosine down to 0, step or constant")
    decay_at: tuple[float, ...] = _option(
        (0.5, 0.75), "for step: the parts of the training after which rates are multiplied"
    )
    decay_by: float = _option(0.1, "for step: by what")
    warmup: float = _option(0.0, "the part of the training in which both rates rise from 0, 0 to 1")
    clamp: bool = _option(True, "whether latent weights are kept in [-1, 1]")
    affine_terms: int | None = _option(
        None,
        "powers of two that the slope of batch norm is a sum of, 1 to 4, so that integers need no "
        "multiplier; batch norm is then frozen with the ranges; none for any slope",
    )
    track: float = _option(
        0.5, "the part of the training in which activation ranges are measured, then frozen"
    )
    start_from: str | None = _option(
        None, "directory of a run of the same network, whose last weights this one begins with"
    )
    stages: str | None = _option(
        None,
        "what is trained before the scheme, each for a part of the epochs, such as "
        "full:0.4,lightnn2:0.3; the scheme has the rest; none for the scheme alone",
    )
    seed: int = _option(0, "of the initial weights, the order of the data and its augmentation")
    evaluate_every: int = _option(1, "epochs between validations", decisive=False)
    checkpoint_every: int | None = _option(
        None, "steps between checkpoints, besides those at validations", decisive=False
    )
    keep: int = _option(2, "latest checkpoints that are kept, besides the best", decisive=False)

    def __post_init__(self) -> None:
        """Checks each field."""
        kinds = typing.get_type_hints(Config)
        for field in dataclasses.fields(self):
            kind, value = kinds[field.name], getattr(self, field.name)
            if field.name != "network" and not records.is_of(kind, value):
                raise ValueError(
                    f"{field.name}={value!r:.80}: the field takes {records.needed(kind)}"
                )
        self._check_network()
        check_name(self.dataset)
        if self.affine_terms is not None and (self.filter_scales or self.reestimate is not None):
            raise ValueError(
                f"affine_terms={self.affine_terms} with filter_scales={self.filter_scales} and "
                f"reestimate={self.reestimate}: slopes that are powers of two have scales of their "
                "own, and keep batch norm's statistics; leave the others out"
            )
        if schemes.find(self.scheme).activation_bits is None and self.affine_terms is not None:
            raise ValueError(
                f"affine_terms={self.affine_terms} with scheme {self.scheme!r}, which has no "
                "integers: leave it out, or choose another scheme"
            )
        for name, known in (
            ("mode", MODES),
            ("budget_cost", COSTS),
            ("schedule", SCHEDULES),
            ("thresholds_per", PER),
            ("rounding", ROUNDINGS),
            ("codebook", CODEBOOKS),
            ("optimizer", OPTIMIZERS),
            ("distribution", DISTRIBUTIONS),
        ):
            if getattr(self, name) not in known:
                raise ValueError(
                    f"{name} {getattr(self, name)!r} is unknown: choose one of {', '.join(known)}"
                )
        for name, most in _MAX_COUNTS.items():
            value = getattr(self, name)
            if value is not None and not 1 <= value <= most:
                raise ValueError(f"{name}={value!r:.80}: choose 1 or more, at most {most}")
        for name, largest in _MAX_NUMBERS.items():
            value = getattr(self, name)
            if value is not None and not 0 <= value <= largest:
                raise ValueError(
                    f"{name}={value!r:.80}: choose a finite number that is not negative, at most "
                    f"{largest}"
                )
        self._check_budget()
        if self.optimizer == "sgd" and (self.has_budget or self.weight_decay):
            raise ValueError(
                f"optimizer=sgd with mode={self.mode} and weight_decay={self.weight_decay}: a "
                "budget reads Adam's squared gradients, and the decay is AdamW's; choose adam, or "
                "mode=paper and no decay"
            )
        for value in (self.track, self.warmup, *self.decay_at):
            if not 0 <= value <= 1:
                raise ValueError(
                    f"track, warmup and decay_at are parts of the training, 0 to 1: {value}"
                )
        for name in ("start_from", "teacher"):
            if getattr(self, name) == "":
                raise ValueError(f"{name}='': give the directory of a run, or none")
        if not self.temperature:
            raise ValueError(
                "temperature=0: logits are divided by it, so choose above 0; 4 is usual"
            )
        if self.stages is not None:
            stages.parse(self.stages, self.epochs)
        if not self.device:
            raise ValueError("device='': give an FPGA's name, or its .json file")

    def _check_network(self) -> None:
        record = self.network
        if isinstance(record, str):
            record = networks.network(record, width=self.width)
        elif not isinstance(record, networks.Network):
            raise ValueError(
                f"network={self.network!r:.80}: give a name, net1 to net8, or a networks.Network"
            )
        elif self.width is not None:
            raise ValueError(
                f"width={self.width} with the network record {record.name!r}, whose layers "
                "have their own widths: leave width out, or change the record"
            )
        if math.prod(record.input_shape) > MAX_WEIGHTS:
            raise ValueError(
                f"input_shape={record.input_shape!s:.80} of network {record.name!r}: an image has "
                f"at most {MAX_WEIGHTS:,} numbers"
            )
        if networks.weight_count(record) > MAX_WEIGHTS:
            raise ValueError(
                f"network {record.name!r} with width={self.width!s:.40} has more than the "
                f"{MAX_WEIGHTS:,} weights that a training takes: choose a smaller width"
            )

    def _check_budget(self) -> None:
        if isinstance(self.budget, str):
            demands.style_of(demands.parse(self.budget), self.style)
            wrong = {"mode": "budget", "budget_cost": "filter"}
            for name, needed in wrong.items():
                if getattr(self, name) != needed:
                    raise ValueError(
                        f"budget={self.budget!r} with {name}={getattr(self, name)}: bounds with "
                        f"units need {name}={needed}"
                    )
        elif not 0 <= self.budget <= 2:
            raise ValueError(
                f"budget={self.budget}: a filter takes 0 to 2 terms, choose between; or give a "
                "bound with its unit, such as '9000 nJ'"
            )
        elif self.prune or self.style is not None:
            raise ValueError(
                f"prune={self.prune} and style={self.style} with budget={self.budget}, a mean k: "
                "they are for bounds with units, such as '9000 nJ'; leave them out"
            )

    @property
    def bounds(self) -> tuple[demands.Demand, ...]:
        """The bounds of a budget in units of hardware; () without."""
        if self.has_budget and isinstance(self.budget, str):
            return demands.parse(self.budget)
        return ()

    @property
    def has_budget(self) -> bool:
        """Whether thresholds are set to meet a budget, instead of trained."""
        return self.mode == "budget" and schemes.find(self.scheme).flexible

    @property
    def lambdas(self) -> tuple[float, float]:
        """The weights of the penalty on a filter's two residuals."""
        return (self.lambda1 / 3 if self.lambda0 is None else self.lambda0, self.lambda1)

    @property
    def own_epochs(self) -> int:
        """Those that the stages leave for the scheme itself."""
        if self.stages is None:
            return self.epochs
        return self.epochs - sum(each.epochs for each in stages.parse(self.stages, self.epochs))

    def override(self, texts: dict[str, str]) -> "Config":
        """With other values for some fields, written as on a command line.

        Raises:
          ValueError: if a field is unknown, or its text does not fit its type.
        """
        kinds = typing.get_type_hints(Config)
        if unknown := sorted(set(texts) - set(kinds)):
            raise ValueError(
                f"unknown fields {', '.join(unknown)}: choose one of {', '.join(kinds)}"
            )
        values = {name: records.parsed(name, kinds[name], text) for name, text in texts.items()}
        return dataclasses.replace(self, **values)

    def to_dict(self) -> dict[str, Any]:
        """The fields as JSON has them: tuples are lists, a network record is an object."""
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        if isinstance(self.network, networks.Network):
            fields["network"] = networks.to_dict(self.network)
        return {k: list(v) if isinstance(v, tuple) else v for k, v in fields.items()}

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> "Config":
        """What `to_dict` gave."""
        known = {field.name for field in dataclasses.fields(cls)}
        if unknown := sorted(set(fields) - known):
            raise ValueError(
                f"the config has the unknown fields {', '.join(unknown)}: another version of this "
                "program wrote it, so use that version"
            )
        values: dict[str, Any] = {k: tuple(v) if type(v) is list else v for k, v in fields.items()}
        if isinstance(values.get("network"), dict):
            values["network"] = networks.from_dict(values["network"])
        return cls(**values)

    def decisive(self) -> dict[str, Any]:
        """The fields that two runs must share to end with the same weights."""
        chosen = {f.name for f in dataclasses.fields(self) if f.metadata["decisive"]}
        if not isinstance(self.budget, str):
            chosen -= {"style", "device", "prune"}  # nothing reads them
        return {name: value for name, value in self.to_dict().items() if name in chosen}


def network_of(
    config: Config, dataset: Dataset | None = None, data_dir: str | None = None
) -> networks.Network:
    """The network of a config, for the images and classes of its data set.

    Args:
      config: says which.
      dataset: its data set, opened. None finds it, which a network record does not take.
      data_dir: where to find it: see `data.find`.

    Raises:
      ValueError: if a network record does not fit the data set.
    """
    if dataset is None and isinstance(config.network, networks.Network):
        return config.network
    if dataset is None:
        dataset = find(config.dataset, data_dir=data_dir, image_size=config.image_size)
    shape, classes = dataset.image_shape, dataset.classes
    if isinstance(config.network, str):
        return networks.network(
            config.network, width=config.width, classes=classes, input_shape=shape
        )
    record = config.network
    if (record.input_shape, record.classes) != (shape, classes):
        raise ValueError(
            f"network {record.name!r} takes images of shape {record.input_shape} and tells "
            f"{record.classes} classes apart, but {dataset.name} has images of shape {shape} and "
            f"{classes} classes: change input_shape and classes of the record (and its last "
            "layer), or image_size"
        )
    return record
