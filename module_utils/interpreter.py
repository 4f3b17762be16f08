"""Continue a module in the Python of the project's venv.

Ansible starts modules with the host's Python, but the packages are in the venv. The venv may be missing, outdated or
broken; ``enter`` then returns a message for the user.
"""

from __future__ import annotations

import os
import subprocess
import sys

from ansible.module_utils.common.respawn import has_respawned, respawn_module


def enter(interpreter: str) -> str | None:
    """Continue this module in ``interpreter``; return None if it runs there already, or why it cannot."""
    here = (os.path.realpath(sys.prefix), os.path.realpath(sys.executable))
    prefix = os.path.dirname(os.path.dirname(interpreter))
    if has_respawned() or here == (os.path.realpath(prefix), os.path.realpath(interpreter)):
        return None
    build = "build the environment with `ansible-playbook playbooks/reset.yml --tags venv`"
    if not os.path.exists(interpreter):
        return f"{interpreter} is missing; {build}."
    try:
        done = subprocess.run(
            [interpreter, "-I", "-S", "-c", "import sys; sys.exit(sys.version_info < (3, 9))"],
            stdin=subprocess.DEVNULL, capture_output=True, timeout=10, check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return f"{interpreter} cannot be run; {build}."
    if done.returncode:
        return f"{interpreter} is broken or older than Python 3.9; {build}."
    respawn_module(interpreter)  # does not return: the process ends with the module
    return None
