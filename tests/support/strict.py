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
# One directory for the processes of a run (pytest-xdist starts them with this environment). JAX
# locks a cache that has a limit, so that none reads what another has half written. Programs that
# tests start and kill do not use it.
_SHARED = "FLIGHTNN_TESTS_COMPILED"
if _SHARED not in os.environ:
    _compiled = tempfile.TemporaryDirectory()
    os.environ[_SHARED] = _compiled.name
jax.config.update("jax_compilation_cache_dir", os.environ[_SHARED])
jax.config.update("jax_compilation_cache_max_size", 1 << 33)
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)
