"""Install a lock of requirements/ into the environment that runs this: tools/install.py controller|test|bench

pip installs uv, and uv the rest, both by hash: from the indexes that pip is configured with, trusting what the system
trusts. If uv cannot, pip installs the rest too.
"""

from __future__ import annotations

import ensurepip
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "module_utils"))

from project import indexes


def pip() -> list[str]:
    """Return the command of the interpreter's pip, or of its bundled pip wheel."""
    base = getattr(sys, "_base_executable", sys.executable)
    program = [base, "-m", "pip", "--python", sys.executable]
    if subprocess.run([base, "-c", "import pip"], capture_output=True, check=False).returncode:
        folder = sysconfig.get_config_var("WHEEL_PKG_DIR") or Path(ensurepip.__file__).parent / "_bundled"
        wheels = sorted(Path(folder).glob("pip-*.whl"))
        if not wheels:
            subprocess.run([sys.executable, "-m", "ensurepip"], stdout=subprocess.DEVNULL, check=True)
        program = [sys.executable, f"{wheels[-1]}/pip"] if wheels else [sys.executable, "-m", "pip"]
    return [*program, "--disable-pip-version-check", "install", "--require-hashes", "--no-deps"]


def requirement(lock: str, name: str) -> str:
    """Return the lines of one package in a lock, with its hashes.

    Raises:
        SystemExit: the lock does not hold it.
    """
    found = re.search(rf"^{re.escape(name)}==.*\n(?:[ \t].*\n)*", lock, re.MULTILINE)
    if not found:
        raise SystemExit(f"setup: {name} is not in the lock; run `make lock`.")
    return found[0]


def environment() -> dict[str, str]:
    """Return the environment for pip and uv: pip's indexes and the system's certificates."""
    settings = indexes.pip_settings(str(Path.home()), os.environ)
    return {
        **os.environ,
        **indexes.uv_environment(settings),
        **indexes.system_trust(settings, os.environ),
        "UV_PYTHON_DOWNLOADS": "never",
    }


def install_uv(lock: str, environ: dict[str, str]) -> None:
    """Install the locked uv with pip, unless it is installed."""
    wanted = requirement(lock, "uv")
    version = wanted.split()[0].removeprefix("uv==")
    try:
        if metadata.version("uv") == version:
            return
    except metadata.PackageNotFoundError:
        pass
    print(f"setup: pip installs uv {version}", flush=True)
    with tempfile.NamedTemporaryFile("w", prefix="uv-", suffix=".txt") as file:
        file.write(wanted)
        file.flush()
        subprocess.run([*pip(), "--quiet", "-r", file.name], env=environ, check=True)


def install(lock: Path) -> None:
    """Install a lock with uv, or with pip if that fails.

    Raises:
        subprocess.CalledProcessError: pip could not either.
    """
    environ = environment()
    install_uv(lock.read_text(), environ)
    print(f"setup: uv installs {lock.relative_to(ROOT)} into .venv", flush=True)
    uv = str(Path(sys.executable).parent / "uv")
    options = ["--python", sys.executable, "--require-hashes", "--no-deps"]
    if subprocess.run([uv, "pip", "install", *options, "-r", str(lock)], env=environ, check=False).returncode:
        print("setup: uv could not; pip installs the same", flush=True)
        subprocess.run([*pip(), "-r", str(lock)], env=environ, check=True)


def main(group: str) -> int:
    """Install a group's lock, record it in .venv, and return the exit code."""
    lock = ROOT / "requirements" / f"{group}.txt"
    try:
        install(lock)
    except subprocess.CalledProcessError as error:
        print("setup: pip could not install; its last lines say why.", file=sys.stderr)
        return error.returncode
    shutil.copyfile(lock, Path(sys.prefix) / f".{group}.lock")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
