"""From an integer network and its folds to the stages that compute it. NumPy alone."""

import dataclasses
import math
from collections import Counter
from collections.abc import Collection, Mapping

import numpy as np

from flightnn_jax.integer import certificate, shapes
from flightnn_jax.integer import network as networks
from flightnn_jax.integer.certificate import Bounds, Range
from flightnn_jax.integer.limits import IMAGE, Shape
from flightnn_jax.integer.network import IntegerNetwork
from flightnn_jax.rtl import constants, orders, wiring
from flightnn_jax.rtl.architecture import (
    Add,
    Average,
    Fold,
    Fork,
    Machine,
    Pool,
    Queue,
    Reorder,
    Repack,
    Stage,
    Stream,
    WindowPool,
)


class FoldError(ValueError):
    """A fold that a layer cannot have: the value, the rule and what to do."""


def plan(
    network: IntegerNetwork,
    folds: Mapping[str, Fold] | None = None,
    wired: Collection[str] = (),
) -> Machine:
    """The machine, without its queues: `queues.with_queues` gives them their depths.

    Args:
      network: a valid one.
      folds: of convolutions and dense layers by name, one of everything by default; `out` of the
        fold of 'image' is how many values come in a cycle.
      wired: convolutions and dense layers whose weights are wires. Of their folds `out` alone
        counts: the others are everything at once.

    Raises:
      FoldError: if there is no such layer, or it cannot have such a fold.

    Example:
      >>> from flightnn_jax.integer import Average as Mean, MaxPool
      >>> layers = (MaxPool("pool1", "image"), Mean("average", "pool1", None, -7))
      >>> network = IntegerNetwork("mean", (2, 2, 1), layers, 3, None, -7, ("grey",), {}, None)
      >>> [(type(stage).__name__, stage.output.name) for stage in plan(network).stages]
      [('Pool', 'pool1'), ('Average', 'average')]
    """
    return _Planner(network, checked(network, folds or {}, wired), wired).machine()


def checked(
    network: IntegerNetwork, folds: Mapping[str, Fold], wired: Collection[str] = ()
) -> dict[str, Fold]:
    """The fold of every convolution and dense layer, and of the image."""
    layers = {layer.name: layer for layer in network.weighted}
    filters = {name: layer.weights for name, layer in layers.items()}
    folds = dict(folds)
    for name in filters.keys() & set(wired):
        *_, inputs, lanes = filters[name].shape
        terms = max(int(filters[name].passes.max(initial=0)), 1)
        folds[name] = Fold(lanes, inputs, terms, folds.get(name, Fold()).out)
    unknown = sorted({*folds, *wired} - {IMAGE, *filters})
    if unknown:
        raise FoldError(
            f"fold of {', '.join(unknown)}: there is no such layer with weights; choose of "
            f"{', '.join([IMAGE, *filters])}"
        )
    found = {}
    for name in (IMAGE, *filters):
        fold = folds.get(name, Fold())
        limits = (1, 1, 1, network.input_shape[-1])
        if name != IMAGE:
            *_, inputs, lanes = filters[name].shape
            limits = (lanes, inputs, max(int(filters[name].passes.max(initial=0)), 1), fold.lanes)
        for field, value, most in zip(Fold._fields, fold, limits, strict=True):
            if not 1 <= value <= most:
                raise FoldError(f"fold of {name}: {field}={value} must be from 1 to {most}")
        if name in layers and name not in wired:
            _check_group(layers[name], fold)
        whole = network.input_shape[-1] if name == IMAGE else fold.lanes
        if whole % fold.out:
            raise FoldError(
                f"fold of {name}: out={fold.out} must divide {whole}, the "
                f"{'channels' if name == IMAGE else 'lanes'}: they leave in whole beats"
            )
        found[name] = fold
    return found


def _check_group(layer: networks.Convolution | networks.Dense, fold: Fold) -> None:
    """Raises FoldError where a pass would be of two groups, or a word of inputs."""
    if not orders.is_grouped(layer):
        return
    most, inputs = orders.most_lanes(layer), layer.weights.shape[-2]
    if not orders.has_own(layer) and most % fold.lanes:
        raise FoldError(
            f"fold of {layer.name}: lanes={fold.lanes} must divide {most}, the filters of a group: "
            "a pass is of one group"
        )
    if inputs % fold.inputs:
        raise FoldError(
            f"fold of {layer.name}: inputs={fold.inputs} must divide {inputs}, the channels of a "
            "group: a word is of one group"
        )


