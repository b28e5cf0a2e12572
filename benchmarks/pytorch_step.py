"""The FLightNN training step as one would write it in PyTorch, for benchmarks/train_step.py."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch  # type: ignore[import-not-found]  # no requirement of the library
from torch import nn
from torch.nn import functional  # type: ignore[import-not-found]  # likewise

from flightnn_jax import networks


def _powers(w: torch.Tensor) -> torch.Tensor:
    """R(w), the exponent kept in the layer's window of eight."""
    exponent = torch.round(torch.log2(torch.abs(w).clamp_min(1e-30)))
    top = torch.round(torch.log2(torch.abs(w).max().clamp_min(1e-30)))
    return torch.sign(w) * torch.exp2(torch.clamp(exponent, top - 7, top))


class _Quantize(torch.autograd.Function):
    """Q_2(w | t) by filter: straight through to w, relaxed gates to t."""

    @staticmethod
    def forward(ctx: Any, w: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        flat = w.flatten(1)
        first = _powers(flat)
        norm0 = flat.norm(dim=1)
        open0 = (norm0 > t[0]).to(w.dtype)
        rest = flat - open0[:, None] * first
        second = _powers(rest)
        norm1 = rest.norm(dim=1)
        open1 = open0 * (norm1 > t[1])
        ctx.save_for_backward(first, second, rest, norm0, norm1, open0, open1, t)
        return (open0[:, None] * first + open1[:, None] * second).view_as(w)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        (g,) = gradients
        first, second, rest, norm0, norm1, open0, open1, t = ctx.saved_tensors
        c = g.flatten(1)
        s1, s0 = torch.sigmoid(norm1 - t[1]), torch.sigmoid(norm0 - t[0])
        inner1 = (c * second).sum(1)
        to1 = -open1 * s1 * (1 - s1) * inner1
        unit = rest / norm1.clamp_min(1e-12)[:, None]
        c = c - (open1 * s1)[:, None] * c + to1[:, None] * unit
        to0 = -open0 * s0 * (1 - s0) * (c * first).sum(1)
        return g, torch.stack([to0.sum(), to1.sum()])


class _Weights(nn.Module):
    """A kernel and its thresholds."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        fan_in = int(np.prod(shape[1:]))
        self.kernel = nn.Parameter(torch.randn(shape) * (2 / fan_in) ** 0.5)
        self.thresholds = nn.Parameter(torch.zeros(2))

    def forward(self) -> torch.Tensor:
        return _Quantize.apply(self.kernel, self.thresholds)

    def penalty(self, lambda1: float) -> torch.Tensor:
        flat = self.kernel.flatten(1)
        rest = flat - _powers(flat).detach()
        return lambda1 / 3 * flat.norm(dim=1).sum() + lambda1 * rest.norm(dim=1).sum()


class _QuantizeActivations(nn.Module):
    """Eight bits, a power of two from a running range, straight through inside."""

    largest: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("largest", torch.zeros(()))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            now = x.abs().max()
            self.largest = torch.where(self.largest > 0, 0.9 * self.largest + 0.1 * now, now)
            step = torch.exp2(torch.ceil(torch.log2(self.largest / 127)))
        clipped = torch.clamp(x, -128 * step, 127 * step)
        return clipped + (torch.round(clipped / step) * step - clipped).detach()


class _Conv(nn.Module):
    """Convolution and batch norm, with leaky ReLU and quantizer if `active`."""

    def __init__(self, step: networks.Step, slope: float, active: bool = True) -> None:
        super().__init__()
        assert isinstance(step.layer, networks.Conv)
        size, _, inputs, filters = step.kernel_shape or ()
        self.weights = _Weights((filters, inputs, size, size))
        self.norm = nn.BatchNorm2d(filters)
        self.stride, self.padding = step.layer.stride, size // 2
        self.slope, self.active = slope, active
        self.quantize = _QuantizeActivations() if active else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = functional.conv2d(x, self.weights(), None, self.stride, self.padding)
        x = self.norm(x)
        if self.quantize is None:
            return x
        return self.quantize(functional.leaky_relu(x, self.slope))


class _Block(nn.Module):
    def __init__(self, step: networks.Step, slope: float) -> None:
        super().__init__()
        first, second, *shortcut = step.inside
        self.first = _Conv(first, slope)
        self.second = _Conv(second, slope, active=False)
        self.shortcut = _Conv(shortcut[0], slope, active=False) if shortcut else nn.Identity()
        self.slope, self.quantize = slope, _QuantizeActivations()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.second(self.first(x)) + self.shortcut(x)
        return self.quantize(functional.leaky_relu(y, self.slope))


class _Average(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.mean((2, 3))


class _Dense(nn.Module):
    def __init__(self, step: networks.Step) -> None:
        super().__init__()
        inputs, units = step.kernel_shape or ()
        self.quantize = _QuantizeActivations()
        self.weights = _Weights((units, inputs))
        self.bias = nn.Parameter(torch.zeros(units))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return functional.linear(self.quantize(x), self.weights(), self.bias)


def _module(step: networks.Step, slope: float) -> nn.Module:
    if isinstance(step.layer, networks.Conv):
        return _Conv(step, slope)
    if isinstance(step.layer, networks.MaxPool):
        return nn.MaxPool2d(2)
    if isinstance(step.layer, networks.Residual):
        return _Block(step, slope)
    return _Average() if isinstance(step.layer, networks.GlobalAverage) else _Dense(step)


def flightnn_step(
    net: networks.Network,
    images: np.ndarray,
    labels: np.ndarray,
    layout: str,
    rate: float,
    lambda1: float,
    compiled: bool = False,
) -> Callable[[], None]:
    """One step of Algorithm 1 with Adam, to be called again and again.

    Args:
      net: which network.
      images: [batch, height, width, channels] uint8.
      labels: [batch].
      layout: 'contiguous' or 'channels_last'.
      rate: of Adam.
      lambda1: of the penalty; the first residual gets a third of it.
      compiled: the loss by torch.compile and the fused Adam, which need a C++ compiler.
    """
    torch.manual_seed(0)
    torch.set_num_threads(2)
    memory = getattr(torch, f"{layout}_format" if layout == "contiguous" else layout)
    slope = 2.0**net.slope_exponent
    model = nn.Sequential(*(_module(step, slope) for step in networks.walk(net)))
    model = model.to(memory_format=memory)
    weights = [module for module in model.modules() if isinstance(module, _Weights)]
    optimizer = torch.optim.Adam(model.parameters(), lr=rate, fused=compiled)
    data = torch.from_numpy(images).permute(0, 3, 1, 2).contiguous(memory_format=memory)
    target = torch.from_numpy(labels)

    def loss_of(data: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        logits = model((data.float() - 128) / 128)
        loss = functional.cross_entropy(logits, target)
        return loss + sum(w.penalty(lambda1) for w in weights)

    loss_to_run = torch.compile(loss_of) if compiled else loss_of

    def run() -> None:
        optimizer.zero_grad()
        loss_to_run(data, target).backward()
        optimizer.step()

    return run
