#!/bin/sh
# `make clones`: two clones in folders of the same name run the sandbox's commands at the same time.
set -u
cd "$(dirname "$0")/../.." || exit 1
base=$(mktemp -d)
trap 'rm -rf "$base"' EXIT
trap 'exit 143' INT TERM

clone() {
  trap - EXIT
  folder=$base/$1/project
  git clone --quiet . "$folder" && cd "$folder" || exit 1
  make reset && make sandbox-backfill && make molecule
  code=$?
  make sandbox-stop || code=1
  exit $code
}

(clone one) >"$base/one.log" 2>&1 &
one=$!
(clone two) >"$base/two.log" 2>&1 &
two=$!
failed=0
wait $one || { cat "$base/one.log"; failed=1; }
wait $two || { cat "$base/two.log"; failed=1; }
[ $failed = 0 ] && echo "clones: both were reset, filled and tested at the same time"
exit $failed
