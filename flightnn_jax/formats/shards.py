"""Shards of one array inside `shard_map`, where a device sees its own part alone."""

import jax
import jax.numpy as jnp


def varying_axes(x: jax.Array) -> frozenset[str]:
    """The mesh axes of shard_map over which `x` may differ; JAX has renamed where they stand."""
    aval = jax.typeof(x)
    if hasattr(aval, "manual_axis_type"):
        return aval.manual_axis_type.varying
    return aval.vma


def axes_of(x: jax.Array) -> tuple[str, ...]:
    """The mesh axes over which `x` may be split; with check_vma=False all of shard_map's.

    None at all outside of shard_map: there an array is whole, however it is sharded.
    """
    manual = jax.sharding.get_abstract_mesh().manual_axes
    if not manual:
        return ()
    # An index differs between devices; where JAX does not say so, it says it of no array.
    is_checked = bool(varying_axes(jax.lax.axis_index(manual[0])))
    return tuple(sorted(varying_axes(x) if is_checked else manual))


def with_largest(x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """`x` and max|x| of all its shards; where one has a NaN or an infinity, all become NaN."""
    largest = jnp.max(jnp.abs(x), initial=0)
    axes = axes_of(x)
    if not axes:
        return x, largest
    # By a sum of zeros: XLA's maximum passes over NaN on a CPU.
    largest = jax.lax.pmax(jnp.where(jnp.sum(x * 0) == 0, largest, jnp.inf), axes)
    return jnp.where(jnp.isfinite(largest), x, jnp.nan), largest


def sum_of_all(partial: jax.Array, x: jax.Array) -> jax.Array:
    """The sum of what each shard of `x` contributes."""
    axes = axes_of(x)
    return jax.lax.psum(partial, axes) if axes else partial
