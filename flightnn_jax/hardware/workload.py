"""What is to be computed: layers with their shapes, formats and the shifts of each filter.

Every cost model reads these records and nothing else. A trained network and a network that is only
planned, with an assumed mean k, become the same records; so does an integer network, with the k
and the certified widths that it has.
"""

import dataclasses
import itertools
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from flightnn_jax import integer, networks, schemes
from flightnn_jax.hardware import arithmetic as rows
from flightnn_jax.hardware.arithmetic import KINDS, Arithmetic
from flightnn_jax.integer import certificate
from flightnn_jax.rtl import lookups
from flightnn_jax.rtl.lookups import Lookup

Shape = tuple[int, ...]
ANY = -128, 127  # the activations of 8 bits


class Trained(NamedTuple):
    """What is known of a trained layer besides.

    Attributes:
      weights: its own.
      inputs: [channels] what its activations can be.
      two_valued: whether they are -1 and 1, and never 0.
    """

    weights: integer.Weights
    inputs: certificate.Range
    two_valued: bool = False


@dataclasses.dataclass(frozen=True)
class LayerWork:
    """What a convolution or a dense layer computes.

    Invariants: `k` has an entry for each filter, within the arithmetic's `k_range`.

    Attributes:
      name: as `networks.walk_weights` calls it.
      kernel_shape: (height, width, inputs, filters), or (inputs, units).
      stride: step of the window in both directions; 1 for a dense layer.
      input_shape: (height, width, channels), or (channels,).
      output_shape: likewise.
      format: of its weights, one of `arithmetic.KINDS`.
      k: terms of the weights, filter by filter.
      accumulator_bits: width of the sums. From a certificate where there is one; otherwise
        `Arithmetic.accumulator_bits`.
      bits: of a weight, or of one of its terms.
      signs: whether no activation is anything but -1, 0 or 1.
      shared_bits: of what all weights read, such as a table of levels.
      activations: the least and the largest one, where products with levels are looked up.
      trained: its weights; None in a plan. Layers that differ in this alone count as equal: what
        they are computed with does not change what is computed.
    """

    name: str
    kernel_shape: Shape
    stride: int
    input_shape: Shape
    output_shape: Shape
    format: str
    k: tuple[int, ...]
    accumulator_bits: int
    bits: int
    signs: bool = False
    shared_bits: int = 0
    activations: tuple[int, int] = ANY
    trained: Trained | None = dataclasses.field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        if self.format not in KINDS:
            raise ValueError(
                f"{self.name}: format {self.format!r} is unknown: choose one of {', '.join(KINDS)}"
            )
        if len(self.kernel_shape) not in (2, 4) or min(self.kernel_shape) < 1:
            raise ValueError(
                f"{self.name}: kernel_shape {self.kernel_shape} must be (height, width, inputs, "
                "filters) or (inputs, units), each at least 1"
            )
        if len(self.k) != self.filters:
            raise ValueError(
                f"{self.name}: {len(self.k)} values of k for {self.filters} filters; give one each"
            )
        low, high = self.arithmetic.k_range
        wrong = next((k for k in self.k if not low <= k <= high), None)
        if wrong is not None:
            raise ValueError(
                f"{self.name}: k={wrong} of a filter is outside {low} to {high}, the range of the "
                f"format {self.format!r}"
            )
        if min(self.accumulator_bits, self.bits, self.stride) < 1:
            raise ValueError(
                f"{self.name}: accumulator_bits={self.accumulator_bits}, bits={self.bits} and "
                f"stride={self.stride} must be at least 1"
            )

    @property
    def arithmetic(self) -> Arithmetic:
        """What its format takes."""
        return KINDS[self.format]

    @property
    def lookup(self) -> Lookup:
        """How an engine reads numbers of levels, any of which stand for all, and activations."""
        low, high = (np.array([end]) for end in self.activations)
        return lookups.lookup(np.zeros(0, np.int8), self.bits, certificate.Range(low, high))

    @property
    def filters(self) -> int:
        """Output channels."""
        return self.kernel_shape[-1]

    @property
    def groups(self) -> int:
        """Of a convolution, each of which reads its own channels; otherwise 1."""
        return max(1, self.input_shape[-1] // self.kernel_shape[-2])

    @property
    def at_most(self) -> int:
        """Filters that an engine computes at once: of one group, or all of a depthwise layer."""
        depthwise = self.kernel_shape[-2] == 1 and self.groups == self.filters
        return self.filters if depthwise else self.filters // self.groups

    @property
    def active_filters(self) -> int:
        """Filters that are not pruned."""
        return sum(k > 0 for k in self.k)

    @property
    def taps(self) -> int:
        """Products that are summed for one output."""
        return math.prod(self.kernel_shape[:-1])

    @property
    def size(self) -> int:
        """Height and width of the window; 1 of a dense layer."""
        return self.kernel_shape[0] if len(self.kernel_shape) == 4 else 1

    @property
    def positions(self) -> int:
        """Places of the window in an image."""
        return math.prod(self.output_shape[:-1])

    @property
    def terms(self) -> int:
        """One-term filters: the sum of k (figure 3 of the paper)."""
        return sum(self.k)

    @property
    def mean_k(self) -> float:
        """Terms of a filter, on average."""
        return self.terms / self.filters

    @property
    def multiplications(self) -> int:
        """Products of a weight and an activation for one image, padding included."""
        return self.taps * self.filters * self.positions

    @property
    def operations(self) -> int:
        """Products of a term and an activation: one operation of a shift unit each."""
        return self.taps * self.terms * self.positions

    @property
    def weight_bits(self) -> int:
        """Storage of the weights; a term takes `bits`."""
        return self.bits * self.taps * self.terms + self.shared_bits

    @property
    def map_bits(self) -> int:
        """The layer's input and output for one image."""
        values = math.prod(self.input_shape) + math.prod(self.output_shape)
        return self.arithmetic.activation_bits * values


@dataclasses.dataclass(frozen=True)
class Workload:
    """The layers with weights of a network, in the order of computation.

    Attributes:
      name: of the network.
      scheme: of `schemes.SCHEMES`; it labels tables and decides nothing.
      layers: at least one; each has a format of its own.
    """

    name: str
    scheme: str
    layers: tuple[LayerWork, ...]

    def __post_init__(self) -> None:
        if not self.layers:
            raise ValueError(f"{self.name}: no layer has weights; a workload needs at least one")

    @property
    def mean_k(self) -> float:
        """Terms of a filter, on average over all filters."""
        return sum(x.terms for x in self.layers) / sum(x.filters for x in self.layers)

    def largest(self) -> "Workload":
        """The layer with the most weights alone, the last one of several: the paper's choice.

        "We implement the inference of each network's largest convolutional layer" (section 5.2);
        that weights decide, and the last layer where some are equal, is our reading.

        Example:
          >>> [layer.name for layer in from_network("net7", "lightnn1").largest().layers]
          ['block8_second']
        """
        convolutions = [x for x in self.layers if len(x.kernel_shape) == 4] or list(self.layers)
        most = max(math.prod(x.kernel_shape) for x in convolutions)
        layer = [x for x in convolutions if math.prod(x.kernel_shape) == most][-1]
        return Workload(f"{self.name}, {layer.name}", self.scheme, (layer,))


def spread(mean_k: float, filters: int) -> tuple[int, ...]:
    """Values of k with a given mean, spread evenly over the filters.

    Neighbours differ by at most one, and the sum is `mean_k` x `filters`, rounded half up.

    Example:
      >>> spread(1.5, 4)
      (2, 1, 2, 1)
    """
    ends = [math.floor(i * mean_k + 0.5) for i in range(filters + 1)]
    return tuple(after - before for before, after in itertools.pairwise(ends))


def from_network(
    network: networks.Network | str | int,
    scheme: str,
    *,
    mean_k: float | None = None,
    k: Sequence[Sequence[int]] | None = None,
) -> Workload:
    """The workload of a network in one of the paper's schemes, before it is trained.

    Args:
      network: a record, or what `networks.network` takes.
      scheme: of `schemes.SCHEMES`, "lightnn1" say.
      mean_k: for "flightnn", the mean k of every layer's filters, 0 to 2.
      k: for "flightnn" instead, the k of each filter, layer by layer.

    Returns:
      Its layers; accumulators are as wide as the worst weights need.

    Raises:
      ValueError: if the scheme is unknown, or k is missing, out of range, or not wanted.

    Example:
      >>> workload = from_network("net1", "flightnn", mean_k=1.5)
      >>> workload.layers[0].k[:4], sum(layer.weight_bits for layer in workload.layers) / 8
      ((2, 1, 2, 1), 58212.0)
    """
    known = schemes.find(scheme)
    mean = _assumed_k(known, mean_k, k)
    record = network if isinstance(network, networks.Network) else networks.network(network)
    steps = list(networks.walk_weights(record))
    if k is not None and len(k) != len(steps):
        raise ValueError(
            f"{len(k)} rows of k for {len(steps)} layers of {record.name}; give one each"
        )
    layers = []
    for i, step in enumerate(steps):
        stored = known.weights_of(i, len(steps))
        arithmetic = rows.of(stored)
        shape = step.kernel_shape or ()
        terms = tuple(k[i]) if k else spread(mean, shape[-1])
        signs = known.signs and i > 1 and len(shape) == 4  # the average has none
        accumulator_bits = arithmetic.accumulator_bits(
            math.prod(shape[:-1]), max(terms), signs=signs
        )
        layers.append(
            LayerWork(
                name=step.name,
                kernel_shape=shape,
                stride=getattr(step.layer, "stride", 1),
                input_shape=step.input_shape,
                output_shape=step.output_shape,
                format=arithmetic.kind,
                k=terms,
                accumulator_bits=accumulator_bits,
                bits=stored.bits if stored else 32,
                signs=signs,
                shared_bits=8 * stored.levels if stored else 0,
                activations=_levels(known, i, shape),
            )
        )
    return Workload(record.name, scheme, tuple(layers))


def _assumed_k(
    scheme: schemes.Scheme, mean_k: float | None, k: Sequence[Sequence[int]] | None
) -> float:
    """The mean k of a plan, where no k of each filter is given; checks what is given."""
    fixed, largest = _fixed_k(scheme), scheme.weights.k if scheme.weights else 1
    if fixed is not None and (mean_k is not None or k is not None):
        raise ValueError(
            f"mean_k={mean_k}, k={k}: the scheme {scheme.name} fixes them; leave them out, or "
            "take flightnn"
        )
    if fixed is None and (mean_k is None) == (k is None):
        raise ValueError(
            f"{scheme.name}: its k is learned, so say what to assume: either mean_k, 0 to "
            f"{largest}, or the k of each filter"
        )
    if mean_k is not None and not 0 <= mean_k <= largest:
        raise ValueError(f"mean_k={mean_k} is outside 0 to {largest}, the terms of a {scheme.name}")
    return (fixed or 0) if mean_k is None else mean_k


def from_integers(network: integer.IntegerNetwork) -> Workload:
    """The workload of an integer network: its own k of each filter, and its certified widths.

    A layer's accumulator is as wide as the widest of its filters needs. The scheme is read off the
    weights: k = 1 or k = 2 throughout is a LightNN, whatever it was trained as.

    Args:
      network: what `integer.check` accepts; records made by hand are checked here as well.

    Raises:
      IntegerNetworkError: if a certificate is not what the weights prove, or a rule is broken.
      ValueError: if there are no weights.

    Example:
      >>> import numpy as np
      >>> from flightnn_jax.integer import Average, Dense, IntegerNetwork, ShiftWeights
      >>> one = ShiftWeights(np.ones((1, 3, 1), np.int8), np.zeros((1, 3, 1), np.uint8),
      ...                    np.ones(1, np.uint8))
      >>> dense = Dense("dense", "average", one, -7, np.zeros(1, np.int32), None)
      >>> layers = (Average("average", "image", 2, -7), dense)
      >>> net = IntegerNetwork("sum", (2, 2, 3), layers, 3, None, -14, ("x",), {}, None)
      >>> work = from_integers(integer.certified(net))
      >>> work.scheme, work.layers[0].k, work.layers[0].accumulator_bits  # 3 x 128 and a sign
      ('lightnn1', (1,), 10)
    """
    integer.check(network)
    outputs = integer.outputs(network)
    signs = certificate.two_valued(network)
    reads = {name: (reach, name in signs) for name, reach in certificate.reaches(network).items()}
    layers = tuple(_layer_work(x, outputs, *reads[x.input]) for x in network.weighted)
    return Workload(network.name, _scheme(layers), layers)


def _levels(scheme: schemes.Scheme, index: int, shape: Shape) -> tuple[int, int]:
    """What a planned layer reads; the image has no levels, nor has the average."""
    if scheme.levels is None or index == 0 or len(shape) != 4:
        return ANY
    return 0, scheme.levels - 1


def _fixed_k(scheme: schemes.Scheme) -> int | None:
    """The k of every filter; None where it is learned."""
    return None if scheme.flexible else scheme.weights.k if scheme.weights else 1


def _scheme(layers: Sequence[LayerWork]) -> str:
    """The scheme that stores such layers."""
    kinds, values = [x.format for x in layers], {k for x in layers for k in x.k}
    for scheme in schemes.SCHEMES:
        fixed = _fixed_k(scheme)
        own = [rows.of(scheme.weights_of(i, len(kinds))).kind for i in range(len(kinds))]
        if kinds == own and (fixed is None or values == {fixed}):
            return scheme.name
    return "mixed"


def _layer_work(
    layer: integer.Convolution | integer.Dense,
    outputs: dict[str, integer.Output],
    inputs: certificate.Range,
    two_valued: bool,
) -> LayerWork:
    arithmetic = rows.of_integers(layer.weights.kind)
    widths = layer.certificate[:, certificate.COLUMNS.index("acc_width")]
    return LayerWork(
        name=layer.name,
        kernel_shape=layer.weights.shape,
        stride=getattr(layer, "stride", 1),
        input_shape=outputs[layer.input].shape,
        output_shape=outputs[layer.name].shape,
        format=arithmetic.kind,
        k=tuple(layer.weights.passes.tolist()),
        accumulator_bits=int(widths.max()),
        bits=layer.weights.bits,
        signs=certificate.are_signs(inputs),
        shared_bits=layer.weights.shared_bits,
        activations=(
            (int(inputs.low.min()), int(inputs.high.max())) if arithmetic.numbered else ANY
        ),
        trained=Trained(layer.weights, inputs, two_valued),
    )
