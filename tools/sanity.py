"""Run `ansible-test sanity` on a copy of the project with the layout of a collection.

ansible-test installs its own packages once, under .cache/sanity/home. A copy that has passed is not tested again.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import ansible_test
from ansible_test._util.target.common.constants import CONTROLLER_PYTHON_VERSIONS, REMOTE_ONLY_PYTHON_VERSIONS

ROOT = Path(__file__).resolve().parent.parent
CACHE = ROOT / ".cache/sanity"
COLLECTION = CACHE / "ansible_collections/local/market"
HOME = CACHE / "home"
# The folders of the project, and their names in a collection.
FOLDERS = {
    "library": "modules",
    "module_utils": "module_utils",
    "doc_fragments": "doc_fragments",
    "action_plugins": "action",
    "callback_plugins": "callback",
}
TESTS = ("validate-modules", "pep8", "yamllint", "import", "compile")
OLDEST = "3.9"  # the oldest Python that a host may have
OWN = f"{sys.version_info[0]}.{sys.version_info[1]}"
GALAXY = "namespace: local\nname: market\nversion: 1.0.0\nreadme: README.md\nauthors: [The maintainers]\n"
# ansible-test would download a script that installs pip. This one unpacks the pip that comes with Python, once for all
# environments of a Python, so that it is also compiled once.
GET_PIP = """import ensurepip, pathlib, subprocess, sys, sysconfig, zipfile
folder = sysconfig.get_config_var("WHEEL_PKG_DIR") or pathlib.Path(ensurepip.__file__).parent / "_bundled"
wheels = sorted(pathlib.Path(folder).glob("pip-*.whl"))
if not wheels:
    sys.exit(subprocess.call([sys.executable, "-m", "ensurepip"]))
shared = pathlib.Path.home() / "pip" / wheels[-1].stem
if not shared.exists():
    building = shared.with_suffix(".new")
    zipfile.ZipFile(wheels[-1]).extractall(building)
    building.rename(shared)
pathlib.Path(sysconfig.get_path("purelib"), "pip.pth").write_text(f"{shared}\\n")
"""


def renamed(text: str) -> str:
    """Return the text of a file with the names of a collection in imports, fragments and references."""
    utils = "|".join(sorted({path.stem for path in (ROOT / "module_utils").iterdir()}))
    modules = "|".join(sorted(path.stem for path in (ROOT / "library").glob("*.py")))
    ours = "ansible_collections.local.market.plugins.module_utils"
    text = re.sub(rf"\bansible\.module_utils\.({utils})\b", rf"{ours}.\1", text)
    text = re.sub(rf"\bfrom ansible\.module_utils import ({utils})\b", rf"from {ours} import \1", text)
    text = re.sub(rf"\bM\(({modules})\)", r"M(local.market.\1)", text)
    return re.sub(
        r"(?m)^extends_documentation_fragment: \[.*\]$",
        lambda found: re.sub(r"([\[ ])(?=\w)", r"\1local.market.", found[0]),
        text,
    )


def collection() -> dict[Path, str]:
    """Return the files of the copy by path."""
    files = {Path("galaxy.yml"): GALAXY, Path("README.md"): "A copy for ansible-test.\n"}
    for source, folder in FOLDERS.items():
        for path in sorted((ROOT / source).rglob("*.py")):
            text = path.read_text(encoding="utf-8")
            files[Path("plugins", folder, path.relative_to(ROOT / source))] = renamed(text)
    return files


def interpreters() -> dict[str, str]:
    """Return the Pythons that ansible-test supports, this one and others of the machine, by version, oldest first."""
    found = {}
    pyenv = Path(os.environ.get("PYENV_ROOT", "~/.pyenv")).expanduser() / "versions"
    for version in (*REMOTE_ONLY_PYTHON_VERSIONS, *CONTROLLER_PYTHON_VERSIONS):
        own = sys.executable if version == OWN else None
        for path in (own, *pyenv.glob(f"{version}.*/bin/python"), shutil.which(f"python{version}")):
            # Run it, because a version manager's shim may only print an error.
            if path and not subprocess.run([path, "-c", "import ensurepip"], capture_output=True).returncode:
                found[version] = str(path)
                break
    return found


def environment(pythons: dict[str, str]) -> dict[str, str]:
    """Return the environment of ansible-test: its own home, these Pythons, and the user's pip settings."""
    scripts, settings = HOME / ".ansible/test/cache", HOME / ".config/pip/pip.conf"
    for folder in (scripts, settings.parent, CACHE / "bin"):
        folder.mkdir(parents=True, exist_ok=True)
    # Each version of ansible-test wants the script for another version of pip.
    wanted = Path(ansible_test.__file__).parent / "_internal/python_requirements.py"
    for version in re.findall(r"\bpip='([\d.]+)'", wanted.read_text(encoding="utf-8")):
        (scripts / f"get_pip_{version.replace('.', '_')}.py").write_text(GET_PIP)
    listed = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True
    ).stdout
    found = dict(re.findall(r"^[\w:]+\.([\w-]+)='(.*)'$", listed, re.MULTILINE))
    settings.write_text("[global]\n" + "".join(f"{name} = {value}\n" for name, value in found.items()))
    for version, path in pythons.items():
        link = CACHE / f"bin/python{version}"
        link.unlink(missing_ok=True)
        link.symlink_to(path)
    return {"HOME": str(HOME), "PATH": f"{CACHE / 'bin'}:{os.defpath}", "LC_ALL": "C.UTF-8"}


