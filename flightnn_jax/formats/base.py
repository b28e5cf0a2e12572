"""What every weight format answers, and what every kind of stored code answers.

A format says how one array of weights is stored. A new format is one new file with a frozen
dataclass that derives from `Format`, and is registered with `register`: what is trained
(thresholds, scales) as arrays, everything else as static fields. The tree functions of the library
ask only what stands here.
"""

import abc
import dataclasses
import json
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, TypeVar

import jax
import numpy as np
from jax import export
from jax.typing import DTypeLike

from flightnn_jax.formats import window as windows
from flightnn_jax.integer.weights import LoweringError, Scaled

_Class = TypeVar("_Class", bound=type)


def register(*arrays: str, exported_as: str | None = None) -> Callable[[_Class], _Class]:
    """Makes a frozen dataclass a node of JAX's trees: these fields are arrays, the rest is static.

    Two of them are equal if their static fields are, and all elements of their arrays.

    Unlike `jax.tree_util.register_dataclass`, it never takes one class for another: there (JAX
    0.10.2) the structures of two classes are equal if their static fields are, and once in a while
    jit runs for one format what it compiled for the other.

    Args:
      arrays: the names of these fields.
      exported_as: the name, of this class alone, by which `jax.export` serializes functions of it.
        Static fields must then be of JSON's types, or a `Window`.

    Example:
      >>> @register("scale")
      ... @dataclasses.dataclass(frozen=True)
      ... class Scaled:
      ...     scale: Any
      ...     bits: int = 4
      >>> jax.tree.map(lambda x: 2 * x, Scaled(scale=1.5))
      Scaled(scale=3.0, bits=4)
    """
    keys = [jax.tree_util.GetAttrKey(name) for name in arrays]

    def decorate(cls: _Class) -> _Class:
        static = [f.name for f in dataclasses.fields(cls) if f.name not in arrays]

        def flatten(node: Any) -> tuple[list[Any], tuple[Any, ...]]:
            return [getattr(node, a) for a in arrays], tuple(getattr(node, s) for s in static)

        def with_keys(node: Any) -> tuple[list[tuple[Any, Any]], tuple[Any, ...]]:
            values, rest = flatten(node)
            return list(zip(keys, values, strict=True)), rest

        def unflatten(rest: tuple[Any, ...], values: Iterable[Any]) -> Any:
            return cls(**dict(zip((*arrays, *static), (*values, *rest), strict=True)))

        jax.tree_util.register_pytree_with_keys(cls, with_keys, unflatten, flatten)
        if arrays:
            setattr(cls, "__eq__", _are_equal)  # noqa: B010 (a class that mypy does not know)
        if exported_as is not None:
            export.register_pytree_node_serialization(
                cls,
                serialized_name=exported_as,
                serialize_auxdata=lambda rest: json.dumps(rest, default=_as_json).encode(),
                deserialize_auxdata=lambda data: tuple(json.loads(data, object_hook=_of_json)),
            )
        return cls

    return decorate


def _are_equal(a: Any, b: Any) -> bool:
    if type(a) is not type(b):
        return NotImplemented
    (of_a, structure), (of_b, other) = jax.tree.flatten(a), jax.tree.flatten(b)
    return bool(structure == other) and all(map(_are_same, of_a, of_b))  # type: ignore[operator]


def _are_same(x: Any, y: Any) -> bool:
    if x is y or isinstance(x, jax.ShapeDtypeStruct) or isinstance(y, jax.ShapeDtypeStruct):
        return x is y or bool(x == y)
    kinds = [getattr(array, "dtype", None) for array in (x, y)]
    return kinds[0] == kinds[1] and np.array_equal(x, y)


def _as_json(value: Any) -> dict[str, Any]:
    if not isinstance(value, windows.Window):
        raise TypeError(f"{value!r}: jax.export serializes numbers, texts, lists and Windows")
    return dataclasses.asdict(value)


def _of_json(fields: dict[str, Any]) -> windows.Window:
    return windows.Window(**fields)


