"""The styles of FPGA design, one module each."""
