"""What a network costs: shifts of each layer's filters, mean k, storage, as plain numbers."""

import math
from typing import Any

import jax
import numpy as np

from flightnn_jax import quantize
from flightnn_jax import spec as specs

PyTree = Any


def census(params: PyTree, spec: PyTree) -> dict[str, Any]:
    """Counts the terms that every filter stores; not for use inside jit.

    Args:
      params: parameters.
      spec: a spec tree for them.

    Returns:
      mean_k: terms a filter has on average, over all filters in shift formats; None without.
      mean_k_of_weights: likewise over all weights, so these take 4 * mean_k_of_weights bits each.
      storage_bits: of all kernels, arrays with two or more axes: the paper's storage column.
      other_bits: of biases and batch norm.
      layers: for each array in a shift format, by its name: filters, mean_k, share (of the
        filters at 0, 1, 2, ... terms), thresholds ([k]; None without, or if each filter has its
        own).

    Example:
      >>> import jax.numpy as jnp
      >>> from flightnn_jax import Shift
      >>> spec = {"kernel": Shift(k=2, thresholds=jnp.array([0.0, 0.1]))}
      >>> found = census({"kernel": jnp.array([[0.75, 0.5], [0.3, -0.25]])}, spec)
      >>> found["mean_k"], found["storage_bits"], found["layers"]["kernel"]["share"]
      (1.5, 24, [0.0, 0.5, 0.5])
    """
    storage = quantize.storage_bits(params, spec)
    float_kernels = sum(
        8 * w.leaf.nbytes
        for w in specs.match(params, spec)
        if w.format is None and np.ndim(w.leaf) > 1
    )
    counts = jax.tree.leaves(
        quantize.count_shifts(params, spec), is_leaf=lambda x: hasattr(x, "k_eff") or x is None
    )
    paths = [path for path, _ in jax.tree_util.tree_leaves_with_path(params)]
    layers: dict[str, Any] = {}
    ks, sizes = [np.zeros(0, int)], [np.zeros(0, int)]
    for path, found, count in zip(paths, specs.match(params, spec), counts, strict=True):
        if count is None:
            continue
        k = np.asarray(count.k_eff)
        share = np.bincount(k, minlength=found.format.k + 1) / k.size  # type: ignore[union-attr]
        layers[jax.tree_util.keystr(path, simple=True, separator="/")] = {
            "filters": k.size,
            "mean_k": float(np.mean(k)),
            "share": share.tolist(),
            "thresholds": _thresholds(found.format),
        }
        ks.append(k)
        sizes.append(np.full(k.size, math.prod(found.leaf.shape) // k.size))
    k, size = np.concatenate(ks), np.concatenate(sizes)
    return {
        "mean_k": float(np.mean(k)) if k.size else None,
        "mean_k_of_weights": float(np.average(k, weights=size)) if k.size else None,
        "storage_bits": storage.quantized + float_kernels,
        "other_bits": storage.floating - float_kernels,
        "layers": layers,
    }


def _thresholds(fmt: Any) -> list[float] | None:
    if fmt.thresholds is None:
        return None
    t = np.asarray(fmt.thresholds, np.float64)
    return t.tolist() if t.ndim == 1 else None
