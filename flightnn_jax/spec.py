"""Spec trees: which arrays of a parameter tree are stored in which format.

A spec tree has the structure of the parameters, or of their upper part. Its leaves are formats;
None in place of one means that everything there stays float. A spec is itself a tree of JAX
whose arrays are what the formats train, their thresholds: `jax.grad` and Optax work on it.
"""

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from flightnn_jax import numerics
from flightnn_jax.formats import base

PyTree = Any
Rule = Callable[[tuple[Any, ...], Any], base.Format | None]

_MAX_LISTED = 10
_MAX_DEPTH = 500  # JAX goes to some 900, as Python does
_NO_KERNELS = ("bias", "embedding", "embeddings")  # how names of arrays end that stay float
_BOXES = ("value", "raw_value")  # what Flax calls the array in a variable


class Weights(NamedTuple):
    """One leaf of a parameter tree and what the spec says of it.

    Attributes:
      path: where it stands, for messages.
      format: its format; None if it stays float.
      leaf: the array, or whatever else the tree holds there.
    """

    path: str
    format: base.Format | None
    leaf: Any


def make_spec(params: PyTree, rule: base.Format | Rule) -> PyTree:
    """A spec tree for `params`.

    Args:
      params: parameters of any library: nested dicts, lists, tuples, dataclasses, `nnx.State`,
        Equinox modules. Arrays may be `jax.ShapeDtypeStruct`.
      rule: a format, which every kernel gets; or a function of (path, leaf) that returns a format
        or None for each leaf, the path as in `jax.tree_util.tree_map_with_path`. A kernel is a
        floating-point array with two or more axes and more than one element a filter: biases
        that are stored as [filters, 1, 1] stay float. So does an array whose own name ends in
        bias, embedding or embeddings: Flax's attention has biases of two axes, and a table that
        is looked up multiplies nothing. What has another name, as a table of `equinox.nn.Embedding`
        has, takes a function that returns None for it.

    Returns:
      A tree like `params`, with a format or None in place of each array.

    Raises:
      ValueError: if a format does not fit the array it was given to, or the tree has more than
        500 levels, as one that holds itself has.
      TypeError: if there are arrays that JAX does not see, as in a dataclass that is not
        registered: they would stay float without a word.

    Example:
      >>> import jax.numpy as jnp
      >>> from flightnn_jax import Shift
      >>> spec = make_spec({"kernel": jnp.ones((3, 2)), "bias": jnp.ones(2)}, Shift(k=1))
      >>> spec["kernel"].k, spec["bias"]
      (1, None)
    """
    if isinstance(rule, type) or not (callable(rule) or isinstance(rule, base.Format)):
        raise TypeError(
            f"rule {rule!r}: give a format, such as Shift(k=2), or a function of (path, leaf) that "
            "returns a format or None"
        )
    choose = for_kernels(rule) if isinstance(rule, base.Format) else rule
    _raise_if_endless(params)
    _raise_if_hidden(params)
    spec = jax.tree_util.tree_map_with_path(choose, params)
    raise_problems(match(params, spec))
    return spec


def for_kernels(fmt: base.Format) -> Rule:
    """The rule that gives a format to every kernel, as `make_spec` says it."""

    def choose(path: tuple[Any, ...], leaf: Any) -> base.Format | None:
        if not _is_floating(leaf) or len(leaf.shape) < 2 or _own_name(path).endswith(_NO_KERNELS):
            return None
        if base.problem_with_axis(fmt.filter_axis, leaf.shape) is not None:
            return fmt
        axis = fmt.filter_axis % len(leaf.shape)
        per_filter = leaf.shape[:axis] + leaf.shape[axis + 1 :]
        return None if all(length == 1 for length in per_filter) else fmt

    return choose


def _own_name(path: tuple[Any, ...]) -> str:
    """What the array at a path is called where it is held."""
    names = [jax.tree_util.keystr((key,), simple=True) for key in path]
    return next((name for name in reversed(names) if name not in _BOXES), "")


def _raise_if_endless(tree: PyTree) -> None:
    """Raises ValueError for a tree that holds itself: after it, JAX may leave Python unusable."""
    waiting = [(tree, 0)]
    while waiting:
        node, depth = waiting.pop()
        if depth > _MAX_DEPTH:
            raise ValueError(
                f"the tree has more than {_MAX_DEPTH} levels, or holds itself: give one that ends"
            )
        if isinstance(node, dict | list | tuple):
            inside = node.values() if isinstance(node, dict) else node
            waiting += [(inner, depth + 1) for inner in inside]


