"""What a training step is compiled for."""

from typing import NamedTuple

import jax

from flightnn_jax import platforms


class Machine(NamedTuple):
    """Hashable. The default is what every program was before there were others: one CPU.

    Attributes:
      platform: of the devices.
      devices: how many there are, over which a batch is spread.
    """

    platform: platforms.Platform = "cpu"
    devices: int = 1

    @classmethod
    def of(cls, mesh: jax.sharding.Mesh) -> "Machine":
        """That of a mesh, whose devices need not be there."""
        return cls(platforms.resolved(mesh.devices.flat[0].platform), mesh.size)


ONE_CPU = Machine()