def main() -> int:
    """Test, unless the same files have passed before."""
    files = collection()
    digest = hashlib.sha256(repr([metadata.version("ansible-core"), TESTS, files]).encode()).hexdigest()
    passed = CACHE / "passed"
    if passed.is_file() and passed.read_text() == digest:
        return 0
    if OWN not in CONTROLLER_PYTHON_VERSIONS:
        print(f"sanity: skipped: this ansible-test does not run on Python {OWN}")
        return 0
    known = interpreters()
    targets = [version for version in known if version in (OLDEST, list(known)[-1])]
    if OLDEST not in known:
        print(f"sanity: no Python {OLDEST} here: compile and import are tested only on {targets[0]}")
    shutil.rmtree(COLLECTION, ignore_errors=True)
    for path, text in files.items():
        (COLLECTION / path).parent.mkdir(parents=True, exist_ok=True)
        (COLLECTION / path).write_text(text, encoding="utf-8")
    # The project's repository ignores the copy, so without its own repository nothing would be tested.
    subprocess.run(["git", "init", "--quiet", COLLECTION], check=True)  # noqa: S607

    program = str(Path(sys.executable).parent / "ansible-test")
    command = [program, "sanity", "--color", "no", "--controller", f"origin:python={OWN}@{known[OWN]}"]
    command += [
        part for version in targets for part in ("--target-python", f"{version}@{CACHE}/bin/python{version}")
    ]
    command += [part for test in TESTS for part in ("--test", test)]
    settings = environment({version: known[version] for version in {*targets, OWN}})
    ready = _run([*command, "--prime-venvs"], settings)
    if ready.returncode:
        lines = ready.stdout.strip().splitlines()
        why = [line for line in lines if line.startswith("ERROR:")] or lines
        print(f"sanity: skipped: pip cannot install the packages of ansible-test: {why[-1]}")
        return 0
    done = _run(command, settings)
    if done.returncode or "All targets skipped" in done.stdout:
        print(re.sub(r"(?m)^(?!ERROR|FATAL).*\n", "", done.stdout) or done.stdout)
        return 1
    passed.write_text(digest)
    return 0


def _run(command: list[str], settings: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, cwd=COLLECTION, env=settings, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


if __name__ == "__main__":
    sys.exit(main())
