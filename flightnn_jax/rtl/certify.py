"""Proof of the layers of a machine whose weights are wires, from the Verilog that was written."""

from collections.abc import Iterator
from pathlib import Path

from flightnn_jax.integer.network import IntegerNetwork
from flightnn_jax.rtl import affine, netlist, wiring
from flightnn_jax.rtl.affine import Proof
from flightnn_jax.rtl.architecture import Machine, Wired


def prove_layers(
    network: IntegerNetwork, machine: Machine, folder: str | Path
) -> Iterator[tuple[str, Proof]]:
    """The name and the proof of each wired layer, one after the other.

    Args:
      network: whose weights the layers must have.
      machine: of it.
      folder: of the machine's files.

    Raises:
      NotProvenError: at the first layer that is not shown to give its weights' sums.
      ToolError: if there is no program `yosys`.
    """
    for stage in machine.stages:
        if not isinstance(stage, Wired):
            continue
        name = f"fl_adders_{stage.name}"
        text = (Path(folder) / "modules" / f"{name}.v").read_text()
        wires = wiring.of_layer(network, stage.layer)
        wires = wiring.in_order(wires, stage.source, stage.output)
        yield stage.layer, affine.prove(netlist.from_verilog(text, name), *wires)
