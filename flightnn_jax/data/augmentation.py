"""What is done to images on the device, within a jitted step."""

import functools

import jax
import jax.numpy as jnp


@functools.partial(jax.jit, static_argnames=("pad", "flip"))
def augment(key: jax.Array, images: jax.Array, *, pad: int, flip: bool) -> jax.Array:
    """Shifts each image at random, with black where nothing was, and mirrors every second one.

    Padding by `pad` and cropping at random are the same as the shift. The result depends on the
    key and the place in the batch only, not on how the batch is spread over devices.

    Args:
      key: fold the step into the run's key: `jax.random.fold_in(key, step)`.
      images: [batch, height, width, channels].
      pad: images move by up to so many pixels in each direction; 0 leaves them in place.
      flip: whether to mirror left and right.

    Returns:
      An array like `images`.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> images = jnp.ones((2, 4, 4, 3), jnp.uint8)
      >>> augment(jax.random.key(0), images, pad=1, flip=True).shape
      (2, 4, 4, 3)
    """
    if pad < 0:
        raise ValueError(f"pad={pad}: images move by 0 pixels or more")
    if not pad and not flip:
        return images
    batch, height, width, _ = images.shape
    shift_key, flip_key = jax.random.split(key)
    shifts = jax.random.randint(shift_key, (batch, 2), -pad, pad + 1)
    mirrored = jax.random.bernoulli(flip_key, 0.5, (batch,)) & flip

    def one(image: jax.Array, shift: jax.Array, mirror: jax.Array) -> jax.Array:
        columns = jnp.arange(width)
        row = jnp.arange(height) + shift[0]
        column = jnp.where(mirror, width - 1 - columns, columns) + shift[1]
        return image.at[row[:, None], column[None, :]].get(
            mode="fill", fill_value=0, wrap_negative_indices=False
        )

    return jax.vmap(one)(images, shifts, mirrored)


def center(images: jax.Array) -> jax.Array:
    """Pixels 0 to 255 as the exact integers -128 to 127 that a network starts from.

    Args:
      images: [...] uint8.

    Returns:
      [...] int8; a model divides them by 128.

    Example:
      >>> center(jnp.array([0, 128, 255], jnp.uint8)).tolist()
      [-128, 0, 127]
    """
    if images.dtype != jnp.uint8:
        raise TypeError(f"images of type {images.dtype}: pixels are uint8, from 0 to 255")
    return jax.lax.bitcast_convert_type(images ^ jnp.uint8(128), jnp.int8)
