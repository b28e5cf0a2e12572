"""Verilog of integer networks: what computes them bit for bit, proven and simulated. No JAX."""
