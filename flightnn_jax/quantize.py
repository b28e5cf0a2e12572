"""What users call on trees of parameters: quantize, count shifts, count bits."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from flightnn_jax import spec as specs
from flightnn_jax.formats import base, shift

PyTree = Any

# The default of quantize_params: None is a spec too, and says that everything stays float.
EVERY_KERNEL = object()


def quantize_params(
    params: PyTree, spec: PyTree = EVERY_KERNEL, *, filter_axis: int | None = None
) -> PyTree:
    r"""The parameters as their formats can store them.

    A differentiable map from trees to trees, to be applied in the loss, before the model. For
    shift formats it is Q_k(w | t): the gradient passes straight through to the weights, and to
    the thresholds by relaxed gates,

    .. math:: \frac{\partial Q}{\partial t_l} \approx -\sigma'(\|r_l\|_2 - t_l) R(r_l) + \dots

    Inside `shard_map` an array is taken for part of a larger one, split over the axes that it
    varies over (with check_vma=False: over all). The devices exchange its largest weight, so the
    result is that of the whole. With thresholds, a filter must be whole on its device: parts of
    one get gates of their own, and no array shows whether it is a part.

    Args:
      params: parameters of any library, any tree that JAX knows.
      spec: a spec tree for them (see `make_spec`), or one format if `params` is one array; None
        leaves everything as it is. Without it, every kernel (a floating-point array of two or
        more axes) becomes a sum of two powers of two, and the rest stays as it is.
      filter_axis: the axis that counts the filters, when there is no spec: -1, the default, for
        Flax and Haiku; 0 for Equinox and PyTorch.

    Returns:
      A tree like `params`. Each quantized array keeps its shape, type and sharding; arrays of
      NumPy become arrays of JAX, float64 ones float32 unless x64 is enabled.

    Raises:
      ValueError: if the spec does not fit; outside jit, also if a weight or a threshold is not
        finite. Inside jit, such a weight makes its whole array NaN, and a threshold of NaN its
        filters.
      TypeError: if a leaf of the spec is not a format; without a spec, also if there are arrays
        that JAX does not see, see `make_spec`.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> params = {"kernel": jnp.array([[0.7, 0.2], [-0.1, 0.9]]), "bias": jnp.array([0.3, 0.7])}
      >>> quantize_params(params)["kernel"].tolist()
      [[0.75, 0.1875], [-0.09375, 0.875]]
      >>> jax.grad(lambda p: quantize_params(p)["kernel"].sum())(params)["kernel"].tolist()
      [[1.0, 1.0], [1.0, 1.0]]

    Reference: Ding et al., FLightNNs, DAC 2019, section 4.
    """
    if spec is EVERY_KERNEL:
        axis = -1 if filter_axis is None else filter_axis
        spec = specs.make_spec(params, shift.Shift(filter_axis=axis))
    elif filter_axis is not None:
        raise ValueError(
            f"filter_axis={filter_axis} beside a spec: each format of a spec has its own; pass it "
            "there, as in Shift(filter_axis=...)"
        )
    return _map_weights(_quantize_all, params, spec, "quantize_params")


@jax.jit
def _quantize_all(pairs: list[tuple[base.Format, jax.Array]]) -> list[jax.Array]:
    return [fmt.quantize(jnp.asarray(w)) for fmt, w in pairs]


def count_shifts(params: PyTree, spec: PyTree) -> PyTree:
    """How many shifts each filter takes.

    Args:
      params: parameters.
      spec: a spec tree for them.

    Returns:
      A tree like `params` with a `ShiftCounts` (k, k_eff: [filters] int32 each) in place of every
      array in a shift format, and None in place of everything else. Works under jit; an array
      with a weight that is not finite counts as k = 0 there, wherever thresholds decide.

    Example:
      >>> import jax.numpy as jnp
      >>> from flightnn_jax import Shift
      >>> w = jnp.array([[0.75, 0.5], [0.3, -0.25]])
      >>> count_shifts(w, Shift(k=2, thresholds=jnp.array([0.0, 0.1]))).k.tolist()
      [2, 1]
    """
    return _map_weights(_count_all, params, spec, "count_shifts", otherwise=lambda leaf: None)


@jax.jit
def _count_all(pairs: list[tuple[base.Format, jax.Array]]) -> list[base.ShiftCounts | None]:
    return [fmt.count_shifts(jnp.asarray(w)) for fmt, w in pairs]


class Storage(NamedTuple):
    """Bits that a tree of parameters takes.

    Attributes:
      quantized: of all weights that have a format: 4 bits for each term of a 4-bit shift. The
        storage columns of the paper's tables are this number.
      floating: of all arrays that stay as they are, at their own width.
    """

    quantized: int
    floating: int


def storage_bits(params: PyTree, spec: PyTree) -> Storage:
    """Bits of the stored weights, headers apart. Not for use inside jit.

    Example:
      >>> import jax.numpy as jnp
      >>> from flightnn_jax import Shift
      >>> params = {"kernel": jnp.full((3, 3, 8, 16), 0.3), "bias": jnp.ones(16)}
      >>> storage_bits(params, {"kernel": Shift(k=1), "bias": None})
      Storage(quantized=4608, floating=512)
    """
    matched = specs.with_numbers(params, spec, "storage_bits")
    specs.raise_if_traced(matched, "storage_bits")
    quantized = floating = 0
    with jax.ensure_compile_time_eval():  # arrays that a jitted function closes over, too
        for weights in matched:
            if weights.format is not None:
                quantized += weights.format.storage_bits(jnp.asarray(weights.leaf))
            elif hasattr(weights.leaf, "nbytes"):
                floating += 8 * weights.leaf.nbytes
    return Storage(quantized, floating)


def _map_weights(
    f: Callable[[list[tuple[base.Format, Any]]], list[Any]],
    params: PyTree,
    spec: PyTree,
    function: str,
    otherwise: Callable[[Any], Any] = lambda leaf: leaf,
) -> PyTree:
    """A tree like `params`: `f` of all arrays with a format at once, `otherwise` of the rest."""
    matched = specs.with_numbers(params, spec, function)
    done = iter(f([(w.format, w.leaf) for w in matched if w.format is not None]))
    leaves = [next(done) if w.format is not None else otherwise(w.leaf) for w in matched]
    return jax.tree.unflatten(jax.tree.structure(params), leaves)
