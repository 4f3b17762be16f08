"""``make fresh``: the README's commands on stock Debian, as an ordinary user with an empty home.

A suite is laid out once, by debootstrap from where this machine gets Debian, with the packages that the README names.
Each run works on a copy, with nothing of this machine but pip's configuration and the system's certificates.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path += [str(REPOSITORY), str(REPOSITORY / "module_utils")]

from project import indexes

CACHE = REPOSITORY / ".cache/fresh"
SUITES = ["bookworm", "trixie"]
README = (REPOSITORY / "README.md").read_text(encoding="utf-8")
HOSTS = "127.0.0.1 localhost fresh\n::1 localhost\n"
# Certificates and names as this machine has them; some of these are links to others.
SYSTEM = [
    "/etc/ssl/certs",
    "/usr/share/ca-certificates",
    "/usr/local/share/ca-certificates",
    "/etc/resolv.conf",
]
OWN_NAMESPACES = [
    "unshare",
    "--mount",
    "--propagation",
    "private",
    "--pid",
    "--ipc",
    "--uts",
    "--fork",
    "--kill-child",
]


class Missing(Exception):
    """What this machine lacks to lay out another one."""


def packages() -> list[str]:
    """What the README tells a user of Debian to install."""
    found = re.search(r"`apt-get install ([^`]+)`", README)
    assert found, "the README names no packages"
    return found[1].split()


def commands() -> list[str]:
    """The commands of the README's first block, the first of them twice."""
    found = re.search(r"```sh\n(.*?)```", README, re.DOTALL)
    assert found, "the README has no commands"
    lines = [line.split("#")[0].strip() for line in found[1].splitlines()]
    return [lines[0], *lines]


def require() -> None:
    """Raise ``Missing`` if no other machine can be laid out and entered here."""
    if os.geteuid() != 0:
        raise Missing("it takes root")
    for program in ("debootstrap", "unshare", "pivot_root", "setpriv"):
        if not shutil.which(program):
            raise Missing(f"{program} is missing (Debian, Ubuntu: apt-get install debootstrap util-linux)")
    if subprocess.run([*OWN_NAMESPACES, "true"], capture_output=True, timeout=30, check=False).returncode:
        raise Missing("this kernel or container gives no namespaces")


def mirror() -> list[str]:
    """Where this machine gets Debian from; else debootstrap's own choice."""
    wanted = ["--format", "$(LABEL)|$(COMPONENT)|$(REPO_URI)", "Created-By: Packages"]
    try:
        listed = subprocess.run(
            ["apt-get", "indextargets", *wanted], capture_output=True, text=True, timeout=30, check=False
        ).stdout
    except OSError:
        return []
    lines = (line.split("|") for line in listed.splitlines())
    return [url for label, component, url in lines if (label, component) == ("Debian", "main")][:1]


def layout(suite: str) -> Path:
    """The machine of a suite, laid out on the first call and when the README names other packages."""
    base = CACHE / suite
    named = base / "etc/packages-of-the-readme"
    if not named.exists() or named.read_text().split() != packages():
        print(f"fresh: laying out {suite}", flush=True)
        building = CACHE / f"{suite}.new"
        shutil.rmtree(building, ignore_errors=True)
        CACHE.mkdir(parents=True, exist_ok=True)
        options = ["--variant=minbase", f"--include={','.join(packages())}"]
        run(["debootstrap", *options, suite, str(building), *mirror()], seconds=600)
        run(
            ["chroot", str(building), "useradd", "--create-home", "--uid=1000", "--shell=/bin/sh", "trader"],
            seconds=30,
        )
        (building / "etc/hosts").write_text(HOSTS)
        (building / named.relative_to(base)).write_text("\n".join(packages()))
        shutil.rmtree(base, ignore_errors=True)
        building.rename(base)
    return base


def run(argv: list[str], seconds: float) -> str:
    """Run a program of this machine; SystemExit with its last words if it fails."""
    done = subprocess.run(argv, capture_output=True, text=True, timeout=seconds, check=False)
    if done.returncode:
        raise SystemExit(f"fresh: {argv[0]} failed: {(done.stderr or done.stdout)[-600:]}")
    return done.stdout.strip()


def clone(folder: Path) -> None:
    """What git has of this project, with what is changed and not committed yet."""
    git = ["git", "-C", str(REPOSITORY)]
    state = run([*git, "stash", "create"], seconds=60) or "HEAD"
    run(["git", "clone", "--quiet", "--no-checkout", str(REPOSITORY), str(folder)], seconds=120)
    with tempfile.TemporaryFile() as packed:
        subprocess.run([*git, "archive", state], stdout=packed, timeout=60, check=True)
        packed.seek(0)
        subprocess.run(["tar", "-x", "-C", str(folder)], stdin=packed, timeout=60, check=True)
    run(["git", "-C", str(folder), "reset", "--quiet"], seconds=60)
    run(["chown", "-R", "1000:1000", str(folder)], seconds=60)


def configure_pip(root: Path) -> list[str]:
    """Write this machine's pip configuration into ``root``, without certificates; the local folders that it needs."""
    settings = indexes.pip_settings(str(Path.home()), os.environ)
    settings.pop("cert", None)
    lines = [f"{key} = {value}\n" for key, value in settings.items()]
    (root / "etc/pip.conf").write_text("[global]\n" + "".join(lines))
    words = [word.removeprefix("file://") for value in settings.values() for word in value.split()]
    # The pages of an index may lead to files beside it.
    return sorted({str(Path(word).parent) for word in words if word.startswith("/") and Path(word).is_dir()})


def trial(suite: str, steps: list[str], minutes: float) -> int:
    """Run the steps on a copy of the suite's machine; the exit code."""
    copy = CACHE / f"{suite}.run"
    shutil.rmtree(copy, ignore_errors=True)
    # The user of the copy cannot write to the files that it shares with the machine laid out.
    run(["cp", "-al", str(layout(suite)), str(copy)], seconds=120)
    (copy / "etc/pip.conf").unlink(missing_ok=True)
    (copy / "etc/resolv.conf").unlink(missing_ok=True)
    clone(copy / "home/trader/project")
    binds = [path for path in SYSTEM if Path(path).exists()] + configure_pip(copy)
    inside = ["sh", str(Path(__file__).with_name("enter.sh")), str(copy), " ".join(binds), *steps]
    bare = {"PATH": os.environ["PATH"], "TERM": os.environ.get("TERM", "dumb")}
    process = subprocess.Popen([*OWN_NAMESPACES, *inside], env=bare, start_new_session=True)
    try:
        return process.wait(minutes * 60)
    except subprocess.TimeoutExpired:
        print(f"fresh: {suite}: no end after {minutes:g} minutes", flush=True)
        return 124
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        shutil.rmtree(copy, ignore_errors=True)


def main() -> int:
    """Try each suite; the exit code is the first one that failed."""
    parser = argparse.ArgumentParser(prog="make fresh", description=__doc__)
    parser.add_argument("suites", nargs="*", metavar="SUITE", help=f"default: {' '.join(SUITES)}")
    parser.add_argument(
        "--run", action="append", metavar="COMMAND", help="instead of the README's; more than once"
    )
    parser.add_argument("--minutes", type=float, default=30, help="after which a suite has failed")
    options = parser.parse_args()
    try:
        require()
    except Missing as missing:
        print(f"fresh: skipped: {missing}")
        return 0
    failed = 0
    for suite in options.suites or SUITES:
        code = trial(suite, options.run or commands(), options.minutes)
        print(f"fresh: {suite}: {'failed' if code else 'passed'}", flush=True)
        failed = failed or code
    return failed


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    sys.exit(main())
