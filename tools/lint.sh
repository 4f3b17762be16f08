#!/bin/sh
# tools/lint.sh [NAME…]: run all linters, or the named ones; exit with 1 if any fails.
cd "$(dirname "$0")/.." || exit 1
status=0
only=" $* "
wanted() { case "${only#  }" in "" | *" $1 "*) ;; *) return 1 ;; esac; }
check() { if wanted "$1"; then echo "lint: $1"; "$@" || status=1; fi; }
mkdir -p .cache
if wanted sanity; then python tools/sanity.py >.cache/sanity.txt 2>&1 & sanity=$!; fi  # it takes a while: beside the others
check ruff check --no-cache --quiet .
check ruff format --no-cache --quiet --check .
# mypy finds module_utils where Ansible puts it, so that types hold across the modules.
mkdir -p .cache/typing/ansible
ln -sfn ../../../module_utils .cache/typing/ansible/module_utils
export MYPYPATH=.cache/typing
check mypy --no-error-summary --cache-dir .cache/mypy -p ansible.module_utils
check mypy --no-error-summary --cache-dir .cache/mypy library callback_plugins action_plugins tests tools
check yamllint --strict .
check ansible-lint --offline -q
# shellcheck disable=SC2046 # names of modules are words
check ansible-doc -t module -M library $(basename -s .py library/*.py) >/dev/null
if wanted sanity; then
  echo "lint: ansible-test sanity"
  wait "$sanity" || status=1
  cat .cache/sanity.txt
fi
exit $status