def _check_wires(network: IntegerNetwork, wired: Collection[str]) -> None:
    """Raises FoldError for a layer that cannot be wires."""
    for layer in network.weighted:
        plain = not isinstance(layer, networks.Convolution) or wiring.has_usual_padding(layer)
        if layer.name in wired and not plain:
            raise FoldError(
                f"{layer.name}: no wires compute a convolution with padding of its own: leave the "
                "layer to an engine, as --style=engine does, or --wired without it"
            )


class _Planner:
    """Makes stages layer by layer."""

    def __init__(
        self, network: IntegerNetwork, folds: dict[str, Fold], wired: Collection[str]
    ) -> None:
        _check_wires(network, wired)
        self.network, self.folds, self.wired = network, folds, wired
        self.outputs = shapes.outputs(network)
        self.bounds = certificate.bounds(network)
        self.reaches = certificate.reaches(network)
        self.orders = orders.orders(network, folds)
        self.stages: list[Stage] = []
        self.names = {IMAGE, *self.outputs}
        readers = Counter(name for layer in network.layers for name in layer.inputs)
        self.readers = readers
        self.waiting: dict[str, list[Stream]] = {}  # streams of a tensor that nothing reads yet

    def machine(self) -> Machine:
        """The stages of all layers."""
        shape = _three(self.network.input_shape)
        image = Stream(IMAGE, shape, 8, self.folds[IMAGE].out, self.orders[IMAGE])
        self._written(IMAGE, image)
        layers = {}
        for layer in self.network.layers:
            inputs = [self.waiting[name].pop(0) for name in layer.inputs]
            layers[layer.name] = self._layer(layer, inputs)
            self._written(layer.name, layers[layer.name])
        self._in_order(layers[self.network.layers[-1].name])
        return Machine(self.network.name, tuple(self.stages), image, layers, self.folds)

    def _layer(self, layer: networks.Layer, inputs: list[Stream]) -> Stream:
        if isinstance(layer, networks.Convolution | networks.Dense):
            return self._weighted(layer, inputs[0])
        if isinstance(layer, networks.Add):
            return self._add(layer, inputs)
        (source,) = inputs
        if isinstance(layer, networks.MaxPool):
            output = self._like(source, layer.name, layer.name)
            if layer.is_plain:
                return self._stage(Pool, source, output)
            return self._stage(WindowPool, source, output, layer.size, layer.stride, layer.padding)
        if isinstance(layer, networks.Flatten):
            # The same beats: with whole ones alone, pixels are beside each other as channels.
            source = self._repacked(source, math.gcd(source.values, source.shape[2]))
            shape = _three(self.outputs[layer.name].shape)
            return dataclasses.replace(source, shape=shape, order=self.orders[layer.name])
        assert isinstance(layer, networks.Average)
        proven = self.bounds[layer.name]
        up = max(0, -(layer.shift or 0))
        sums = Range(proven.table[:, 0] >> up, proven.table[:, 1] >> up)
        bits = max(_bits(sums), source.bits)
        if layer.shift is None:
            output = self._like(source, layer.name, layer.name, bits=bits)
            return self._stage(Average, source, output)
        total = self._like(source, self._name(f"{layer.name}_sums"), layer.name, bits=bits)
        self._stage(Average, source, total)
        ones = np.ones(total.shape[2], np.int64)
        shift = ones * max(0, layer.shift)
        affine = networks.Affine(ones << up, 0 * ones, *sums)
        return self._requantize(total, layer.name, affine, sums, proven, shift, 0)

    def _weighted(self, layer: networks.Convolution | networks.Dense, source: Stream) -> Stream:
        fold = self.folds[layer.name]
        proven = self.bounds[layer.name]
        at_once = fold.inputs * (fold.lanes if orders.has_own(layer) else 1)
        source = self._repacked(source, source.shape[2] if layer.name in self.wired else at_once)
        name = self._name(f"{layer.name}_sums")
        shape = _three(self.outputs[layer.name].shape)
        bits = _bits(proven.accumulators)
        output = Stream(name, shape, bits, fold.out, self.orders[layer.name])
        if layer.name in self.wired:
            self.stages.append(wiring.stage(self.network, layer, source, output))
        else:
            reach = self.reaches[layer.input]
            self.stages.append(constants.convolution(layer, source, output, fold, reach))
        if isinstance(layer, networks.Dense):
            ones = np.ones(shape[2], np.int64)
            affine = networks.Affine(ones, layer.bias, *proven.accumulators)
            return self._requantize(
                output, layer.name, affine, proven.accumulators, proven, None, 0
            )
        return self._requantize(
            output,
            layer.name,
            layer.affine,
            proven.accumulators,
            proven,
            layer.shift,
            layer.slope_of(self.network.slope),
        )

    def _add(self, layer: networks.Add, inputs: list[Stream]) -> Stream:
        values = max(stream.values for stream in inputs)
        first, second = (self._repacked(stream, values) for stream in inputs)
        proven = self.bounds[layer.name]
        v = Range(proven.table[:, 0], proven.table[:, 1])
        output = self._like(first, self._name(f"{layer.name}_sums"), layer.name, bits=_bits(v))
        lift = [None if row is None else row.astype(np.int64)[output.order] for row in layer.lift]
        self.stages.append(Add(output.name, (first, second), (output,), (lift[0], lift[1])))
        ones = np.ones(output.shape[2], np.int64)
        affine = networks.Affine(ones, 0 * ones, *v)
        return self._requantize(
            output, layer.name, affine, v, proven, layer.shift, self.network.slope
        )

    def _requantize(
        self,
        source: Stream,
        name: str,
        affine: networks.Affine,
        sums: Range,
        proven: Bounds,
        shift: np.ndarray | None,
        slope: int,
    ) -> Stream:
        """The affine map and the activation behind sums; without either the sums themselves."""
        columns = (4, 5) if proven.table.shape[1] > len(certificate.ADD_COLUMNS) else (0, 1)
        v = _bits(Range(*(proven.table[:, column] for column in columns)))
        output = self._like(source, name, name, bits=v if shift is None else 8)
        by_powers = self.network.affine_terms is not None
        made = constants.requantize(source, output, affine, sums, v, shift, slope, by_powers)
        self.stages.append(made)
        return output

    def _written(self, name: str, stream: Stream) -> None:
        """A tensor is there: with several readers it is forked, and each has a queue."""
        count = self.readers[name]
        if count == 1:
            self.waiting[name] = [stream]
        if count <= 1:
            return
        branches = tuple(
            dataclasses.replace(stream, name=self._name(f"{name}_{i}")) for i in range(count)
        )
        self.stages.append(Fork(self._name(f"{name}_fork"), (stream,), branches))
        self.waiting[name] = [
            self._stage(
                Queue,
                branch,
                dataclasses.replace(branch, name=self._name(f"{branch.name}_kept")),
                0,
            )
            for branch in branches
        ]

    def _repacked(self, stream: Stream, values: int) -> Stream:
        """The stream with so many values a beat."""
        common = math.gcd(stream.values, values)
        for step in (common, values):
            if stream.values != step:
                name = self._name(f"{stream.name}_by_{step}")
                stream = self._stage(
                    Repack, stream, dataclasses.replace(stream, name=name, values=step)
                )
        return stream

    def _in_order(self, stream: Stream) -> None:
        """The logits one by one, in the order of the labels."""
        stream = self._repacked(stream, 1)
        channels = np.arange(len(stream.order))
        if not np.array_equal(stream.order, channels):
            output = dataclasses.replace(stream, name=self._name("logits"), order=channels)
            self._stage(Reorder, stream, output)

    def _like(self, stream: Stream, name: str, layer: str, bits: int = 8) -> Stream:
        """A stream with the shape and order of a layer's output and as many values a beat."""
        shape = _three(self.outputs[layer].shape)
        return Stream(name, shape, bits, stream.values, self.orders[layer])

    def _stage(self, kind: type[Stage], source: Stream, output: Stream, *more: int) -> Stream:
        self.stages.append(kind(output.name, (source,), (output,), *more))
        return output

    def _name(self, wish: str) -> str:
        """The name, or one like it that is free: layers may be called anything."""
        name, number = wish, 2
        while name in self.names:
            name, number = f"{wish}{number}", number + 1
        self.names.add(name)
        return name


def _three(shape: Shape) -> Shape:
    """A vector as one pixel."""
    return shape if len(shape) == 3 else (1, 1, *shape)


def _bits(bounds: Range) -> int:
    """Of all channels; two at least, for a value has a sign and a bit."""
    return max(2, int(certificate.width(bounds).max(initial=1)))