def _raise_if_hidden(params: PyTree) -> None:
    """Raises TypeError for leaves that hold arrays which JAX does not see."""
    hidden = [
        f"a {type(leaf).__name__} at {_name(path)}"
        for path, leaf in jax.tree_util.tree_leaves_with_path(params)
        if _hides_arrays(leaf)
    ]
    if hidden:
        raise TypeError(
            f"JAX does not see the arrays in {_listed(hidden)}, so they would stay float: register "
            "a class with jax.tree_util.register_dataclass, make jax.Arrays of another library's "
            "arrays, or write the spec by hand, with None in these places"
        )


def _hides_arrays(leaf: Any, depth: int = 3) -> bool:
    if isinstance(leaf, np.ndarray):
        return leaf.dtype == object
    if _is_array(leaf) or isinstance(leaf, type) or not depth:
        return False
    if isinstance(getattr(leaf, "shape", None), tuple) and hasattr(leaf, "dtype"):
        return len(leaf.shape) > 1
    if isinstance(leaf, Mapping):
        inside = list(leaf.values())
    elif isinstance(leaf, list | tuple | set | frozenset):
        inside = list(leaf)
    elif dataclasses.is_dataclass(leaf):
        inside = [getattr(leaf, field.name, None) for field in dataclasses.fields(leaf)]
    else:
        inside = list(getattr(leaf, "__dict__", {}).values())
    return any(_is_array(x) or _hides_arrays(x, depth - 1) for x in jax.tree.leaves(inside))


def _is_array(leaf: Any) -> bool:
    return isinstance(leaf, jax.Array | np.ndarray | jax.ShapeDtypeStruct)


def _is_floating(leaf: Any) -> bool:
    return _is_array(leaf) and jnp.issubdtype(leaf.dtype, jnp.floating)


def is_spec_leaf(node: Any) -> bool:
    """Whether a node of a spec tree is a leaf of it: a format, None, or a shared part."""
    return node is None or isinstance(node, base.Format | base.SharedPart)


def expand(spec: PyTree) -> PyTree:
    """The spec with every shared part put into the formats below it."""

    def replace(node: Any) -> Any:
        return expand(node.expand()) if isinstance(node, base.SharedPart) else node

    return jax.tree.map(replace, spec, is_leaf=is_spec_leaf)


def match(params: PyTree, spec: PyTree) -> list[Weights]:
    """The leaves of `params` in order, each with its format.

    Raises:
      TypeError: if a leaf of the spec is neither a format nor None.
      ValueError: if the spec is not a prefix of `params`, or gives one format to several arrays.
        The message lists the paths.
    """
    for tree in (params, spec):
        _raise_if_endless(tree)
    spec = expand(spec)
    formats, structure = jax.tree_util.tree_flatten_with_path(spec, is_leaf=is_spec_leaf)
    strangers = [(_name(p), f) for p, f in formats if not is_spec_leaf(f)]
    if strangers:
        raise TypeError(
            "a spec tree holds formats (Shift, FixedPoint) or None, but has "
            + _listed(f"{numerics.shortened(value)} at {path}" for path, value in strangers)
        )
    try:
        parts = structure.flatten_up_to(params)  # type: ignore[attr-defined]  # not in its stub
    except (ValueError, TypeError) as error:
        raise ValueError(_misfit(params, [path for path, _ in formats], error)) from None
    leaves = jax.tree_util.tree_leaves_with_path(params)
    matched: list[Weights] = []
    crowded = []
    for (path, fmt), part in zip(formats, parts, strict=True):
        count = len(jax.tree.leaves(part))
        if fmt is not None and count != 1:
            crowded.append(f"{_name(path)} ({count} arrays)")
        for place, leaf in leaves[len(matched) : len(matched) + count]:
            matched.append(Weights(_name(place), fmt, leaf))
    if crowded:
        raise ValueError(
            "a format stands for exactly one array, but these places of the spec hold another "
            f"number: {_listed(crowded)}; give each array its own (make_spec does)"
        )
    return matched


def with_numbers(params: PyTree, spec: PyTree, function: str) -> list[Weights]:
    """What `match` gives, for a function that computes: no problem is left.

    Raises:
      TypeError: as `match` does; and for shapes that stand for arrays.
      ValueError: as `match` and `raise_problems` do.
    """
    matched = match(params, spec)
    raise_problems(matched)
    for w in matched:
        for where, array in [(w.path, w.leaf), *_trained(w)] if w.format is not None else []:
            if isinstance(array, jax.ShapeDtypeStruct):
                raise TypeError(
                    f"{where} is a jax.ShapeDtypeStruct, which has no numbers for {function}: give "
                    f"arrays, or let jax.eval_shape call {function}"
                )
    return matched


