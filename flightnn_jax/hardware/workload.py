"""What is to be computed: layers with their shapes, formats and the shifts of each filter.

Every cost model reads these records and nothing else. A trained network and a network that is only
planned, with an assumed mean k, become the same records; so does an integer network, with the k
and the certified widths that it has.
"""

import dataclasses
import itertools
import math
from collections.abc import Sequence

from flightnn_jax import networks
from flightnn_jax.integer import certificate, invariants, shapes
from flightnn_jax.integer.network import Convolution, Dense, IntegerNetwork, ShiftWeights

Shape = tuple[int, ...]

MAX_K = 3
"""The largest k of a filter that the quantizer knows."""

ACTIVATION_BITS = 8
"""Of every activation of a quantized network (section 5.1 of the paper)."""

FORMATS = {"full": 32, "fp4": 4, "shift": 4}
"""Weight formats and the bits of a weight; of a term, for shifts (a sign and 3 bits)."""

SCHEMES = {
    "full": ("full", None),
    "fp4": ("fp4", None),
    "lightnn2": ("shift", 2.0),
    "lightnn1": ("shift", 1.0),
    "flightnn": ("shift", None),
}
"""The schemes of the paper's tables: the format, and the k of a filter where it is fixed."""

FLEXIBLE_K = 2
"""The largest k of a FLightNN (section 5.1 of the paper)."""


@dataclasses.dataclass(frozen=True)
class Layer:
    """A convolution or a dense layer.

    Invariants: `k` has an entry for each filter, of 0 to `MAX_K`; it is 1 throughout unless the
    format is "shift", where 0 stands for a filter that is pruned.

    Attributes:
      name: as `networks.walk_weights` calls it.
      kernel_shape: (height, width, inputs, filters), or (inputs, units).
      stride: step of the window in both directions; 1 for a dense layer.
      input_shape: (height, width, channels), or (channels,).
      output_shape: likewise.
      format: "full", "fp4" or "shift".
      k: terms of the weights, filter by filter.
      accumulator_bits: width of the sums. From a certificate where there is one; otherwise
        `worst_accumulator`.
      bits: of a weight, or of one of its terms.
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

    def __post_init__(self) -> None:
        """Checks the invariants."""
        if self.format not in FORMATS:
            raise ValueError(
                f"{self.name}: format {self.format!r} is unknown: choose one of "
                f"{', '.join(FORMATS)}"
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
        low, high = (0, MAX_K) if self.format == "shift" else (1, 1)
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
    def filters(self) -> int:
        """Output channels."""
        return self.kernel_shape[-1]

    @property
    def taps(self) -> int:
        """Products that are summed for one output."""
        return math.prod(self.kernel_shape[:-1])

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
        """The same, counted by term: what a shift does in one go."""
        return self.taps * self.terms * self.positions

    @property
    def weight_bits(self) -> int:
        """Storage of the weights; a term takes `bits`."""
        return self.bits * self.taps * self.terms

    @property
    def activation_bits(self) -> int:
        """Of an input or an output."""
        return 32 if self.format == "full" else ACTIVATION_BITS

    @property
    def map_bits(self) -> int:
        """The layer's input and output for one image."""
        return self.activation_bits * (math.prod(self.input_shape) + math.prod(self.output_shape))


@dataclasses.dataclass(frozen=True)
class Workload:
    """The layers with weights of a network, in the order of computation.

    Attributes:
      name: of the network.
      scheme: of `SCHEMES`; it labels tables and decides nothing.
      layers: at least one, all of one format.
    """

    name: str
    scheme: str
    layers: tuple[Layer, ...]

    def __post_init__(self) -> None:
        """Checks that there is one format."""
        formats = sorted({layer.format for layer in self.layers})
        if len(formats) != 1:
            raise ValueError(
                f"{self.name}: layers in the formats {formats}; a workload has one format and at "
                "least one layer, so cost the parts one by one"
            )

    @property
    def format(self) -> str:
        """Of all weights."""
        return self.layers[0].format

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


def worst_accumulator(kind: str, taps: int, k: int = 1) -> int:
    """Bits of a signed sum that no weights and no input can overflow.

    An activation is at most 2**7 in magnitude, a weight 2**3 in 4-bit fixed point, a term 2**7 in
    units of the smallest power of two; `taps` x `k` products are summed. A trained network's
    certificate gives fewer. Floats are summed in 32 bits.

    Example:
      >>> worst_accumulator("shift", 3 * 3 * 16)  # 144 x 2**14 and a sign
      23
    """
    if kind == "full":
        return 32
    largest = taps * max(k, 1) << (10 if kind == "fp4" else 14)
    return 1 + largest.bit_length()


