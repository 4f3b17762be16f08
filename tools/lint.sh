#!/bin/sh
# Every linter runs, whatever the one before said; the first failure decides the exit code.
cd "$(dirname "$0")/.." || exit 1
status=0
check() { echo "lint: $1"; "$@" || status=1; }
check ruff check --no-cache --quiet .
check mypy --no-error-summary --cache-dir .cache/mypy module_utils library tests
check yamllint --strict .
check ansible-lint --offline -q
exit $status
