r"""Learning from a teacher: a trained network whose logits are learned besides the labels.

.. math:: L = \mathrm{CE} + w\, T^2\, \mathrm{KL}(\mathrm{softmax}(z_t / T) \,\|\,
    \mathrm{softmax}(z / T))

The teacher sees the same augmented images as the network, with its running statistics.

Reference: Hinton et al., Distilling the Knowledge in a Neural Network, 2015.
"""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp

from flightnn_jax.training import scaling

PyTree = Any
Model = Any  # a Flax module such as `models.Model`
TrainState = Any  # of `step`


@functools.partial(
    jax.tree_util.register_dataclass, data_fields=["variables"], meta_fields=["model"]
)
@dataclasses.dataclass(frozen=True)
class Teacher:
    """A trained network, as an argument of the training step.

    Attributes:
      model: static; two teachers of one model share a compiled step.
      variables: its quantized weights, running statistics and ranges.
    """

    model: Model
    variables: PyTree

    def logits(self, images: jax.Array) -> jax.Array:
        """[batch, classes], in float32, whatever the teacher's activations are."""
        return jnp.asarray(self.model.apply(self.variables, images, floats=True))


def teacher_of(model: Model, state: TrainState) -> Teacher:
    """The teacher that a trained state is."""
    return Teacher(model, jax.device_get(scaling.deployed_variables(model, state)))


def divergence(logits: jax.Array, taught: jax.Array, temperature: float) -> jax.Array:
    """T^2 KL(teacher, network), the mean over a batch.

    Args:
      logits: [batch, classes] of the network.
      taught: likewise of the teacher; not differentiable.
      temperature: T, by which both are divided; T^2 keeps gradients as large as without.

    Example:
      >>> z = jnp.array([[0.0, 2.0]])
      >>> [round(float(divergence(z, z + shift, 1.0)), 6) for shift in (0, 5)]
      [0.0, 0.0]
    """
    wanted = jax.nn.log_softmax(jax.lax.stop_gradient(taught) / temperature)
    given = jax.nn.log_softmax(logits / temperature)
    return temperature**2 * jnp.mean(jnp.sum(jnp.exp(wanted) * (wanted - given), axis=-1))
