#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Create the application's database and tables."""

from __future__ import annotations

DOCUMENTATION = r"""
module: postgres_schema
short_description: Create the application's database and tables if they are missing
description:
  - Creates the database, and in it the tables C(assets) and C(market_data), if they are missing.
  - What exists stays as it is, of any layout and precision. A table that the application could not read and write stops
    the module with the table, the column, what was found and what is expected; nothing is changed then.
  - The role needs CREATEDB if the database is missing; it is created from C(postgres) or C(template1).
  - Several hosts may do this at once.
extends_documentation_fragment: [connection, interpreter]
options:
  layout:
    description:
      - How C(market_data) is created - in one table, by year, as a hypertable of TimescaleDB with chunks of three
        years, or distributed by symbol over the workers of Citus, with C(assets) on all of them.
      - An existing table stays as it is, whatever its layout; a note says if it is another one.
    type: str
    choices: [plain, partitioned, timescaledb, citus]
    default: plain
  compress_after:
    description: Days after which TimescaleDB compresses a chunk that it creates; V(0) for never.
    type: int
    default: 30
  citus_workers:
    description: The workers, C(host) or C(host:port) each, as both this host and the coordinator reach them.
    type: list
    elements: str
    default: []
  widen:
    description:
      - Widen narrow columns of existing tables to numeric and text without limits, which rewrites the tables.
      - Otherwise O(widen) is what RV(notes) advise.
    type: bool
    default: false
  admin_user:
    description:
      - Role that creates database, tables and roles. With it, the tables belong to C(<database>_owner), who does not
        log in, and the user of O(connection) is created with the rights that the jobs need and no more.
      - Without it, the user of O(connection) creates and owns everything.
    type: str
  admin_password:
    description: Password of O(admin_user).
    type: str
attributes:
  check_mode:
    description:
      - Says what would be created, and stops at what does not fit.
      - If no Python has psycopg2 yet, RV(skipped_because) says so, and nothing is looked at.
    support: full
  diff_mode:
    description: Lists database and tables before and after.
    support: full
  idempotent:
    description: What exists is left alone.
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
  description: Whether the database was V(created) or V(exists); in check mode, would be.
  type: str
  returned: success
tables:
  description: The same for each table, by name; also V(widened).
  type: dict
  returned: success
layout:
  description: The layout that C(market_data) has, or gets.
  type: str
  returned: success
rights:
  description: Roles and rights that were missing and are there now; with O(admin_user) only.
  type: list
  elements: str
  returned: success
notes:
  description: Columns of existing tables that would round a value or refuse a large one.
  type: list
  elements: str
  returned: success
problems:
  description: What does not fit, each with table, column, found and expected.
  type: list
  elements: str
  returned: failure because of an existing table
skipped_because:
  description: Why nothing could be looked at.
  type: str
  returned: in check mode, if no Python has psycopg2
"""

import importlib.util
from typing import Any

from ansible.module_utils import reporting
from ansible.module_utils.arguments.postgres_schema import ARGUMENTS
from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.database.layout import Layout
from ansible.module_utils.database.schema import Schema
from ansible.module_utils.database.server import Server
from ansible.module_utils.project import interpreter


def main() -> None:
    """Glue."""
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
            reason = f"{obstacle} Database and tables are looked at once it is there."
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
