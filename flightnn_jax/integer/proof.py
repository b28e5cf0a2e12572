"""Proofs of a file: its own examples, run, and the run that it came from, lowered again."""

from collections.abc import Callable

import numpy as np

from flightnn_jax.integer import digests, inference, manifest
from flightnn_jax.integer.network import IntegerNetwork


def differences(
    network: IntegerNetwork,
    make: Callable[[IntegerNetwork], digests.Run] = inference.make_layer_outputs,
) -> list[str]:
    """What a network's own examples say otherwise than it computes; nothing for a right one.

    Args:
      network: that `check` accepts.
      make: makes the function from images to every layer's output that computes it.

    Returns:
      A line for each layer whose golden outputs or digests are wrong, in the order of the layers.

    Example:
      >>> from flightnn_jax.integer import Average, Golden
      >>> outputs = {"mean": np.array([[71]], np.int32)}
      >>> golden = Golden(np.full((1, 1, 1, 1), 200, np.uint8), outputs)
      >>> layers = (Average("mean", "image", None, -7),)
      >>> network = IntegerNetwork("grey", (1, 1, 1), layers, 3, None, -7, ("grey",), {}, golden)
      >>> differences(network)
      ['mean: golden image 0 at (0,) has 71, and 72 is computed']
    """
    golden = network.golden
    if golden is None:
        return []
    run = make(digests.with_sums(network))
    computed = {name: np.asarray(output) for name, output in run(golden.images).items()}
    wanted = network.digests
    anew = None if wanted is None else digests.of(network, run, wanted.images, wanted.seed)
    wrong = []
    for layer in network.layers:
        name, given = layer.name, golden.outputs[layer.name]
        places = np.argwhere(given != computed[name])
        if len(places):
            number, *at = (int(i) for i in places[0])
            place = (number, *at)
            wrong.append(
                f"{name}: golden image {number} at {tuple(at)} has {given[place]}, and "
                f"{computed[name][place]} is computed"
            )
        if wanted is not None and anew is not None:
            wrong += [
                f"{name}: the digest of its {what} over {wanted.images} images is another one than "
                "the network gives"
                for what in ("sums", "outputs")
                if getattr(wanted, what).get(name) != getattr(anew, what).get(name)
            ]
    return wrong


_COMPARED = ("input_shape", "output_exponent", "slope", "affine", "affine_terms", "layers")


def unlike(network: IntegerNetwork, other: IntegerNetwork) -> list[str]:
    """Where two networks compute otherwise: entries and tensors that differ, in order.

    Names, labels, provenance and examples may be others.

    Args:
      network: that `check` accepts, such as one from a file.
      other: what it is compared with, such as what a run is lowered to.

    Example:
      >>> import dataclasses
      >>> from flightnn_jax.integer import Average
      >>> sums = Average("mean", "image", None, -7)
      >>> network = IntegerNetwork("grey", (2, 2, 1), (sums,), 3, None, -7, ("grey",), {}, None)
      >>> unlike(network, dataclasses.replace(network, name="brightness", slope=2))
      ['slope: 3, and the other has 2']
    """
    (fields, tensors), (others, other_tensors) = map(manifest.describe, (network, other))
    lines = [
        f"{name}: {fields[name]!s:.200}, and the other has {others[name]!s:.200}"
        for name in _COMPARED
        if fields[name] != others[name]
    ]
    for name in dict.fromkeys([*tensors, *other_tensors]):
        ours, theirs = tensors.get(name), other_tensors.get(name)
        if name.startswith("golden."):
            continue
        if ours is None or theirs is None or ours.shape != theirs.shape:
            shapes = ("none" if x is None else f"shape {x.shape}" for x in (ours, theirs))
            lines.append(f"{name}: {next(shapes)}, and the other has {next(shapes)}")
        elif np.any(ours != theirs):
            at = tuple(int(i) for i in np.argwhere(ours != theirs)[0])
            lines.append(f"{name}: {ours[at]} at {at}, and the other has {theirs[at]}")
    return lines


def as_trained(network: IntegerNetwork) -> str | None:
    """A line for people about the accuracy that its run had, or None if it does not say.

    Args:
      network: whose provenance says it.
    """
    accuracy = network.provenance.get("accuracy_as_trained")
    images = network.provenance.get("images_evaluated")
    if accuracy is None:
        return None
    where = "the test split" if images is None else f"the first {images} images of the test split"
    return f"accuracy as trained {100 * accuracy:.2f} % on {where}"