def _misfit(params: PyTree, spec_paths: list[tuple[Any, ...]], error: Exception) -> str:
    """Names the places at which a spec tree and a parameter tree differ."""
    paths = [path for path, _ in jax.tree_util.tree_leaves_with_path(params)]
    lost = [p for p in paths if not any(p[: len(s)] == s for s in spec_paths)]
    extra = [s for s in spec_paths if not any(p[: len(s)] == s for p in paths)]
    text = "the spec does not fit the parameters"
    if lost:
        text += f"; parameters without a place in the spec: {_listed(_name(p) for p in lost)}"
    if extra:
        text += f"; places of the spec without a parameter: {_listed(_name(p) for p in extra)}"
    if not lost and not extra:
        kinds = str(error).split(", got")[0].split(", value")[0]  # what follows is the weights
        text += f" in the kind of container: {kinds}"
    return text + ". Make the spec from these very parameters: make_spec(params, format)"


def raise_problems(weights: Iterable[Weights]) -> None:
    """Raises ValueError listing every array that its format cannot store.

    What can be known of shapes and types is checked always; whether numbers are finite only
    outside jit.
    """
    weights = [w for w in weights if w.format is not None]
    problems = [f"{w.path}: {problem}" for w in weights if (problem := _problem_with(w))]
    if problems:
        raise ValueError(f"these parameters do not fit their formats: {_listed(problems)}")
    known = [
        (where, array)
        for w in weights
        for where, array in ((w.path, w.leaf), *_trained(w))
        if not isinstance(array, jax.core.Tracer | jax.ShapeDtypeStruct)
    ]
    if not known:
        return
    try:
        with jax.ensure_compile_time_eval():  # arrays that a jitted function closes over, too
            finite = np.asarray(_are_finite([array for _, array in known]))
    except jax.errors.TracerArrayConversionError:  # nor can it be known inside shard_map
        return
    broken = [where for (where, _), fine in zip(known, finite, strict=True) if not fine]
    if broken:
        raise ValueError(
            f"NaN or infinite numbers in {_listed(broken)}: only finite ones can be quantized; "
            "look at the step that made them (jax.config.update('jax_debug_nans', True) stops "
            "there)"
        )


def raise_if_traced(weights: Iterable[Weights], function: str) -> None:
    """Raises TypeError if an array is traced, for functions that compute outside of JAX."""
    for w in weights:
        for where, array in [(w.path, w.leaf), *_trained(w)] if w.format is not None else []:
            if isinstance(array, jax.core.Tracer):
                raise TypeError(
                    f"{where} is traced by jit or another transformation of JAX, but {function} "
                    "needs concrete arrays: call it outside jit"
                )


def _problem_with(weights: Weights) -> str | None:
    leaf, fmt = weights.leaf, weights.format
    if not _is_floating(leaf):
        shown = numerics.shortened(leaf)
        kind = f"{leaf.dtype} array" if _is_array(leaf) else f"{type(leaf).__name__} {shown}"
        return (
            f"a {kind} cannot be quantized: weights are floating-point arrays; convert it, or "
            "put None in its place in the spec"
        )
    assert fmt is not None
    try:
        return fmt.problem_with(tuple(leaf.shape), jax.dtypes.canonicalize_dtype(leaf.dtype))
    except TypeError as error:  # no type of this kind can be computed with
        return str(error)


def _trained(weights: Weights) -> list[tuple[str, Any]]:
    """What the format of these weights trains."""
    return [
        (f"{_name(path)} of the format at {weights.path}", leaf)
        for path, leaf in jax.tree_util.tree_leaves_with_path(weights.format)
    ]


@jax.jit
def _are_finite(arrays: list[jax.Array]) -> jax.Array:
    # By a sum of zeros: XLA's maximum passes over NaN on a CPU, and isfinite takes more memory.
    return jnp.stack([jnp.sum(jnp.asarray(x) * 0) == 0 for x in arrays])


def _name(path: tuple[Any, ...]) -> str:
    return jax.tree_util.keystr(path) or "(the whole tree)"


def _listed(items: Iterable[str]) -> str:
    items = list(items)
    more = f", and {len(items) - _MAX_LISTED} more" if len(items) > _MAX_LISTED else ""
    return "; ".join(items[:_MAX_LISTED]) + more
