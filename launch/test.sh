#!/usr/bin/env bash
# Sets everything up and runs every check: lint, format, types, tests, doctests, coverage.
#
#   bash launch/test.sh            everything
#   bash launch/test.sh --quick    without the tests that are marked slow, and without coverage
source "$(dirname "$0")/environment.sh"

case "${1:-}" in
  "") tests=(--cov --cov-report=term-missing:skip-covered) ;;
  --quick) tests=(-m "not slow") ;;
  *)
    echo "usage: bash launch/test.sh [--quick]" >&2
    exit 2
    ;;
esac

ruff check .
ruff format --check .
mypy
# Two processes: JAX compiles on one thread, and that is what the tests spend their time on. A module
# stays in one of them, so that what it compiles or trains is made once; tests/conftest.py has the
# longest modules first.
pytest --quiet --numprocesses=2 --dist=loadfile --no-loadscope-reorder "${tests[@]}"