def spread(mean_k: float, filters: int) -> tuple[int, ...]:
    """Values of k with the mean that is asked for, spread evenly over the filters.

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
      scheme: "full", "fp4", "lightnn2", "lightnn1" or "flightnn".
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
    if scheme not in SCHEMES:
        raise ValueError(f"scheme {scheme!r} is unknown: choose one of {', '.join(SCHEMES)}")
    record = network if isinstance(network, networks.Network) else networks.network(network)
    steps = list(networks.walk_weights(record))
    kind, fixed = SCHEMES[scheme]
    if scheme != "flightnn" and (mean_k is not None or k is not None):
        raise ValueError(
            f"mean_k={mean_k}, k={k}: the scheme {scheme} fixes them; leave them out, or take "
            "flightnn"
        )
    if scheme == "flightnn" and (mean_k is None) == (k is None):
        raise ValueError(
            "flightnn: its k is learned, so say what to assume: either mean_k, 0 to "
            f"{FLEXIBLE_K}, or the k of each filter"
        )
    if mean_k is not None and not 0 <= mean_k <= FLEXIBLE_K:
        raise ValueError(f"mean_k={mean_k} is outside 0 to {FLEXIBLE_K}, the terms of a FLightNN")
    if k is not None and len(k) != len(steps):
        raise ValueError(
            f"{len(k)} rows of k for {len(steps)} layers of {record.name}; give one each"
        )
    layers = []
    for i, step in enumerate(steps):
        shape = step.kernel_shape or ()
        mean = mean_k if fixed is None else fixed
        terms = tuple(k[i]) if k else spread(1.0 if mean is None else mean, shape[-1])
        layers.append(
            Layer(
                name=step.name,
                kernel_shape=shape,
                stride=getattr(step.layer, "stride", 1),
                input_shape=step.input_shape,
                output_shape=step.output_shape,
                format=kind,
                k=terms,
                accumulator_bits=worst_accumulator(kind, math.prod(shape[:-1]), max(terms)),
                bits=FORMATS[kind],
            )
        )
    return Workload(record.name, scheme, tuple(layers))


def from_artefact(network: IntegerNetwork) -> Workload:
    """The workload of an integer network: its own k of each filter, and its certified widths.

    A layer's accumulator is as wide as the widest of its filters needs. The scheme is read off the
    weights: k = 1 or k = 2 throughout is a LightNN, whatever it was trained as.

    Args:
      network: what `invariants.check` accepts; records made by hand are checked here as well.

    Raises:
      IntegerNetworkError: if a certificate is not what the weights prove, or a rule is broken.
      ValueError: if there are no weights, or some are shifts and some are integers.

    Example:
      >>> import numpy as np
      >>> from flightnn_jax.integer.network import Average, ShiftWeights
      >>> one = ShiftWeights(np.ones((1, 3, 1), np.int8), np.zeros((1, 3, 1), np.uint8),
      ...                    np.ones(1, np.uint8))
      >>> dense = Dense("dense", "average", one, -7, np.zeros(1, np.int32), None)
      >>> layers = (Average("average", "image", 2, -7), dense)
      >>> net = IntegerNetwork("sum", (2, 2, 3), layers, 3, None, -14, ("x",), {}, None)
      >>> work = from_artefact(certificate.certified(net))
      >>> work.scheme, work.layers[0].k, work.layers[0].accumulator_bits  # 3 x 128 and a sign
      ('lightnn1', (1,), 10)
    """
    invariants.check(network)
    outputs = shapes.outputs(network)
    layers = tuple(
        _of_artefact(layer, outputs)
        for layer in network.layers
        if isinstance(layer, Convolution | Dense)
    )
    return Workload(network.name, _scheme(layers), layers)


def _scheme(layers: Sequence[Layer]) -> str:
    if all(layer.format == "fp4" for layer in layers):
        return "fp4"
    values = {k for layer in layers for k in layer.k}
    if values == {1}:
        return "lightnn1"
    return "lightnn2" if values == {2} else "flightnn"


def _of_artefact(layer: Convolution | Dense, outputs: dict[str, shapes.Output]) -> Layer:
    weights = layer.weights
    kind, k = "fp4", (1,) * weights.shape[-1]
    if isinstance(weights, ShiftWeights):
        kind, k = "shift", tuple(weights.k.tolist())
    widths = layer.certificate[:, certificate.COLUMNS.index("acc_width")]
    return Layer(
        name=layer.name,
        kernel_shape=weights.shape,
        stride=layer.stride if isinstance(layer, Convolution) else 1,
        input_shape=outputs[layer.input].shape,
        output_shape=outputs[layer.name].shape,
        format=kind,
        k=k,
        accumulator_bits=int(widths.max()),
        bits=FORMATS[kind],
    )


def as_lightnn1(workload: Workload) -> Workload:
    """The same layers with one shift a filter: what measured speeds are anchored on.

    Example:
      >>> as_lightnn1(from_network("net1", "fp4")) == from_network("net1", "lightnn1")
      True
    """
    layers = tuple(
        dataclasses.replace(
            layer,
            format="shift",
            k=(1,) * layer.filters,
            accumulator_bits=worst_accumulator("shift", layer.taps),
            bits=FORMATS["shift"],
        )
        for layer in workload.layers
    )
    return Workload(workload.name, "lightnn1", layers)
