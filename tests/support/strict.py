"""A pytest plugin, loaded before everything else: tests are stricter than a user's run.

Eight devices are simulated on the CPU, adding arrays of different rank is an error, and so is
every warning (pyproject.toml). What one test compiled, no later one of the same run need compile.
"""

import os
import tempfile

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ["XLA_FLAGS"] = (
    os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=8"
)

import jax

jax.config.update("jax_numpy_rank_promotion", "raise")
# A directory for each process of a run (pytest-xdist starts them with this environment): a cache
# that processes share needs a lock, and for that JAX wants a limit, for which it looks at all files
# whenever it adds one. Programs that tests start do not use it: they have other devices.
_DIRECTORY = "FLIGHTNN_TESTS_COMPILED"
if _DIRECTORY not in os.environ:
    _compiled = tempfile.TemporaryDirectory()
    os.environ[_DIRECTORY] = _compiled.name
jax.config.update("jax_compilation_cache_dir", f"{os.environ[_DIRECTORY]}/{os.getpid()}")
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)
