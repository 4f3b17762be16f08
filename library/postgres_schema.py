#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Create the application's database and tables."""

from __future__ import annotations

DOCUMENTATION = r"""
module: postgres_schema
short_description: Create the application's database and tables if they are missing
description:
  - Creates the database, and in it the tables C(assets) and C(market_data), if they are missing.
  - Existing tables stay as they are, with any layout and precision. If the application could not use a table, the
    module fails and names the table, the column, what was found and what is expected. Nothing is changed then.
  - If the database is missing, the role needs CREATEDB, and a connection to C(postgres) or C(template1).
  - Several hosts may do this at once.
extends_documentation_fragment: [shared.connection, shared.interpreter]
options:
  layout:
    description:
      - How a new C(market_data) is created. V(plain) is one table, and V(partitioned) has a partition for each year.
        V(timescaledb) is a hypertable with chunks of three years. V(citus) is distributed by symbol over the workers
        of Citus, with C(assets) on all of them.
      - An existing table keeps its layout. A note says if it is another one.
    type: str
    choices: [plain, partitioned, timescaledb, citus]
    default: plain
  compress_after:
    description: Days after which TimescaleDB compresses a chunk of a new table. V(0) switches compression off.
    type: int
    default: 30
  citus_workers:
    description: The workers, each as C(host) or C(host:port). Both this host and the coordinator must reach them.
    type: list
    elements: str
    default: []
  widen:
    description:
      - Widen narrow columns of existing tables to numeric and text without limits. This rewrites the tables.
      - If it is false, RV(notes) list the narrow columns.
    type: bool
    default: false
  admin_user:
    description:
      - Role that creates the database, tables and roles. The tables then belong to C(<database>_owner), which cannot
        log in, and the user of O(connection) gets only the rights that the jobs need.
      - By default, the user of O(connection) creates and owns everything.
    type: str
  admin_password:
    description: Password of O(admin_user).
    type: str
attributes:
  check_mode:
    description:
      - Reports what would be created, and fails if a table does not fit.
      - If no Python has psycopg2 yet, nothing is checked, and RV(skipped_because) says so.
    support: full
  diff_mode:
    description: Lists the database and the tables before and after.
    support: full
  idempotent:
    description: What exists is not changed.
    support: full
author: [The maintainers (@ansible-reset)]
"""

EXAMPLES = r"""
- name: Create database and tables if they are missing
  postgres_schema:
    connection:
      host: localhost
      user: postgres
      password: "{{ postgres_password }}"
      database: data_nexus
    interpreter: /opt/mt5-crs/venv/bin/python
"""

RETURN = r"""
database:
  description: V(created) or V(exists). In check mode, what would be.
  type: str
  returned: success
tables:
  description: V(created), V(exists) or V(widened) for each table, by name.
  type: dict
  returned: success
layout:
  description: The layout that C(market_data) has, or gets.
  type: str
  returned: success
rights:
  description: Roles and rights that were missing and have been created. Only with O(admin_user).
  type: list
  elements: str
  returned: success
notes:
  description: Existing columns that would round values or refuse large ones, and an existing table of another layout.
  type: list
  elements: str
  returned: success
problems:
  description: What does not fit. Each item names the table, the column, what was found and what is expected.
  type: list
  elements: str
  returned: failure because of an existing table
skipped_because:
  description: Why nothing was checked.
  type: str
  returned: check mode, if no Python has psycopg2
"""

import importlib.util
from typing import Any

from ansible.module_utils import interpreter, reporting
from ansible.module_utils.arguments.postgres_schema import ARGUMENTS
from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.database.layout import Layout
from ansible.module_utils.database.schema import Schema
from ansible.module_utils.database.server import Server


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec=ARGUMENTS,
        required_together=[("admin_user", "admin_password")],
        supports_check_mode=True,
    )
    options = module.params

    def work() -> dict[str, Any]:
        obstacle = interpreter.enter(options["interpreter"]) if options["interpreter"] else None
        if obstacle and not importlib.util.find_spec("psycopg2"):
            if not module.check_mode:
                raise reporting.Problem(obstacle)
            reason = f"{obstacle} Database and tables were not checked."
            return {"changed": False, "skipped_because": reason, "notes": [reason]}
        admin = options["admin_user"] or None
        return Schema(
            Server(**options["connection"]),
            options["timeout"],
            module.check_mode,
            Layout(options["layout"], options["compress_after"], options["citus_workers"]),
            options["widen"],
            (admin, options["admin_password"] or "") if admin else None,
        ).ensure()

    reporting.run(module, work)


if __name__ == "__main__":
    main()
