# Run as PID 1 of namespaces of its own: enter.sh ROOT BINDS COMMAND…
# ROOT becomes /, with the machine's devices and, read-only, its paths BINDS; the commands run in the clone as its user.
set -eu
root=$1 binds=$2
shift 2
mount --bind "$root" "$root"
cd "$root"
mount -t proc proc proc
mount --rbind /dev dev
mount --rbind /sys sys
for path in $binds; do
  if [ -d "$path" ]; then mkdir -p ".$path"; else : >".$path"; fi
  mount --bind -o ro "$path" ".$path"
done
mkdir -p old
pivot_root . old
cd /
umount --lazy /old
hostname fresh

for command in "$@"; do
  echo "fresh: $command"
  begun=$(date +%s)
  # shellcheck disable=SC2016
  setpriv --reuid=trader --regid=trader --init-groups --reset-env sh -c 'cd ~/project && eval "$1"' sh "$command" || {
    echo "fresh: $command failed with code $?"
    exit 1
  }
  echo "fresh: $command: $(($(date +%s) - begun)) s"
done
