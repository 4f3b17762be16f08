#!/bin/sh
# Run a command if containers can be had, and end all of them after it: tools/fleet.sh COMMAND…
# If none can be had, it says so in one line and ends with 0; .cache/fleet.txt (or what FLEET_VERDICT names) tells which.
cd "$(dirname "$0")/.." || exit 1
packages="podman runc netavark aardvark-dns iptables debootstrap openssh-client"
mkdir -p .cache

# System packages are installed on a machine that is there for it, and nowhere else.
if [ -n "${CI:-}" ] && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null && ! command -v podman >/dev/null &&
  ! docker info >/dev/null 2>&1; then
  echo "fleet: installing $packages"
  { apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $packages; } \
    >.cache/fleet-apt.log 2>&1 || echo "fleet: that failed, see .cache/fleet-apt.log"
fi

# Root's podman gets namespaces of its own: what runs in them ends with the command, however that ends, and a kernel
# that shows cgroups in the hybrid way shows them in the new way there.
# shellcheck disable=SC2016
inside='
  if [ "$(stat --file-system --format=%T /sys/fs/cgroup)" != cgroup2fs ]; then
    umount -R /sys/fs/cgroup && mount -t cgroup2 none /sys/fs/cgroup
  fi
  for folder in /run/containers /run/libpod /run/netns /dev/shm; do
    mkdir -p "$folder" && mount -t tmpfs tmpfs "$folder"
  done
  exec "$@"'
own="unshare --mount --propagation private --pid --fork --kill-child --mount-proc"
if [ "$(id -u)" = 0 ] && command -v podman >/dev/null && $own true 2>/dev/null; then
  exec $own sh -ec "$inside" sh .venv/bin/python -m tests.fleet run "$@"
fi
exec .venv/bin/python -m tests.fleet run "$@"
