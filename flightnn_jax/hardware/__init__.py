"""What a network costs in hardware: FPGA and ASIC, each number with its error. No JAX.

`workload` says what is computed, `device` where. Three styles of FPGA design are costed:
`processing`, the paper's; `engine`, a pipelined array of measured parts; and `hardwired`, whose
weights are wires. `estimate` puts them together, `search` finds the best designs, `asic` and
`activity` give energies. `flightnn_jax.paper` holds the published tables and what fits them.
"""
