#!/usr/bin/env bash
# Sets everything up and runs every check: lint, format, types, tests, doctests, coverage.
#
#   bash launch/test.sh                 every test, with the cases that differ in kind
#   bash launch/test.sh --exhaustive    every case of every test
#   bash launch/test.sh --quick         without the tests that are marked slow, and without coverage
source "$(dirname "$0")/environment.sh"

cases=" and not exhaustive"
quick=
case "${1:-}" in
  "") ;;
  --exhaustive) cases= ;;
  --quick) quick=yes ;;
  *)
    echo "usage: bash launch/test.sh [--quick|--exhaustive]" >&2
    exit 2
    ;;
esac

# Tests and the many commands that they start would be compiled by Python again in each process.
unset PYTHONDONTWRITEBYTECODE

ruff check .
ruff format --check .
mypy
# Three processes for two cores: JAX compiles on one thread, and some tests wait for others. A module
# stays in one of them, so that what it compiles or trains is made once; tests/conftest.py has the
# longest modules first.
run() {
  pytest --quiet --numprocesses=3 --dist=loadfile --no-loadscope-reorder "$@"
}
if [ "$quick" ]; then
  run -m "not slow"
else
  run -m "not optimized$cases" --cov --cov-report=term-missing:skip-covered
  # What XLA makes of floats when it optimizes, as it does for users.
  mapfile -t modules < <(grep -rl --include="test_*.py" "mark.optimized" tests)
  FLIGHTNN_TESTS_OPTIMIZED=1 run -m "optimized$cases" "${modules[@]}"
fi
