"""Install a lock of requirements/ into the environment that runs this: tools/install.py controller|test|bench

pip installs uv, and uv the rest, both by hash: from the indexes that pip is configured with, trusting what the system
trusts. If uv cannot, pip installs the rest too.
"""

from __future__ import annotations

import ensurepip
import importlib.util
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
    """pip of this environment; before it has one, the wheel that comes with the interpreter, run as it is."""
    if importlib.util.find_spec("pip"):
        program = ["-m", "pip"]
    else:
        folder = sysconfig.get_config_var("WHEEL_PKG_DIR") or Path(ensurepip.__file__).parent / "_bundled"
        wheels = sorted(Path(folder).glob("pip-*.whl"))
        if not wheels:
            subprocess.run([sys.executable, "-m", "ensurepip"], stdout=subprocess.DEVNULL, check=True)
        program = [f"{wheels[-1]}/pip"] if wheels else ["-m", "pip"]
    return [sys.executable, *program, "--disable-pip-version-check", "install", "--require-hashes"]


def requirement(lock: str, name: str) -> str:
    """The lines of one package in the text of a lock, with its hashes.

    Raises:
        SystemExit: the lock does not hold it.
    """
    found = re.search(rf"^{re.escape(name)}==.*\n(?:[ \t].*\n)*", lock, re.MULTILINE)
    if not found:
        raise SystemExit(f"setup: {name} is not in the lock; run `make lock`.")
    return found[0]


def environment() -> dict[str, str]:
    """The environment of pip and uv: indexes as pip has them, certificates as the system has them."""
    files = indexes.pip_files(str(Path.home()), os.environ)
    settings = indexes.pip_settings(files, os.environ)
    return {
        **os.environ,
        **indexes.uv_environment(settings),
        **indexes.system_trust(settings, os.environ),
        "UV_PYTHON_DOWNLOADS": "never",
    }


def install_uv(lock: str, environ: dict[str, str]) -> None:
    """Let pip install the uv of the lock, unless it is there."""
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
        subprocess.run([*pip(), "--quiet", "--no-deps", "-r", file.name], env=environ, check=True)


def install(lock: Path) -> None:
    """Install a lock by uv, or else by pip.

    Raises:
        subprocess.CalledProcessError: pip could not either.
    """
    environ = environment()
    install_uv(lock.read_text(), environ)
    print(f"setup: uv installs {lock.relative_to(ROOT)} into .venv", flush=True)
    uv = str(Path(sys.executable).parent / "uv")
    command = [uv, "pip", "install", "--python", sys.executable, "--require-hashes", "-r", str(lock)]
    if subprocess.run(command, env=environ, check=False).returncode:
        print("setup: uv could not; pip installs the same", flush=True)
        subprocess.run([*pip(), "-r", str(lock)], env=environ, check=True)


def main(group: str) -> int:
    """Install a group's lock, and remember it in .venv; the exit code."""
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
