"""The stages of a run as configs of their own, and what a config has that nothing reads."""

import dataclasses
import hashlib
import json

from flightnn_jax import schemes
from flightnn_jax.training import stages
from flightnn_jax.training.config import FIRST, Config

DIRECTORY = "stages"  # in a workdir: those of a run, or of all runs of a sweep
_SEEDS_APART = 1 << 28  # of stages, so that no two of them see images in one order
# Fields that only a scheme whose filters differ in k reads, and those that only one mode does.
_OF_FLEXIBLE = ("mode", "lambda1", "lambda0")
_OF_UNITS = ("style", "device", "prune")  # for a budget in units of hardware
_OF_MODE = {
    "budget": ("budget", "budget_cost", *_OF_UNITS),
    "paper": ("thresholds_per", "threshold_rate"),
}
_OF_TEACHER = ("teacher_weight", "temperature")


def stages_of(config: Config) -> tuple[Config, ...]:
    """The stages before the scheme, each as a run that begins with the one before.

    What a stage does not read has its default, so that runs with other schemes have the same
    stages, with the same bits.

    Example:
      >>> config = Config(stages="full:0.4,lightnn2:0.3", epochs=10)
      >>> [(stage.scheme, stage.epochs) for stage in stages_of(config)]
      [('full', 4), ('lightnn2', 3)]
    """
    if config.stages is None:
        return ()
    parsed = stages.parse(config.stages, config.epochs)
    return tuple(_stage(config, number, *each) for number, each in enumerate(parsed))


def _stage(config: Config, number: int, scheme: str, epochs: int) -> Config:
    defaults = {name: getattr(Config, name) for name in _unread_by(scheme, config)}
    if schemes.find(scheme).activation_bits is None:
        defaults["affine_terms"] = None
    if number == 0:
        is_taught = config.teacher not in (None, FIRST)
    else:
        is_taught = config.teacher is not None
        defaults["start_from"] = None
    if not is_taught:
        defaults |= {name: getattr(Config, name) for name in ("teacher", *_OF_TEACHER)}
    seed = (config.seed + (number + 1) * _SEEDS_APART) % 2**32
    return dataclasses.replace(
        config, scheme=scheme, epochs=epochs, stages=None, seed=seed, **defaults
    )


def unread(config: Config) -> set[str]:
    """Fields that have no influence on what a config trains, in none of its stages."""
    names = [config.scheme]
    if config.stages is not None:
        names += [stage.scheme for stage in stages.parse(config.stages, config.epochs)]
    idle = set.intersection(*(_unread_by(name, config) for name in names))
    return idle if config.teacher is not None else idle.union(_OF_TEACHER)


def _unread_by(name: str, config: Config) -> set[str]:
    """Fields of a config that a scheme does not read."""
    scheme = schemes.find(name)
    idle: set[str] = set()
    if scheme.weights is None:
        idle.add("filter_scales")
    if scheme.weights is None or scheme.weights.kind != "shift":
        idle.add("rounding")
    if scheme.weights is None or scheme.weights.kind != "codebook":
        idle.add("codebook")
    if not scheme.distribution_loss:
        idle.add("distribution")
    if config.optimizer == "adam":
        idle.add("momentum")
    if not scheme.flexible:
        return idle.union(_OF_FLEXIBLE, *_OF_MODE.values())
    idle.update(*(names for mode, names in _OF_MODE.items() if mode != config.mode))
    return idle if isinstance(config.budget, str) else idle.union(_OF_UNITS)


def digest(chain: tuple[Config, ...]) -> str:
    """What stages that end with the same bits share, in a few letters."""
    decisive = [config.decisive() for config in chain]
    return hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()[:12]
