"""The kinds of weights by the names that files have for them. No JAX."""

from flightnn_jax.integer.codebook import CodebookWeights
from flightnn_jax.integer.weights import BinaryWeights, IntegerWeights, ShiftWeights, Weights

KINDS: dict[str, type[Weights]] = {
    kind.kind: kind for kind in (ShiftWeights, IntegerWeights, BinaryWeights, CodebookWeights)
}
