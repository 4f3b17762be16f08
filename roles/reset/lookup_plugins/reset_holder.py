"""Names the run of Ansible that a lease on a project root belongs to."""

from __future__ import annotations

import getpass
import os
import socket
import uuid
from typing import Any

import psutil
from ansible.plugins.lookup import LookupBase

DOCUMENTATION = r"""
name: reset_holder
short_description: The run of Ansible that holds a project root
description:
  - Says which process of which controller this run is, and which runs of Ansible live on the controller now.
    With it the target tells a run that is under way from one that was killed.
author: [The project's maintainers]
"""

EXAMPLES = r"""
- name: Move the legacy artifacts away
  project_reset:
    stage: clean
    holder: "{{ lookup('reset_holder') }}"
"""

RETURN = r"""
_raw:
  description: One dictionary with C(controller), C(user), C(pid), C(process) and C(alive).
  type: list
  elements: dict
"""


class LookupModule(LookupBase):  # type: ignore[misc]
    """See DOCUMENTATION."""

    def run(self, terms: list[Any], variables: Any = None, **kwargs: Any) -> list[dict[str, Any]]:
        """One element, whatever the terms."""
        found = {process.pid: process for process in psutil.process_iter(["cmdline"]) if _is_ansible(process)}
        pid = os.getpid()
        # Lookups are made by the run's workers, children that carry the same command line.
        while found[pid].ppid() in found:
            pid = found[pid].ppid()
        return [
            {
                # A host name alone is shared by every "localhost".
                "controller": f"{socket.gethostname()}/{uuid.getnode():012x}",
                "user": getpass.getuser(),
                "pid": pid,
                "process": _identity(found[pid]),
                "alive": [_identity(process) for process in found.values()],
            }
        ]


def _is_ansible(process: psutil.Process) -> bool:
    words = process.info["cmdline"] or []
    return process.pid == os.getpid() or any(
        os.path.basename(word).startswith("ansible") for word in words[:2]
    )


def _identity(process: psutil.Process) -> str:
    """A later process of the same pid has another start."""
    try:
        return f"{process.pid} {process.create_time():.2f}"
    except psutil.NoSuchProcess:
        return f"{process.pid} ended"
