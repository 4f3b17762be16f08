#!/bin/sh
# Build the controller's environment .venv from a lock: tools/setup.sh controller|test|bench
# PYTHON=/path/to/python chooses the interpreter; otherwise the newest usable one is found by running it.
set -eu
cd "$(dirname "$0")/.."

cmp -s "requirements/$1.txt" ".venv/.$1.lock" && exit 0

usable() {
  "$1" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 15))' 2>/dev/null
}
python=
for name in ${PYTHON:-python3.14 python3.13 python3.12 python3.11 python3}; do
  if usable "$name"; then python=$name; break; fi
done
if [ -z "$python" ]; then
  echo "setup: no Python 3.11 to 3.14 among ${PYTHON:-the python3 of the PATH}; install one (Debian, Ubuntu: apt-get install python3 python3-venv)" >&2
  exit 1
fi
if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
  echo "setup: $python has no venv; install it (Debian, Ubuntu: apt-get install python3-venv)" >&2
  exit 1
fi

# One that does not run, or whose building was cut off, is rebuilt; a smaller one grows.
unfinished=.venv/.unfinished
if [ -e "$unfinished" ] || ! .venv/bin/python -c '' 2>/dev/null; then
  echo "setup: making .venv with $("$python" --version)"
  rm -rf .venv
  "$python" -m venv --without-pip .venv
fi
touch "$unfinished"
.venv/bin/python tools/install.py "$1"
rm "$unfinished"
