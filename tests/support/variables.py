"""Small networks, and what training might leave of them, without training."""

import jax
import numpy as np

from flightnn_jax import networks, schemes
from flightnn_jax.networks import Conv, Dense, GlobalAverage, Network, Residual
from flightnn_jax.training.quantization import spec_of
from flightnn_jax.training.state import TrainState

RESNET = Network(
    "small",
    (8, 8, 3),
    5,
    (
        Conv(4),
        Residual(Conv(4), Conv(4)),
        Residual(Conv(6, stride=2), Conv(6), Conv(6, 1, 2)),
        Residual(Conv(8), Conv(8), Conv(8)),
        GlobalAverage(),
        Dense(5),
    ),
)
NETWORKS = {
    "vgg": networks.network("net4", width=8, classes=5, input_shape=(8, 8, 3)),
    "resnet": RESNET,
    "net8": networks.network("net8", width=8, classes=5, input_shape=(64, 64, 3)),
}


def variables_of(net, seed=0, extreme=False):
    """Random float32 ones: (params, batch_stats, ranges).

    Args:
      net: a record of `networks`.
      seed: of everything.
      extreme: filters of all kinds: no slope, steep, negative, far from zero, hardly any variance.
    """
    rng = np.random.default_rng(seed)
    params, stats, ranges = {}, {}, {}
    for step in networks.walk(net):
        for inner in step.inside or [step]:
            if inner.kernel_shape is None:
                continue
            shape = inner.kernel_shape
            kernel = rng.normal(size=shape) * np.sqrt(2 / np.prod(shape[:-1]))
            params[inner.name] = {"kernel": kernel, "bias": rng.normal(size=shape[-1]) / 4}
            if isinstance(inner.layer, networks.Conv):
                ranges[inner.name] = rng.uniform(1, 6)
            if isinstance(inner.layer, networks.Conv) and inner.layer.norm:
                params[inner.name]["scale"] = rng.normal(1, 0.5, shape[-1])
                mean, spread = rng.normal(size=shape[-1]) / 4, rng.uniform(0.1, 1, shape[-1])
                stats[inner.name] = {"mean": mean, "variance": spread}
        ranges[step.name] = rng.uniform(1, 6)
        if step.inside:
            sums = {inner.name for inner in step.inside[1:]}
            ranges = {name: largest for name, largest in ranges.items() if name not in sums}
    if extreme:
        for name, of_layer in stats.items():
            filters = of_layer["mean"].shape
            params[name]["scale"] *= rng.choice([0, -1, 1, 1e-3, 30], filters)
            params[name]["bias"] *= rng.choice([0, 1, 30], filters)
            of_layer["mean"] *= rng.choice([0, 1, 100], filters)
            of_layer["variance"] *= rng.choice([1e-4, 1, 100], filters)
    return (*jax.tree.map(np.float32, (params, stats)), ranges)


def state_of(net, scheme, seed=0, extreme=False):
    """Those as the state of a training, without an optimizer's."""
    params, stats, ranges = variables_of(net, seed, extreme)
    ranges = {k: np.float32(v) for k, v in ranges.items() if "pool" not in k}
    names = [step.name for step in networks.walk_weights(net)]
    spec = spec_of(schemes.find(scheme), params, layers=names)
    return TrainState(params, spec, stats, ranges, None, np.int32(0))


def images_of(net, count, seed=1):
    """[count, *input_shape] uint8 noise."""
    return np.random.default_rng(seed).integers(0, 256, (count, *net.input_shape), np.uint8)
