"""Decoded images on disk, so that a data set is decoded once.

A file is written as a whole or not at all, and reading it compares its checksums. A file that was
cut short or damaged is therefore never used, but made again.
"""

import warnings
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np

from flightnn_jax import atomic

Arrays = tuple[np.ndarray, np.ndarray]


def cached(directory: Path | None, key: str, build: Callable[[], Arrays]) -> Arrays:
    """What `build` returns, from a file if it was built before.

    Args:
      directory: where the files are; it is made if need be. None keeps no files.
      key: name of the file. It must change whenever `build` would return something else.
      build: makes images [n, height, width, channels] uint8 and labels [n] int32.

    Returns:
      images and labels. A directory that cannot be written is a warning only.
    """
    if directory is None:
        return build()
    path = directory / f"{key}.npz"
    if (kept := _read(path)) is not None:
        return kept
    arrays = build()
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with atomic.replacing(path) as file:
            np.savez(file, images=arrays[0], labels=arrays[1])
    except OSError as error:
        warnings.warn(
            f"decoded images cannot be kept in {directory} ({error}), so every run decodes them "
            "again: choose another cache directory, or '' for none",
            stacklevel=2,
        )
    return arrays


def _read(path: Path) -> Arrays | None:
    """The arrays of a file; None if there is no such file, or not a whole one."""
    try:
        # Opened here, for np.load leaves a file open that it cannot read. It compares CRCs.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            images, labels = arrays["images"], arrays["labels"]
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        warnings.warn(f"the cache file {path} is damaged ({error}): it is made again", stacklevel=3)
        return None
    return images, labels
