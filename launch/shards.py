"""The flag --shard: which members of a sweep a process trains."""

import os
from collections.abc import Mapping

from flightnn_jax.training.plan import Shard

from .command import flags

_SHARD = flags.DEFINE_string(
    "shard",
    "0/1",
    "I/N: train every N-th member from the I-th on, I from 0. auto/N takes I from the variables "
    "of a Slurm array or an indexed job of Kubernetes; auto takes N from Slurm, too.",
)


def shard() -> Shard:
    """The one that the flag describes.

    Raises:
      ValueError: if it describes none.
    """
    return parse(_SHARD.value, os.environ)


def parse(text: str, environment: Mapping[str, str]) -> Shard:
    """A shard from "1/4", "auto/4" or "auto".

    Example:
      >>> parse("auto/4", {"JOB_COMPLETION_INDEX": "2"})
      Shard(first=2, of_all=4)
    """
    first, slash, second = text.partition("/")
    count = second
    if first == "auto":
        first, told = _index(environment)
        count = second if slash else told
    if not (first.isdecimal() and count.isdecimal() and int(first) < int(count)):
        raise ValueError(
            f"--shard={text} is shard {first or 'unknown'} of {count or 'unknown'}: give I/N with "
            "I from 0 to N - 1; or auto/N, or auto, inside a Slurm array"
        )
    return Shard(int(first), int(count))


def _index(environment: Mapping[str, str]) -> tuple[str, str]:
    """Which job of an array this is, from 0 on, and how many there are; "" if unknown."""
    task = environment.get("SLURM_ARRAY_TASK_ID", "")
    if task.isdecimal():
        least = int(environment.get("SLURM_ARRAY_TASK_MIN", "0"))
        return str(int(task) - least), environment.get("SLURM_ARRAY_TASK_COUNT", "")
    return environment.get("JOB_COMPLETION_INDEX", ""), ""
