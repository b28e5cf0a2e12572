"""Trained networks as integers that stand alone. docs/integers.md defines them."""
