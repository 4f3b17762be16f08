"""A module that continues in another Python, the one of the project's venv.

Ansible starts modules with the host's Python, which is always there; the packages are in the venv, which may
be missing, stale or broken. Those are found out here, in words.
"""

from __future__ import annotations

import os
import subprocess
import sys

from ansible.module_utils.common.respawn import has_respawned, respawn_module

_PROBE = "import sys; sys.exit(sys.version_info < (3, 9))"


def enter(interpreter: str) -> str | None:
    """Continue this module in ``interpreter``; None in that Python, or why it cannot be."""
    if has_respawned() or _inside(interpreter):
        return None
    reason = _obstacle(interpreter)
    if reason is None:
        respawn_module(interpreter)  # the process ends with what happens there
    return reason


def _obstacle(interpreter: str) -> str | None:
    build = "build the environment with `ansible-playbook playbooks/reset.yml --tags venv`"
    if not os.path.exists(interpreter):
        return f"{interpreter} is missing; {build}."
    try:
        done = subprocess.run(
            [interpreter, "-I", "-S", "-c", _PROBE],
            stdin=subprocess.DEVNULL, capture_output=True, timeout=10, check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return f"{interpreter} cannot be run; {build}."
    return f"{interpreter} is broken or older than Python 3.9; {build}." if done.returncode else None


def _inside(interpreter: str) -> bool:
    here = (os.path.realpath(sys.prefix), os.path.realpath(sys.executable))
    prefix = os.path.dirname(os.path.dirname(interpreter))
    return here == (os.path.realpath(prefix), os.path.realpath(interpreter))
