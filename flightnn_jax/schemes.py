"""The five schemes of the paper's tables: how weights and activations are stored."""

import dataclasses
from typing import Any

from flightnn_jax import spec as specs
from flightnn_jax import thresholds
from flightnn_jax.formats import base, fixed_point, shift

PyTree = Any


@dataclasses.dataclass(frozen=True)
class Scheme:
    """What a model's weights and activations are stored in.

    Attributes:
      name: what configs and commands call it.
      label: what the paper's tables call it.
      weights: the format of every kernel, of convolutions and dense layers; None leaves them
        float. Biases and batch norm stay float in every scheme.
      activation_bits: of every activation; None leaves them float.
      flexible: whether thresholds, which are trained, decide how many terms a filter takes.
    """

    name: str
    label: str
    weights: base.Format | None
    activation_bits: int | None = 8
    flexible: bool = False

    def spec(self, params: PyTree, per: str = "layer") -> PyTree:
        """The spec tree of this scheme for a model's parameters.

        Args:
          params: of the model; `jax.ShapeDtypeStruct` will do.
          per: what shares a vector of thresholds, if the scheme has them: "layer", "network" or
            "filter". They start at 0.

        Example:
          >>> import jax.numpy as jnp
          >>> params = {"kernel": jnp.ones((3, 3, 8, 16)), "bias": jnp.ones(16)}
          >>> find("flightnn").spec(params)["kernel"].thresholds.tolist()
          [0.0, 0.0]
          >>> find("full").spec(params)
          {'bias': None, 'kernel': None}
        """
        if self.weights is None:
            return specs.make_spec(params, lambda path, leaf: None)
        spec = specs.make_spec(params, self.weights)
        if not self.flexible:
            return spec
        return thresholds.init_thresholds(params, spec, per)  # type: ignore[arg-type]  # it checks


SCHEMES = (
    Scheme("full", "Full", None, activation_bits=None),
    Scheme("fp4", "FP 4W8A", fixed_point.FixedPoint(bits=4)),
    Scheme("lightnn2", "L-2 8W8A", shift.Shift(k=2)),
    Scheme("lightnn1", "L-1 4W8A", shift.Shift(k=1)),
    Scheme("flightnn", "FL", shift.Shift(k=2), flexible=True),
)


def find(name: str) -> Scheme:
    """The scheme of that name.

    Raises:
      ValueError: if there is none; the message lists the known ones.

    Example:
      >>> find("lightnn1").weights.k
      1
    """
    for scheme in SCHEMES:
        if scheme.name == name:
            return scheme
    known = ", ".join(scheme.name for scheme in SCHEMES)
    raise ValueError(f"scheme {name!r} is unknown: choose one of {known}")
