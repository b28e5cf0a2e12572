"""One Flax module that interprets a network, with quantized activations.

Weights are quantized outside of it: `quantize_params` on the parameter tree, in the loss.
"""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp

from flightnn_jax import networks
from flightnn_jax.training import layers, products
from flightnn_jax.training.machine import ONE_CPU, Machine


class Model(nn.Module):
    """A network of `networks` as a function from images to logits.

    Every convolution is followed by batch norm or a bias, a leaky ReLU (or ReLU, or ReLU6) and
    the activation quantizer; the image itself and what enters the dense layer are quantized too. A
    max-pool stands before the quantizer: they commute exactly, and there are fewer values to round
    and fewer ties.

    With `signs`, every layer with weights but the first and the last hands on the sign of batch
    norm's output instead. A max-pool then stands before batch norm, for behind it most of its
    signs would be 1, and batch norm's slope is |scale|, so that both orders give the same.

    With `levels`, every layer with weights but the last hands on the nearest of a few levels, from
    0 on; a ReLU is in them, whatever activation the network names.

    Collections, each {layer's name: ...}:
      params: convolutions have `kernel` [size, size, inputs, filters] and batch norm's `scale` and
        `bias` [filters], or `bias` alone; the dense layer `kernel` [inputs, units] and `bias`
        [units].
      batch_stats: `mean` and `variance` [filters] of batch norm, running.
      ranges: [] float32, the running largest magnitude of what is quantized, before a max-pool;
        0 until the first batch that is tracked. The quantizer's step is 2**e with
        e = activation_exponent(range, activation_bits). Empty for full precision.

    Statistics and ranges are plain reductions over the batch: under jit with a batch that is
    sharded over devices they are those of the global batch.

    Attributes:
      network: the table to interpret.
      activation_bits: of every activation; None leaves them float, the full-precision scheme.
      signs: whether layers hand on signs; such a network has no residual blocks.
      levels: how many levels of activations layers hand on, None for no levels; likewise.
      momentum: of the running statistics and ranges; new = momentum * old + (1 - momentum) * now.
      epsilon: of batch norm.
      affine_terms: as in `Config`; it scales weights outside of the model, see `scaling`.
      weight_bits: the most significant bits of a kernel's weights; None if that is not known.
      machine: what the model is compiled for. It decides how sums are computed, and not what they
        are: see `products` and `layers.normalize`.

    Example:
      >>> import functools, jax, jax.numpy as jnp
      >>> model = Model(networks.network("net4", width=8))
      >>> images = jnp.zeros((2, 32, 32, 3), jnp.uint8)
      >>> variables = jax.eval_shape(model.init, jax.random.key(0), images)
      >>> step = functools.partial(model.apply, train=True, mutable=["batch_stats", "ranges"])
      >>> logits, updates = jax.eval_shape(step, variables, images)
      >>> logits.shape, sorted(updates), sorted(updates["ranges"])
      ((2, 10), ['batch_stats', 'ranges'], ['conv1', 'conv2', 'conv3', 'conv4'])
    """

    network: networks.Network
    activation_bits: int | None = 8
    signs: bool = False
    levels: int | None = None
    momentum: float = 0.9
    epsilon: float = 1e-5
    affine_terms: int | None = None
    weight_bits: int | None = None
    machine: Machine = ONE_CPU

    @property
    def signed(self) -> tuple[str, ...]:
        """The layers that hand on signs.

        Raises:
          ValueError: if the network has residual blocks, whose sums have no sign in integers, or
            one of these layers no batch norm.
        """
        return self._few(1, "signs") if self.signs else ()

    @property
    def leveled(self) -> dict[str, int]:
        """The layers that hand on levels, and how many; errors as those of `signed`."""
        return {} if self.levels is None else dict.fromkeys(self._few(0, "levels"), self.levels)

    def _few(self, first: int, what: str) -> tuple[str, ...]:
        """The layers with weights from the first of these on, without the last."""
        blocks = [s.name for s in networks.walk(self.network) if s.inside]
        if blocks:
            raise ValueError(
                f"{self.network.name} has residual blocks ({', '.join(blocks):.80}), and the "
                f"scheme activations that are {what}: choose a network without such blocks, or "
                "another scheme"
            )
        steps = list(networks.walk_weights(self.network))[first:-1]
        without = [s.name for s in steps if isinstance(s.layer, networks.Conv) and not s.layer.norm]
        if without:
            raise ValueError(
                f"{', '.join(without):.80}: no batch norm, and the scheme has activations that are "
                f"{what} of it: give the layers norm=True, or choose another scheme"
            )
        return tuple(step.name for step in steps)

    @nn.compact
    def __call__(
        self, images: jax.Array, train: bool = False, track: bool = True, floats: bool = False
    ) -> jax.Array:
        """The logits.

        Args:
          images: [batch, height, width, channels] uint8, which stand for (images - 128) / 128; or
            floats on that scale.
          train: whether batch norm uses the batch's statistics, and moves the running ones;
            `batch_stats` must be mutable. Static.
          track: in training, whether ranges are measured and moved, `ranges` being mutable; False
            freezes them, which takes a pass over the activations out of the step. Static, so
            freezing compiles a second step.
          floats: out of training, with quantized activations: that batch norm in float32 will do.
            It is close to the network that was trained, but not the same: roundings differ from
            those of the integers, by which `evaluation` evaluates. Static.

        Returns:
          [batch, classes] float32.

        Raises:
          ValueError: if images do not fit, or quantized activations are asked for out of training
            without `floats`.
        """
        if not (train or floats or self.activation_bits is None or self.is_initializing()):
            raise ValueError(
                f"train=False with activations of {self.activation_bits} bits: a trained network "
                "is its integers, which training.evaluation runs (layer_outputs, evaluate); "
                "floats=True gives an approximation, with batch norm in float32"
            )
        expected = self.network.input_shape
        if images.ndim != 4 or images.shape[1:] != expected:
            raise ValueError(
                f"images of shape {images.shape} for {self.network.name}: it takes "
                f"(batch, {', '.join(map(str, expected))}); resize them, or make the network with "
                "network(..., input_shape=...)"
            )
        track, signed, leveled = train and track, self.signed, self.leveled
        of_levels = self._rule(leaky=False, quantize=False)._replace(levels=self.levels)
        before, waits = "", False  # the layer before, and whether its output is to be quantized
        steps = list(networks.walk(self.network))
        x = self._image(images)
        for step, following in zip(steps, [*steps[1:], None], strict=True):
            pool = following.layer if following is not None else None
            pool = pool if isinstance(pool, networks.MaxPool) else None
            if isinstance(step.layer, networks.Conv):
                rule = self._rule_of(step.layer, quantize=pool is None, track=track)
                if step.name in signed:
                    rule = self._rule(leaky=False, quantize=False)._replace(sign=True)
                if step.name in leveled:  # a max-pool's are taken behind it
                    rule = of_levels if pool is None else of_levels._replace(levels=None)
                x = self._convolution(step, x, train, rule, pool if rule.sign else None)
                if not step.layer.norm:
                    x = self._quantized(step, x, rule)
                waits = pool is not None and not rule.sign
            elif isinstance(step.layer, networks.MaxPool):
                if before not in signed:
                    x = layers.max_pool_of(step.layer, x)
                if waits and before in leveled:
                    x = layers.activate(of_levels, x, jnp.zeros(()))
                elif waits:
                    x = layers.activate(self._rule(leaky=False), x, self._range(before))
                waits = False
            elif isinstance(step.layer, networks.Residual):
                x = self._residual(step, x, train, track)
                waits = False
            elif isinstance(step.layer, networks.AveragePool):
                x = layers.average_pool(step.layer, x)
                x = self._quantized(step, x, self._rule(leaky=False, track=track))
            elif isinstance(step.layer, networks.Flatten):
                x = x.reshape(x.shape[0], 1, 1, -1)
            elif isinstance(step.layer, networks.GlobalAverage):
                x = layers.global_average(x)
                if following is not None:
                    x = self._quantized(step, x, self._rule(leaky=False, track=track))
            else:
                weights = self._weights(step)
                x = x.reshape(x.shape[0], -1)
                x = products.dot(x, weights["kernel"], self._products) + weights["bias"][None]
            before = step.name
        return x

    def _rule(
        self, leaky: bool = True, quantize: bool = True, track: bool = False
    ) -> layers.Activation:
        return layers.Activation(
            slope_exponent=self.network.slope_exponent if leaky else None,
            bits=self.activation_bits if quantize else None,
            track=track and self.activation_bits is not None,
            momentum=self.momentum,
            epsilon=self.epsilon,
            devices=self.machine.devices,
        )

    def _rule_of(
        self, conv: networks.Conv, quantize: bool = True, track: bool = False
    ) -> layers.Activation:
        """What follows a convolution and its batch norm."""
        rule = self._rule(leaky=conv.activation == "leaky", quantize=quantize, track=track)
        return rule._replace(ceiling={"relu": math.inf, "relu6": 6.0}.get(conv.activation))

    @property
    def _products(self) -> products.Products:
        return products.products_for(self.machine.platform, self.activation_bits, self.weight_bits)

    def _image(self, images: jax.Array) -> jax.Array:
        """On the grid of signed integers of `activation_bits` that reaches from -1 to 1."""
        if images.dtype == jnp.uint8:
            images = (images.astype(jnp.float32) - 128) / 128
            if self.activation_bits == 8:
                return images
        if not jnp.issubdtype(images.dtype, jnp.floating):
            raise TypeError(
                f"images of type {images.dtype}: pass uint8, or floats that are (uint8 - 128) / 128"
            )
        largest = 1 - 2.0 ** (1 - (self.activation_bits or 8))
        return layers.activate(self._rule(leaky=False), images, jnp.float32(largest))

    def _convolution(
        self,
        step: networks.Step,
        x: jax.Array,
        train: bool,
        rule: layers.Activation,
        pool: networks.MaxPool | None = None,
    ) -> jax.Array:
        """Convolution, a max-pool if there is a `pool`, batch norm, and what `rule` lets follow.

        Without batch norm a bias is added, and `rule` is left to the caller.
        """
        assert isinstance(step.layer, networks.Conv)
        weights = self._weights(step)
        conv, kernel = step.layer, weights["kernel"]
        windows = {"around": conv.around, "groups": conv.groups}
        x = products.convolve(x, kernel, conv.stride, self._products, **windows)
        if not step.layer.norm:
            return x + weights["bias"][None, None, None]
        channels = x.shape[-1]
        stats = self.variable(
            "batch_stats",
            step.name,
            lambda: {"mean": jnp.zeros(channels), "variance": jnp.ones(channels)},
        )
        ranged = rule.track or rule.bits is not None
        largest = self._range(step.name) if ranged else jnp.zeros(())
        scale, bias = weights["scale"], weights["bias"]
        if pool is not None:
            x, scale = layers.max_pool_of(pool, x), jnp.abs(scale)
        if not train:
            mean, variance = stats.value["mean"], stats.value["variance"]
            a, b = layers.affine(rule, mean, variance, scale, bias)
            return layers.activate(rule, layers.scaled(x, a, b), largest)
        done = layers.normalize(rule, x, scale, bias, largest)
        stats.value = {
            "mean": self._blend(stats.value["mean"], done.mean),
            "variance": self._blend(stats.value["variance"], done.variance),
        }
        if rule.track:
            self.put_variable("ranges", step.name, done.largest)
        return done.output

    def _blend(self, old: jax.Array, now: jax.Array) -> jax.Array:
        return self.momentum * old + (1 - self.momentum) * now

    def _residual(self, step: networks.Step, x: jax.Array, train: bool, track: bool) -> jax.Array:
        """The sum is taken before the leaky ReLU and the quantizer: see `networks.Residual`."""
        first, second, *shortcut = step.inside
        plain = self._rule(leaky=False, quantize=False)
        assert isinstance(first.layer, networks.Conv)
        rule = self._rule_of(first.layer, track=track)
        y = self._convolution(first, x, train, rule)
        if not first.layer.norm:
            y = self._quantized(first, y, rule)
        y = self._convolution(second, y, train, plain)
        around = self._convolution(shortcut[0], x, train, plain) if shortcut else x
        return self._quantized(step, y + around, self._rule(track=track))

    def _quantized(self, step: networks.Step, y: jax.Array, rule: layers.Activation) -> jax.Array:
        """What `rule` says, with a range of its own."""
        largest = self._range(step.name)
        if rule.track:
            largest = layers.moved(rule, largest, layers.leaky(rule, y))
            self.put_variable("ranges", step.name, largest)
        return layers.activate(rule, y, largest)

    def _range(self, name: str) -> jax.Array:
        """The running range of a layer's output; for full precision a zero that is not stored."""
        if self.activation_bits is None:
            return jnp.zeros(())
        if not self.has_variable("ranges", name):
            self.put_variable("ranges", name, jnp.zeros(()))
        return self.get_variable("ranges", name)

    def _weights(self, step: networks.Step) -> dict[str, jax.Array]:
        """The layer's parameters."""
        shape = step.kernel_shape
        assert shape is not None

        def initial(key: jax.Array) -> dict[str, jax.Array]:
            kernel = jax.nn.initializers.he_normal()(key, shape, jnp.float32)
            vectors = {"bias": jnp.zeros(shape[-1])}
            if isinstance(step.layer, networks.Conv) and step.layer.norm:
                vectors["scale"] = jnp.ones(shape[-1])
            return {"kernel": kernel, **vectors}

        return self.param(step.name, initial)
