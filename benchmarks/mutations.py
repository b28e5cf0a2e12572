"""Mutates files of integer networks, and compares what the two readers say of them.

    python -m benchmarks.mutations --files=100000

Bytes are changed under the old digest; entries, tensors and single numbers under one that fits,
the latter with certificates that fit too. `integer` loads each file and runs its own examples; so
does `checker`. Prints what both say, disagreements (there must be none), and the largest seconds
of the processor and memory. What both accept though it has other integers is run on 64 further
images. Each seed has other files. Runs from the repository, for it shares the tests' mutations.
"""

import argparse
import collections
import dataclasses
import json
import resource
import time
from collections.abc import Callable

import numpy as np

from benchmarks import faults
from flightnn_jax import integer
from flightnn_jax.checker import checker, container, reader
from flightnn_jax.integer import IntegerNetwork, digests, files, inference, proof
from flightnn_jax.integer.inference import float32
from tests.support import integer_files, mutations, networks_at_random
from tests.support.integers_writer import NETS, of_version_1, write

Mutate = Callable[[np.random.Generator, bytes], bytes]


def main() -> None:
    """Mutates and counts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    flags = parser.parse_args()
    rng = np.random.default_rng(flags.seed)
    kinds: list[Mutate] = [mutations.mutated_bytes, mutations.mutated_parts, mutated_number]
    originals = list(map(Original, original_files()))
    counts: collections.Counter[str] = collections.Counter()
    slowest, memory = 0.0, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for i in range(flags.files):
        original = originals[rng.integers(len(originals))]
        data = kinds[i % 3](rng, original.data)
        verdict, seconds = original.verdict(data)
        counts[f"{kinds[i % 3].__name__}: {verdict}"] += 1
        slowest = max(slowest, seconds)
        if verdict.startswith("WRONG"):
            print(f"file {i} of seed {flags.seed}: {verdict}", flush=True)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory
    print(json.dumps(dict(sorted(counts.items())), indent=1))
    print(f"slowest reading {slowest:.3f} s, memory grown by {grown / 1024:.0f} MB in all")


def original_files() -> list[bytes]:
    """Small files of both versions, with and without examples."""
    made = [
        networks_at_random.random_network(kind="vgg", weights="shift2", width=2, size=4),
        networks_at_random.random_network(2, kind="resnet", weights="integer", width=2),
        networks_at_random.random_chain(1, (12,)),
        networks_at_random.random_chain(3, (5, 3, 1)),
    ]
    originals = [files.to_bytes(network) for network in made]
    originals += [files.to_bytes(with_examples(network)) for network in made]
    for make in NETS.values():
        net = make()
        image = np.full(net.manifest["input_shape"], 99).tolist()
        is_new = net.manifest["version"] > 2  # no older version has its kind of weights
        originals += [write(net if is_new else of_version_1(net), [image])]
    return originals


def with_examples(network: IntegerNetwork, images: int = digests.IMAGES) -> IntegerNetwork:
    """The network with a golden image, and digests."""
    golden = networks_at_random.random_images(network, 1)
    run = inference.make_layer_outputs(digests.with_sums(network), "shifts")
    values = {name: np.asarray(value) for name, value in run(golden).items()}
    outputs = {layer.name: values[layer.name] for layer in network.layers}
    network = dataclasses.replace(network, golden=integer.Golden(golden, outputs))
    return dataclasses.replace(network, digests=digests.of(network, run, images))


def mutated_number(rng: np.random.Generator, data: bytes) -> bytes:
    """A fault that breaks no rule; the file says that its examples are as they were."""
    while True:
        wrong = faults.planted(rng, files.from_bytes(data), str(rng.choice(faults.KINDS)))
        if wrong is not None:
            return files.to_bytes(wrong)


class Original:
    """A right file, and what is said of its mutations."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.network = files.from_bytes(data)

    def verdict(self, data: bytes) -> tuple[str, float]:
        """What both readers say of a file, and the seconds of the processor of the slower one."""
        start = time.process_time()
        try:
            network = files.from_bytes(data)
        except integer.IntegerNetworkError:
            network = None
        middle = time.process_time()
        try:
            theirs = not checker.check(reader.read(data))
        except container.FileError:
            theirs = False
        seconds = max(middle - start, time.process_time() - middle)
        ours = network is not None and self._proves_itself(network)
        if ours != theirs:
            return f"WRONG: integer {ours}, checker {theirs}", seconds
        if network is None or not ours:
            return "refused", seconds
        if network.golden is None or not proof.unlike(network, self.network):
            return "accepted", seconds
        images = np.stack([digests.image(network.golden.images, 99, j) for j in range(64)])
        given, right = (_outputs(n)(images) for n in (network, self.network))
        same = given.keys() == right.keys() and all(
            np.array_equal(given[n], right[n]) for n in right
        )
        what = "equal" if same else "other"
        known = "digests" if network.digests is not None else "golden images alone"
        return f"accepted, {what} outputs on further images ({known})", seconds

    def _proves_itself(self, network: IntegerNetwork) -> bool:
        """Runs its examples, where they or the network are not the original's."""
        examples = (network.golden, network.digests)
        own = (self.network.golden, self.network.digests)
        same = not proof.unlike(network, self.network) and _same(examples, own)
        return same or not proof.differences(network, _outputs)


def _outputs(network: IntegerNetwork) -> digests.Run:
    """The float32 form, which compiles once for a structure; the reference where it has none."""
    try:
        return float32.function_of(network)
    except integer.IntegerNetworkError:
        return inference.make_layer_outputs(network, "shifts")


def _same(first: object, second: object) -> bool:
    try:
        integer_files.assert_same(first, second)
    except AssertionError:
        return False
    return True


if __name__ == "__main__":
    main()
