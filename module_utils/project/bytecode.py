"""Bytecode for the hosts of a kind: compiled once, by the control node, of what the first of them imported.

A host gives names alone. The bytecode is made of the sources in the wheels, which the index has vouched for, and is
bound to them by their hash (PEP 552): no interpreter takes it for another source, or for one that was changed.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile

MEMBER = "bytecode"  # of a kit: an archive for the folder of the packages
_SECONDS = 120.0


def imported(packages: str) -> str:
    """Sources below the folder of the packages that an import has compiled, by their names in there, a line each.

    One text, because Ansible looks at every element of a list.
    """
    found = []
    for folder, _, files in os.walk(packages):
        above, name = os.path.split(folder)
        if name == "__pycache__":
            sources = {f"{file.partition('.')[0]}.py" for file in files if file.endswith(".pyc")}
            found += [os.path.relpath(os.path.join(above, source), packages) for source in sources]
    return "\n".join(sorted(found))


def add(kit: str, names: str, python: str) -> str:
    """Compile the sources of these names in the wheels of a kit.

    Args:
        kit: path of the archive, which stays as it is: it may be on its way to a host.
        names: what ``imported`` gave; a name that no wheel holds is left out.
        python: version of the hosts' CPython.

    Returns:
        str: path of the kit with the bytecode; ``kit`` where this interpreter is of another minor version.
    """
    if sys.implementation.cache_tag != f"cpython-{''.join(python.split('.')[:2])}":
        return kit
    made = f"{kit}.compiled"
    with tempfile.TemporaryDirectory(dir=os.path.dirname(kit)) as folder:
        packages, compiled = os.path.join(folder, "packages"), os.path.join(folder, MEMBER)
        os.mkdir(packages)
        _extract(kit, set(names.splitlines()), packages)
        command = [
            sys.executable, "-I", "-m", "compileall", "-q", "-j", "0", "--invalidation-mode", "checked-hash",
            "-s", packages, packages,
        ]  # fmt: skip
        # A source that does not compile stays without, and so do those that are not reached in time.
        with contextlib.suppress(subprocess.TimeoutExpired):
            subprocess.run(
                command,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                check=False,
                timeout=_SECONDS,
            )
        with tarfile.open(compiled, mode="w:gz", compresslevel=1) as archive:
            archive.add(packages, "", filter=_bytecode)
        shutil.copyfile(kit, made)
        with tarfile.open(made, "a") as archive:
            archive.add(compiled, MEMBER)
    return made


def _extract(kit: str, names: set[str], folder: str) -> None:
    with tarfile.open(kit) as archive:
        for member in archive:
            content = archive.extractfile(member)
            if content is None or not member.name.endswith(".whl"):
                continue
            with zipfile.ZipFile(content) as wheel:
                for name in names.intersection(wheel.namelist()):
                    wheel.extract(name, folder)


def _bytecode(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    member.mode = 0o755 if member.isdir() else 0o644
    return member if member.isdir() or member.name.endswith(".pyc") else None
