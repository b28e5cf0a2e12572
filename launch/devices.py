"""Sets up the devices, by flags: those of one process, or of several that train together."""

import ctypes
import importlib.metadata
import os
import re

from . import command
from .command import flags

_MULTIHOST = flags.DEFINE_bool(
    "multihost",
    False,
    "Train with all processes of a TPU pod, a Slurm job step or a Kubernetes job; JAX finds them. "
    "Elsewhere give --coordinator, --processes and --process instead.",
)
_COORDINATOR = flags.DEFINE_string("coordinator", None, "HOST:PORT of process 0.")
_PROCESSES = flags.DEFINE_integer("processes", None, "How many there are.", lower_bound=1)
_PROCESS = flags.DEFINE_integer("process", None, "The number of this one.", lower_bound=0)

# With this flag small convolutions use all threads of a CPU: 1.5 times as fast on two. XLA ends a
# process at a flag that it does not know, so only a version that it was tried with gets it.
_CPU_FLAG = "--xla_cpu_experimental_ynn_fusion_type=-individual_convolution"
_TRIED_WITH = "0.10."

_M_MMAP_THRESHOLD, _M_TRIM_THRESHOLD = -3, -1  # of malloc.h
_LARGEST_BLOCK = 1 << 30


def initialize() -> None:
    """Sets up JAX as the flags say. Call it before anything is computed.

    Raises:
      ValueError: if the processes cannot find each other.
    """
    import jax

    command.quiet()
    keep_freed_memory()
    if importlib.metadata.version("jaxlib").startswith(_TRIED_WITH):
        os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {_CPU_FLAG}"
    explicit = (_COORDINATOR.value, _PROCESSES.value, _PROCESS.value)
    if None in explicit and any(value is not None for value in explicit):
        raise ValueError("--coordinator, --processes and --process go together: give all three")
    if not _MULTIHOST.value and _COORDINATOR.value is None:
        return
    _check_processes(*explicit)
    try:
        jax.distributed.initialize(*explicit)
    except (ValueError, RuntimeError) as error:
        raise ValueError(
            f"the processes did not find each other ({str(error).splitlines()[0]}): give every one "
            "the same --coordinator=HOST:PORT and --processes, and its own --process"
        ) from error


def keep_freed_memory() -> None:
    """Lets glibc keep blocks of up to a gigabyte that are freed, where there is a glibc.

    It would return blocks of tens of megabytes to the kernel at the end of each step, and the next
    one would have all pages cleared again: a seventh of a step's time on a CPU.
    """
    try:
        set_option = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return
    set_option(_M_MMAP_THRESHOLD, _LARGEST_BLOCK)
    set_option(_M_TRIM_THRESHOLD, _LARGEST_BLOCK)


def refuse_several_processes(reason: str) -> None:
    """Raises ValueError, with the reason, if the flags say that several processes train together.

    Call it before `initialize`, which waits for the others.
    """
    if _MULTIHOST.value or _COORDINATOR.value is not None:
        raise ValueError(f"--{'multihost' if _MULTIHOST.value else 'coordinator'}: {reason}")


def _check_processes(coordinator: str | None, processes: int | None, process: int | None) -> None:
    """What JAX would wait for in vain, or end the process at."""
    if coordinator is None or processes is None or process is None:
        return
    _, _, port = coordinator.rpartition(":")
    if not re.fullmatch(r"[^\s:/]+:\d{1,5}|\[[0-9a-fA-F:.]+\]:\d{1,5}", coordinator) or not (
        0 < int(port) < 1 << 16
    ):
        raise ValueError(
            f"--coordinator={coordinator}: give HOST:PORT of process 0, such as 10.0.0.1:1234"
        )
    if process >= processes:
        raise ValueError(
            f"--process={process} of --processes={processes}: they are numbered from 0, so choose "
            f"0 to {processes - 1}"
        )
