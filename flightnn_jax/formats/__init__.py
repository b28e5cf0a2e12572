"""The weight formats: how one array of weights is stored. Each format is one module."""
