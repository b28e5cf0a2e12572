"""What a network costs in hardware: FPGA and ASIC, each number with its error. No JAX.

`workload` says what is computed, `device` where. Three styles of FPGA design are costed (`styles`):
`array`, the paper's; `engine`, a pipelined engine of measured parts for every layer; and
`hardwired`, whose weights are wires. `estimate` costs a design, `search` finds the best ones,
`asic` and `activity` give energies. `flightnn_jax.paper` holds the published tables and the
constants fitted to them.

Example:
  >>> from flightnn_jax import hardware
  >>> work = hardware.workload.from_network("net1", "flightnn", mean_k=1.3).largest()
  >>> costs = hardware.estimate.estimate(work, hardware.device.named("XC7Z045"))
  >>> round(costs.images_per_s.value), costs.images_per_s.bar
  (3406, '±90 %')
"""

from typing import TYPE_CHECKING

from flightnn_jax.lazy import getter

if not TYPE_CHECKING:
    _MODULES = ("activity", "arithmetic", "asic", "comparison", "device", "estimate", "pipeline")
    _MODULES += ("records", "report", "search", "styles", "synthesized", "workload")
    __getattr__ = getter(__name__, {name: name for name in _MODULES})
