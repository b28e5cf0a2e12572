"""Accelerators that XLA compiles for although they are not there.

JAX's wheel of an accelerator brings its compiler, which takes a description of the devices in
place of devices. Peaks and bandwidths are the vendors' figures for dense products.
"""

import importlib.util
import os
from typing import Any, NamedTuple

import jax
from jax.experimental import topologies

_FAST_INTERCONNECT_HOP = 1e-6  # seconds; an assumption, like the way of an all-reduce below
_H200 = """
gpu_device_info {
  threads_per_block_limit: 1024 threads_per_warp: 32 shared_memory_per_block: 49152
  shared_memory_per_core: 233472 threads_per_core_limit: 2048 core_count: 132 fpus_per_core: 128
  block_dim_limit_x: 2147483647 block_dim_limit_y: 65535 block_dim_limit_z: 65535
  memory_bandwidth: 4800000000000 l2_cache_size: 52428800 clock_rate_ghz: 1.98
  device_memory_size: 141000000000 shared_memory_per_block_optin: 232448
  cuda_compute_capability { major: 9 minor: 0 }
  registers_per_core_limit: 65536 registers_per_block_limit: 65536
}
platform_name: "CUDA"
dnn_version_info { major: 9 minor: 8 patch: 0 }
device_description_str: "NVIDIA H200"
"""


class Kind(NamedTuple):
    """A chip.

    Attributes:
      label: in tables.
      narrow: products and sums a second of exact narrow operands, two operations for each pair;
        bfloat16 on a TPU, TF32 on a GPU.
      wide: likewise of float32 operands, without rounding them.
      bytes8: likewise of int8 operands.
      bandwidth: bytes a second between chip and memory.
      memory: bytes.
      link: bytes a second that a chip sends to others.
    """

    label: str
    narrow: float
    wide: float
    bytes8: float
    bandwidth: float
    memory: float
    link: float


# float32 takes a TPU six passes of bfloat16, and a GPU its units for single precision.
V5E = Kind("TPU v5e", 197e12, 197e12 / 6, 394e12, 819e9, 16e9, 200e9)
H200 = Kind("H200", 495e12, 67e12, 1979e12, 4.8e12, 141e9, 900e9)


class Target(NamedTuple):
    """Chips that train together, in a torus of two dimensions."""

    name: str
    platform: str
    kind: Kind
    sides: tuple[int, int]

    @property
    def chips(self) -> int:
        """How many."""
        return self.sides[0] * self.sides[1]

    def exchange_seconds(self, size: float) -> float:
        """What an all-reduce of so many bytes takes: once around each side, and the bandwidth."""
        if self.chips == 1:
            return 0.0
        hops = sum(side for side in self.sides if side > 1)
        return hops * _FAST_INTERCONNECT_HOP + 2 * size * (1 - 1 / self.chips) / self.kind.link


TARGETS = (
    *(
        Target(f"v5e-{a * b}", "tpu", V5E, (a, b))
        for a, b in ((1, 1), (2, 2), (4, 4), (8, 8), (16, 16))
    ),
    Target("h200", "cuda", H200, (1, 1)),
)


def prepare() -> None:
    """Sets what JAX and the compilers read when they start. Call it before they do."""
    jax.config.update("jax_platforms", "cpu")  # or JAX looks for the devices
    os.environ["TPU_SKIP_MDS_QUERY"] = "1"  # there is no server that knows this machine's TPU
    os.environ["TPU_ACCELERATOR_TYPE"] = "v5litepod-4"
    os.environ["TPU_WORKER_HOSTNAMES"] = "localhost"
    os.environ["ALLOW_MULTIPLE_LIBTPU_LOAD"] = "1"  # no process has the TPU


def missing(platform: str) -> str | None:
    """Why nothing can be compiled for a platform with this interpreter's wheels; or None."""
    wheels = {"tpu": ("libtpu", "tpu"), "cuda": ("jax_cuda13_plugin", "cuda13")}
    module, extra = wheels[platform]
    if importlib.util.find_spec(module) is not None:
        return None
    return (
        f"no compiler for {platform}: the wheel {module} is missing; make an environment of its "
        f"own with pip install 'jax[{extra}]' and this library's extra train, and use its python"
    )


def devices(target: Target) -> list[Any]:
    """The devices of a target, which can be compiled for, and nothing else."""
    if target.platform == "cuda":
        described = topologies.get_topology_desc(
            platform="cuda", topology_name="h200", topology="1x1x1", target_config=_H200
        )
    else:
        a, b = (max(side, 2) for side in target.sides)  # no topology is smaller
        described = topologies.get_topology_desc(platform="tpu", topology_name=f"v5e:{a}x{b}")
    return list(described.devices)[: target.chips]
