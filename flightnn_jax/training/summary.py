"""What a network costs: shifts of each layer's filters, mean k, storage; as numbers and as text."""

import math
from typing import Any

import jax
import numpy as np

from flightnn_jax import quantize
from flightnn_jax import spec as specs
from flightnn_jax.formats import base

PyTree = Any


def count(params: PyTree, spec: PyTree) -> dict[str, Any]:
    """Counts the terms that every filter stores; not for use inside jit.

    Args:
      params: parameters.
      spec: a spec tree for them.

    Returns:
      mean_k: terms a filter has on average, over all filters whose format counts shifts; None
        without any.
      mean_k_of_weights: likewise over all weights, so these take 4 * mean_k_of_weights bits each.
      storage_bits: of all kernels, arrays with two or more axes: the paper's storage column.
      other_bits: of biases and batch norm.
      layers: for each array whose format counts shifts, by its name: filters, mean_k, share (of
        the filters at 0, 1, 2, ... terms), thresholds ([k]; None without, or if each filter has
        its own).

    Example:
      >>> import jax.numpy as jnp
      >>> from flightnn_jax import Shift
      >>> spec = {"kernel": Shift(k=2, thresholds=jnp.array([0.0, 0.1]))}
      >>> counts = count({"kernel": jnp.array([[0.75, 0.5], [0.3, -0.25]])}, spec)
      >>> counts["mean_k"], counts["storage_bits"], counts["layers"]["kernel"]["share"]
      (1.5, 24, [0.0, 0.5, 0.5])
    """
    storage = quantize.storage_bits(params, spec)
    matched = specs.match(params, spec)
    float_kernels = sum(
        8 * w.leaf.nbytes for w in matched if w.format is None and np.ndim(w.leaf) > 1
    )
    shifts = jax.tree.leaves(quantize.count_shifts(params, spec), is_leaf=_is_count)
    paths = [path for path, _ in jax.tree_util.tree_leaves_with_path(params)]
    layers: dict[str, Any] = {}
    ks, sizes = [np.zeros(0, int)], [np.zeros(0, int)]
    for path, w, of_layer in zip(paths, matched, shifts, strict=True):
        if of_layer is None:
            continue
        k = np.asarray(of_layer.k_eff)
        layers[jax.tree_util.keystr(path, simple=True, separator="/")] = {
            "filters": k.size,
            "mean_k": float(np.mean(k)),
            "share": (np.bincount(k, minlength=_max_k(w) + 1) / k.size).tolist(),
            "thresholds": _thresholds(w.format),
        }
        ks.append(k)
        sizes.append(np.full(k.size, math.prod(w.leaf.shape) // k.size))
    k, size = np.concatenate(ks), np.concatenate(sizes)
    return {
        "mean_k": float(np.mean(k)) if k.size else None,
        "mean_k_of_weights": float(np.average(k, weights=size)) if k.size else None,
        "storage_bits": storage.quantized + float_kernels,
        "other_bits": storage.floating - float_kernels,
        "layers": layers,
    }


def _is_count(node: Any) -> bool:
    return node is None or isinstance(node, base.ShiftCounts)


def _max_k(w: specs.Weights) -> int:
    """The terms that a filter may have, as far as its format says."""
    assert w.format is not None
    norms = jax.eval_shape(w.format.residual_norms, w.leaf)
    return 0 if norms is None else norms.shape[0]


def _thresholds(fmt: base.Format | None) -> list[float] | None:
    if fmt is None or fmt.thresholds is None:
        return None
    t = np.asarray(fmt.thresholds, np.float64)
    return t.tolist() if t.ndim == 1 else None


def text(record: dict[str, Any]) -> str:
    """The record of a run, what `runs.train` returns, as a few lines for people."""
    lines = [
        f"{record['scheme']}: test accuracy {100 * record['test']['top1']:.2f} %, top 5 "
        f"{100 * record['test']['top5']:.2f} %; weights {record['storage_bits'] / 8e3:.1f} kB"
    ]
    reason = record["test"].get("float_reason")
    if reason is not None and record["config"]["scheme"] != "full":
        lines.append(f"not on integers but on floats: {reason}")
    if record["mean_k"] is not None:
        lines.append(f"mean k {record['mean_k']:.3f}; filters at 0, 1, 2, ... terms by layer:")
        for name, layer in record["layers"].items():
            share = "  ".join(f"{100 * part:5.1f} %" for part in layer["share"])
            lines.append(f"  {name:24}{layer['filters']:6} filters  {share}")
    return "\n".join(lines)
