"""Experiments, one Python file for each family of them."""
