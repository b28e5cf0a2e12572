"""Saving and restoring the state of a run with Orbax: atomic, asynchronous, checked when read.

Beside each checkpoint stand the decisive fields of the config, what the loop has counted so far,
and a checksum of every number, so that a damaged checkpoint is recognized.
"""

import contextlib
import errno
import hashlib
import json
import math
import os
import re
import shutil
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp  # type: ignore[import-untyped]  # it has no stubs
from absl import logging
from orbax.checkpoint import checkpoint_managers as policies

from flightnn_jax.training.config import Config

PyTree = Any
Progress = dict[str, Any]

# Some versions had Adam's state in a tuple behind the penalties', which have none.
_CHAINED = re.compile(r"^opt_state\.\d+\.")


class CheckpointError(ValueError):
    """Checkpoints that cannot be used."""


class Checkpoints:
    """The checkpoints of one run; a context manager that ends with everything written.

    Example:
      >>> import tempfile
      >>> with Checkpoints(tempfile.mkdtemp(), Config()) as checkpoints:
      ...     checkpoints.save(5, {"w": np.ones(2)}, {"epoch": 1}, score=0.5)
      ...     checkpoints.wait()
      ...     state, progress = checkpoints.restore({"w": np.zeros(2)})
      >>> state["w"].tolist(), progress
      ([1.0, 1.0], {'epoch': 1})
    """

    def __init__(self, directory: str | Path, config: Config, write: bool = True) -> None:
        """Opens a directory.

        Args:
          directory: of this run alone; shared by all processes of it.
          config: of this run.
          write: whether to save, too: the directory is made if need be, and what was broken off
            is removed. Without, nothing is touched, and the run may train at the same time.

        Raises:
          CheckpointError: if there is no such directory and `write` is False.
        """
        self.directory = Path(directory).resolve()
        self._identity = config.decisive()
        self._manager: Any = None  # of what is written
        self._reader = ocp.Checkpointer(ocp.CompositeCheckpointHandler())
        if not write:
            if not self.directory.is_dir():
                raise CheckpointError(
                    f"no checkpoints: {self.directory} does not exist: train in this workdir "
                    "first, or choose that of another run"
                )
            return
        if jax.process_index() == 0:
            _remove_broken_off(self.directory)
            _forget_damaged_scores(self.directory)
        keep = policies.AnyPreservationPolicy(
            [
                policies.LatestN(config.keep),
                policies.BestN(
                    get_metric_fn=_score,
                    n=1,
                    keep_checkpoints_without_metrics=False,
                ),
            ]
        )
        self._manager = ocp.CheckpointManager(
            self.directory,
            options=ocp.CheckpointManagerOptions(
                best_fn=_score,  # without it scores are not written
                preservation_policy=keep,
            ),
        )

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: types.TracebackType | None,
    ) -> None:
        self._reader.close()
        if self._manager is not None:
            self._manager.close()

    def save(
        self, step: int, state: PyTree, progress: Progress, score: float | None = None
    ) -> None:
        """Starts to save; the numbers are copied before this returns, so they may be donated.

        Args:
          step: number of steps taken; nothing happens if it is there already.
          state: a tree of arrays, each whole on every process.
          progress: what the loop has counted; JSON.
          score: larger is better; the best checkpoint is kept. None if it was not measured.
        """
        if step in self._manager.all_steps():
            return
        arrays = _arrays(state)
        about = {"config": self._identity, "progress": progress, "checksum": _checksum(arrays)}
        about["digest"] = _digest(about)
        with self._full_disk():  # of this save, or of the one before
            self._manager.save(
                step,
                args=ocp.args.Composite(
                    state=ocp.args.PyTreeSave(arrays), about=ocp.args.JsonSave(about)
                ),
                metrics=None if score is None else {"score": score},
                force=True,
            )

    def wait(self) -> None:
        """Returns when everything is written."""
        with self._full_disk():
            self._manager.wait_until_finished()

    @contextlib.contextmanager
    def _full_disk(self) -> Iterator[None]:
        """What TensorStore tells of a full disk, in many words, as the system's own error."""
        try:
            yield
        except ValueError as error:
            for number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                if os.strerror(number) in str(error):
                    reason = os.strerror(number)
                    raise OSError(number, reason, str(self.directory)) from error
            raise

    @property
    def steps(self) -> list[int]:
        """The steps that were saved, in order."""
        if self._manager is None:
            return sorted(ocp.utils.checkpoint_steps(self.directory))
        return sorted(self._manager.all_steps())

    def find(self, which: str) -> int:
        """The step that "last", "best" (the largest score) or its own number names."""
        known = {str(step): step for step in self.steps}
        if known:
            known["last"] = max(known.values())
            scores = [(_score_in(self.directory / str(step)), step) for step in self.steps]
            known["best"] = max((s for s in scores if s[0] is not None), default=scores[-1])[1]
        if which not in known:
            raise CheckpointError(
                f"no checkpoint {which!r} in {self.directory}: there are "
                f"{', '.join(known) or 'none'}"
            )
        return known[which]

    def restore(
        self, like: PyTree, parse: Callable[[Any], Any] = lambda progress: progress
    ) -> tuple[PyTree, Any] | None:
        """The latest checkpoint that is whole.

        Damaged ones after it are removed, and a warning says so.

        Args:
          like: a state of this run: its structure, shapes and types are expected, and its arrays
            say where the restored ones are to be.
          parse: of the progress; a checkpoint at whose progress it raises an error is damaged.

        Returns:
          The state and what `parse` gave; None if nothing was ever saved.

        Raises:
          CheckpointError: if the checkpoint is of another config, or none of them is whole.
        """
        damaged = []
        for step in reversed(self.steps):
            try:
                state, progress = self.restore_step(step, like)
                progress = _parsed(parse, progress)
            except _DamagedError as error:
                damaged.append((step, str(error)))
                continue
            for bad, reason in damaged:
                logging.warning(
                    "checkpoint %d in %s is damaged (%s): going on from step %d",
                    bad,
                    self.directory,
                    reason,
                    step,
                )
                self._manager.delete(bad)
            return state, progress
        if damaged:
            step, reason = damaged[0]
            raise CheckpointError(
                f"no checkpoint in {self.directory} is whole (step {step}: {reason}): remove the "
                "directory to start anew, or choose another workdir"
            )
        return None

    def restore_step(
        self, step: int, like: PyTree, keep: str | None = None
    ) -> tuple[PyTree, Progress]:
        """The checkpoint of one step; otherwise as `restore`.

        Args:
          step: its number.
          like: as for `restore`.
          keep: a field of the state that stays as it is in `like`, whatever the checkpoint has.
        """
        about = self._about(step)
        self._compare(step, about["config"])
        arrays = self._read(step, state=ocp.args.PyTreeRestore())["state"]
        if not isinstance(arrays, dict):
            raise _DamagedError("its state is no table of arrays")
        arrays = {name: np.asarray(array) for name, array in arrays.items()}
        if _checksum(arrays) != about["checksum"]:
            raise _DamagedError("its checksum is wrong")
        arrays = {_CHAINED.sub("opt_state.", name): array for name, array in arrays.items()}
        if keep is not None:
            arrays = {n: array for n, array in arrays.items() if not n.startswith(f"{keep}.")}
            arrays |= {n: a for n, a in _arrays(like).items() if n.startswith(f"{keep}.")}
        return _like(like, arrays), about["progress"]

    def _about(self, step: int) -> dict[str, Any]:
        """What stands beside the arrays, each field checked."""
        about = self._read(step, about=ocp.args.JsonRestore())["about"]
        for name, kind in (("config", dict), ("progress", dict), ("checksum", str)):
            if not isinstance(about, dict) or not isinstance(about.get(name), kind):
                raise _DamagedError(f"its record has no {name}")
        if "digest" in about and about.pop("digest") != _digest(about):  # earlier ones have none
            raise _DamagedError("its record is not as it was written")
        return about

    def _read(self, step: int, **items: Any) -> Any:
        try:
            directory = self.directory / str(step)
            return self._reader.restore(directory, args=ocp.args.Composite(**items))
        except Exception as error:  # whatever the layers below raise for missing or cut files
            lines = str(error).splitlines()
            raise _DamagedError(lines[0][:200] if lines else repr(error)) from error

    def _compare(self, step: int, saved: dict[str, Any]) -> None:
        saved = Config().decisive() | saved  # of a version without a field: its default
        names = sorted(saved.keys() | self._identity.keys())
        other = [
            f"{name} {saved.get(name)!r} there and {self._identity.get(name)!r} here"
            for name in names
            if saved.get(name) != self._identity.get(name)
        ]
        if other:
            raise CheckpointError(
                f"checkpoint {step} in {self.directory} is of another config: {'; '.join(other)}. "
                "Go on with the config of that run, or choose another workdir"
            )


