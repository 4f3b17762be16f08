"""Write ``.env`` in a root; ``managed`` decides what it holds."""

from __future__ import annotations

import errno
import os
import stat
from typing import Any

from ansible.module_utils.project import managed, proofs
from ansible.module_utils.project.guards import DOTENV
from ansible.module_utils.project.managed import Edit, Sections
from ansible.module_utils.project.opening import OpenRoot
from ansible.module_utils.project.proofs import DOTENV_MODE as MODE
from ansible.module_utils.project.quarantine import BUILD, Manifest, Quarantine
from ansible.module_utils.project.root import Directory
from ansible.module_utils.project.stages import Stage
from ansible.module_utils.reporting import Problem


def plan(root: OpenRoot, params: dict[str, Any]) -> Stage:
    """Plan what would change; raises Problem. The module's documentation explains ``params``."""
    folder, sections = root.folder, wanted(params)
    old = _read(folder)
    new = managed.plan(old, sections)
    settled = old is None or _settled(folder)
    result = {
        "changed": old != new.content or not settled,
        "managed": {name: list(getattr(new, name)) for name in ("added", "changed", "unchanged")},
        "notes": list(new.notes),
        "diff": _diff(f"{params['root']}/{DOTENV} (managed keys)", new, settled),
    }

    def apply(quarantine: Quarantine, run: Manifest) -> Manifest:
        # Read again: somebody may have changed the file while an earlier stage ran.
        content = managed.plan(_read(folder), sections).content
        with quarantine.state.enter(BUILD) as build:
            try:
                build.write_new(DOTENV, content, MODE)
                if build.read(DOTENV) != content:
                    raise OSError(errno.EIO, "the file does not read back as written", DOTENV)
                return quarantine.displace(run, [DOTENV], put=build)
            finally:
                build.remove(DOTENV)  # still there only after an error

    keys = [key for values in sections.values() for key in values]
    return Stage(result, apply, lambda: proofs.keys(folder, keys))


def wanted(params: dict[str, Any]) -> Sections:
    """Return what ``.env`` has to hold, from a module's parameters."""
    return managed.sections(
        params["connection"], params["api_keys"] or {}, params["flags"], params["extra"] or {}
    )


def _read(root: Directory) -> bytes | None:
    found = root.stat(DOTENV)
    if found is not None and not stat.S_ISREG(found.st_mode):
        kind = "a link" if stat.S_ISLNK(found.st_mode) else "not a file"
        raise Problem(
            f"{root.path}/{DOTENV} is {kind}. A reset follows no link and writes only regular files. Replace it by a"
            " regular file, or move it away."
        )
    return root.read(DOTENV)


def _settled(root: Directory) -> bool:
    found = root.stat(DOTENV)
    if found is None or stat.S_IMODE(found.st_mode) != MODE:
        return False
    owner = os.fstat(root.fd)
    return os.geteuid() != 0 or (found.st_uid, found.st_gid) == (owner.st_uid, owner.st_gid)


def _diff(header: str, edit: Edit, settled: bool) -> dict[str, str]:
    same = [f"{key}=***\n" for key in edit.unchanged]
    before = [] if settled else ["(mode or owner other than wanted)\n"]
    before += same + [f"{key}=*** (old)\n" for key in edit.changed]
    after = same + [f"{key}=*** (new)\n" for key in edit.changed + edit.added]
    return {
        "before_header": header,
        "after_header": header,
        "before": "".join(before),
        "after": "".join(after),
    }
