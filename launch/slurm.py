"""A sweep submitted to Slurm as an array of jobs, by submitit (the extra slurm)."""

import os
import re
import signal
import subprocess
import sys
import types
from pathlib import Path
from typing import Any

from . import command
from .command import flags

_JOBS = flags.DEFINE_integer("jobs", 1, "For slurm: jobs that share the members.", lower_bound=1)
_MINUTES = flags.DEFINE_integer(
    "minutes", 60, "For slurm: the time limit of a job, which then goes on anew.", lower_bound=1
)
_SBATCH = flags.DEFINE_multi_string(
    "sbatch", [], "For slurm: NAME=VALUE, a further option of sbatch, such as partition=gpu."
)

_SECONDS_TO_SAVE = 90  # before the time limit; Slurm's signal comes up to 60 seconds earlier
_MAX_TIME_LIMITS = 1000  # that a job may meet and go on


class Job:
    """Trains a shard of a sweep; submitit calls it in a job of the array.

    Before the time limit and at a preemption Slurm sends the signal at which submitit makes the job
    wait in the queue again. Here the member in training is saved first.
    """

    def __init__(self, workdir: Path) -> None:
        self._workdir = workdir

    def __call__(self, shard: str) -> None:
        """Trains I/N."""
        from . import sweep

        flags.FLAGS(["sweep", f"--workdir={self._workdir}", f"--shard={shard}"])
        requeue: Any = signal.getsignal(signal.SIGUSR2)
        ignored = signal.getsignal(signal.SIGTERM)
        heard = []

        def stop(number: int, frame: types.FrameType | None) -> None:
            if signal.getsignal(signal.SIGTERM) == ignored:  # nobody trains yet, or any more
                requeue(number, frame)
            heard.append(number)
            signal.raise_signal(signal.SIGTERM)

        signal.signal(signal.SIGUSR2, stop)
        code = sweep.main()
        if code == command.STOPPED_BY_SIGTERM and (heard or _preempted()):
            requeue(signal.SIGUSR2, None)
        if code:
            sys.exit(code)

    def checkpoint(self, shard: str) -> Any:
        """What the job does when it starts again: the same, as members' directories tell."""
        import submitit

        return submitit.helpers.DelayedSubmission(self, shard)


def _preempted() -> bool:
    """Whether Slurm wants this job's place, which SIGTERM alone does not tell from scancel.

    A job that ends by itself within the grace time would not be started again.
    """
    words = ["scontrol", "show", "job", os.environ.get("SLURM_JOB_ID", "")]
    told = subprocess.run(words, capture_output=True, text=True, check=False).stdout
    return re.search(r"\bPreemptTime=\d", told) is not None


def submit(workdir: Path) -> str:
    """Submits a sweep whose plan is written.

    Returns:
      a line that tells the job, and how to ask for it.
    """
    import submitit

    options = dict(text.partition("=")[::2] for text in _SBATCH.value)
    if bad := [name for name, value in options.items() if not (name and value)]:
        raise ValueError(f"--sbatch={bad[0]}: give NAME=VALUE, such as partition=gpu")
    executor = submitit.SlurmExecutor(folder=workdir / "slurm", max_num_timeout=_MAX_TIME_LIMITS)
    executor.update_parameters(
        job_name="flightnn",
        time=_MINUTES.value,
        signal_delay_s=min(_SECONDS_TO_SAVE, 20 * _MINUTES.value),
        array_parallelism=_JOBS.value,
        stderr_to_stdout=True,
        additional_parameters={"requeue": True, **options},
    )
    shards = [f"{i}/{_JOBS.value}" for i in range(_JOBS.value)]
    first = executor.map_array(Job(workdir), shards)[0].job_id.partition("_")[0]
    return f"Slurm's job {first}, an array of {len(shards)}; its output is in {workdir / 'slurm'}"
