"""Which layers are engines and which are wires: the cheapest for a target. NumPy alone.

A layer is an engine with the cheapest fold that meets the target, or wires of which as few sums
leave at once as meet it. What each takes with all that stands before it, by the formulas, is added
up for every choice of layers that no other choice beats in all resources; of these the one is taken
that needs the least share of the device. For these sums the search is exact. What joins an engine
to wires, beats that are made wider or narrower, is counted as between layers of one kind.
"""

import math

import numpy as np

from flightnn_jax import pareto
from flightnn_jax.fpga import Resources
from flightnn_jax.integer.network import Convolution, Dense, IntegerNetwork
from flightnn_jax.rtl import folding, resources, wiring
from flightnn_jax.rtl.architecture import Convolve, Requantize, Wired
from flightnn_jax.rtl.folding import TargetError
from flightnn_jax.rtl.plan import plan

MAX_WEIGHTS = 1 << 16
"""Of a layer that may become wires: the graph of a larger one takes minutes."""


def cheapest(network: IntegerNetwork, target: int, available: Resources) -> tuple[str, ...]:
    """The layers to make wires of, so that an image takes at most so many cycles.

    Args:
      network: what is computed.
      target: cycles of an image.
      available: what the device has.

    Raises:
      TargetError: if no choice is so fast.
    """
    names = [layer.name for layer in network.weighted]
    engines = folding.possible(network, target)
    wires = {x.name for x in network.weighted if _can_be_wires(network, x, target)}
    slow = [name for name in names if name not in engines | wires]
    if slow:
        raise TargetError(
            f"{network.name}: {target} cycles an image are out of reach: neither an engine nor "
            f"wires compute {slow[0]} so fast; ask for no fewer"
        )
    of_engines = _costs(network, target, [name for name in names if name not in engines])
    of_wires = _costs(network, target, [name for name in names if name in wires])
    have = np.maximum(np.array(available, float), 1)
    chosen: list[tuple[str, ...]] = [()]
    needed = np.zeros((1, len(have)))
    for name in names:
        grown, sums = [], []
        for kind, able, costs in ((0, engines, of_engines), (1, wires, of_wires)):
            if name in able:
                grown += [(*one, name) if kind else one for one in chosen]
                sums.append(needed + costs[name])
        needed = np.concatenate(sums)
        kept = pareto.undominated(needed)
        chosen, needed = [grown[i] for i in kept], needed[kept]
    shares = needed / have
    best = min(range(len(chosen)), key=lambda i: (shares[i].max(), shares[i].sum()))
    return chosen[best]


def _can_be_wires(network: IntegerNetwork, layer: Convolution | Dense, target: int) -> bool:
    """Whether its windows come fast enough, and its graph is not too large to build."""
    small = math.prod(layer.weights.shape) <= MAX_WEIGHTS
    if isinstance(layer, Convolution) and not wiring.has_usual_padding(layer):
        return False
    return small and folding.windows(network, layer) <= target


def _costs(network: IntegerNetwork, target: int, wired: list[str]) -> dict[str, np.ndarray]:
    """By layer [4], in the order of `Resources`: its stages and those between it and the last one.

    What stands behind the last layer with weights is no choice's.
    """
    machine = plan(network, folding.cheapest(network, target, wired), wired)
    found: dict[str, np.ndarray] = {}
    sums: set[str] = set()
    waiting = np.zeros(4)
    for stage in machine.stages:
        waiting = waiting + np.array(resources.of(stage), float)
        if isinstance(stage, Convolve | Wired):
            sums.add(stage.output.name)
        elif isinstance(stage, Requantize) and stage.source.name in sums:
            found[stage.output.name] = waiting
            waiting = np.zeros(4)
    return found
