"""Training a network: from a config to checkpoints, records and integers."""