class ShiftCounts(NamedTuple):
    """How many shifts each filter of an array takes.

    Attributes:
      k: [filters] int32, the number of open gates: the paper's k_i.
      k_eff: [filters] int32, the terms among them that have a non-zero element. It differs from
        `k` where a residual is exactly zero and a threshold lets it pass all the same.
    """

    k: jax.Array
    k_eff: jax.Array


export.register_namedtuple_serialization(ShiftCounts, serialized_name="flightnn_jax.ShiftCounts")


class Codes(abc.ABC):
    """One array of weights as integers; decodes to the exact values that were trained."""

    @abc.abstractmethod
    def check(self) -> None:
        """Raises ValueError where an invariant of the class does not hold."""

    @abc.abstractmethod
    def decode(self) -> jax.Array:
        """The weights that the integers stand for, in their original shape and type."""

    @abc.abstractmethod
    def to_bytes(self) -> bytes:
        """The codes packed bit by bit, behind a header and before a checksum."""

    def to_weights(self) -> Scaled:
        """The same integers in the form that integer networks hold, and their unit.

        Raises:
          LoweringError: if they have none: always, unless a class of codes says otherwise.
        """
        raise LoweringError(
            f"weights of {type(self).__name__} have no form in integer networks: train with "
            "another format, or write its to_weights"
        )


class Format(abc.ABC):
    """How one array of weights is stored. A frozen record; None in its place means float."""

    # The axis of the weights that counts the filters (output channels).
    filter_axis: int
    # What is trained to decide how many terms a filter takes, [k] or [k, filters]; None if
    # nothing is. A format that has it declares it as a field.
    thresholds: Any = None

    @abc.abstractmethod
    def problem_with(self, shape: tuple[int, ...], dtype: DTypeLike) -> str | None:
        """The rule that such weights break, with the value and the remedy; None if none."""

    @abc.abstractmethod
    def quantize(self, w: jax.Array) -> jax.Array:
        """The values of `w` that this format can store; differentiable."""

    def start(self, w: jax.Array) -> "Format":
        """The format before the first step of training these weights, on which it may depend."""
        del w
        return self

    def follow(self, w: jax.Array) -> "Format":
        """The format behind a step of training that led to these weights."""
        del w
        return self

    @abc.abstractmethod
    def encode(self, w: jax.Array) -> Codes:
        """The integers that stand for `quantize(w)`; for concrete arrays."""

    @abc.abstractmethod
    def storage_bits(self, w: jax.Array) -> int:
        """Bits that the weights of `encode(w)` take, headers apart; for concrete arrays."""

    @property
    def significant_bits(self) -> int | None:
        """The most that a weight takes, as an integer times a power of two; None if unknown."""
        return None

    def count_shifts(self, w: jax.Array) -> ShiftCounts | None:
        """Shifts for each filter; None for a format that does not shift."""
        del w
        return None

    def residual_norms(self, w: jax.Array) -> jax.Array | None:
        """[k, filters] norms ||r_j|| of the residuals; None for a format without terms."""
        del w
        return None


class SharedPart(abc.ABC):
    """A node of a spec tree that holds what the formats below it share."""

    @abc.abstractmethod
    def expand(self) -> Any:
        """The spec tree below this node, with the shared part put into each of its formats."""


def check_axis_of_codes(filter_axis: int, ndim: int) -> None:
    """Raises ValueError if codes name an axis that their array does not have."""
    if not 0 <= filter_axis < ndim:
        raise ValueError(
            f"filter_axis={filter_axis} of codes with {ndim} axes: it counts from 0, so it must be "
            f"below {ndim}"
        )


def problem_with_axis(filter_axis: int, shape: tuple[int, ...]) -> str | None:
    """The rule that a filter axis breaks for weights of this shape, or None."""
    if -len(shape) <= filter_axis < len(shape):
        return None
    return (
        f"filter_axis={filter_axis} is not an axis of shape {shape}: choose one of its "
        f"{len(shape)} axes"
    )
