# Sourced by the other scripts: goes to the repository's root and makes the virtual environment
# .venv ready with the pinned requirements and this library. PYTHON chooses the interpreter.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

python=${PYTHON:-python3}
if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
  echo "flightnn_jax needs Python 3.11 or newer, and '$python' is not: install one, or name it" \
    "with PYTHON=/path/to/python3.11 bash $0" >&2
  exit 1
fi

# The stamp is written last, so an installation that was cut short is done again.
wanted=$(cat requirements.txt pyproject.toml | "$python" -c \
  'import hashlib, sys; print(hashlib.sha256(sys.stdin.buffer.read()).hexdigest(), sys.version)')
if [ "$(cat .venv/installed 2>/dev/null)" != "$wanted" ]; then
  echo "setting up .venv (once; about a minute)"
  "$python" -m venv --clear .venv
  .venv/bin/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
  .venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
  echo "$wanted" >.venv/installed
fi
export PATH="$PWD/.venv/bin:$PATH"