class _DamagedError(CheckpointError):
    """A checkpoint that cannot be read, or not as it was written."""


def _remove_broken_off(directory: Path) -> None:
    """Removes what a run left that ended amid a save. Orbax would do so while training goes on."""
    for path in directory.glob("*.orbax-checkpoint-tmp*"):
        shutil.rmtree(path)


def _forget_damaged_scores(directory: Path) -> None:
    """Removes scores that cannot be read: Orbax reads them all at once and would stop there."""
    for path in directory.glob("[0-9]*/metrics/metrics"):
        if _score_in(path.parents[1]) is None:
            logging.warning("the score in %s is damaged: its checkpoint goes without", path)
            shutil.rmtree(path.parent)


def _score_in(checkpoint: Path) -> float | None:
    """The score of a checkpoint; None if it has none, or a damaged one."""
    try:
        score = json.loads((checkpoint / "metrics" / "metrics").read_bytes())["score"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    is_number = isinstance(score, int | float) and not isinstance(score, bool)
    return float(score) if is_number and math.isfinite(score) else None


def _parsed(parse: Callable[[Any], Any], progress: Any) -> Any:
    try:
        return parse(progress)
    except (ValueError, TypeError, KeyError) as error:
        raise _DamagedError(f"its progress is no progress: {error}") from error


def _digest(about: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()


def _score(metrics: dict[str, float]) -> float:
    return metrics["score"]


def _name(path: tuple[Any, ...]) -> str:
    return jax.tree_util.keystr(path, simple=True, separator=".")


def _arrays(state: PyTree) -> dict[str, np.ndarray]:
    """Copies of all arrays by their names."""
    leaves = jax.tree_util.tree_leaves_with_path(state)
    return {_name(path): np.array(leaf) for path, leaf in leaves}


def _like(like: PyTree, arrays: dict[str, np.ndarray]) -> PyTree:
    """A tree like another one of these arrays, placed as its arrays are."""

    def place(path: tuple[Any, ...], leaf: Any) -> Any:
        array = arrays[_name(path)]
        return jax.device_put(array, leaf.sharding) if isinstance(leaf, jax.Array) else array

    expected = {
        _name(p): (np.shape(x), np.dtype(x.dtype))
        for p, x in jax.tree_util.tree_leaves_with_path(like)
    }
    present = {name: (array.shape, array.dtype) for name, array in arrays.items()}
    if expected != present:
        names = sorted(n for n in expected.keys() | present if expected.get(n) != present.get(n))
        raise CheckpointError(
            f"the checkpoint was written by another version of this program: {names[:5]} differ. "
            "Use that version, or choose another workdir"
        )
    return jax.tree_util.tree_map_with_path(place, like)


def _checksum(arrays: dict[str, np.ndarray]) -> str:
    digest = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        digest.update(f"{name} {array.dtype} {array.shape}".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()
