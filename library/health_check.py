#!/usr/bin/python
"""Check whether one can work with a host and its database."""

from __future__ import annotations

DOCUMENTATION = r"""
module: health_check
short_description: Check a project's settings, its database and its tables
description:
  - Reads C(.env) in the project's root as the application does, connects to the database that C(DB_URL)
    names, and counts the rows of the tables in one read-only session.
  - Nothing takes longer than the time-outs, whatever the server does. What is wrong is in the result, each
    problem with what to do about it; the module itself succeeds, and RV(healthy) says how it stands.
  - It continues in the Python of the project's venv, which proves that the venv works.
options:
  root:
    description: Absolute path of the project.
    type: path
    required: true
  interpreter:
    description:
      - The Python to check with. It needs psycopg2 and python-dotenv.
      - Without it, C(venv/bin/python) in O(root).
    type: path
  tables:
    description:
      - Tables that have to be there, each a name, C(schema.table), or a dictionary with C(name) and
        C(min_rows), the number of rows that it has to hold at least.
      - An empty table is healthy, with a warning.
    type: list
    elements: raw
    default: [market_data, assets]
  timeout:
    description: Seconds for the connection, all addresses of the host together.
    type: float
    default: 3
  query_timeout:
    description: Seconds for all counts together.
    type: float
    default: 10
  count:
    description:
      - V(exact) counts every row; a table that takes too long is unhealthy.
      - V(estimate) takes the numbers of the last ANALYZE, those of partitions summed up.
      - V(auto) counts, and takes the estimate where that takes too long.
    type: str
    choices: [exact, estimate, auto]
    default: auto
requirements:
  - psycopg2
  - python-dotenv
attributes:
  check_mode:
    description: It never changes anything, and does the same in check mode.
    support: full
  diff_mode:
    description: There is nothing to compare.
    support: none
  idempotent:
    description: It never changes anything.
    support: full
author: [The project's maintainers]
"""

EXAMPLES = r"""
- name: Check the host
  health_check:
    root: /opt/mt5-crs
    tables:
      - assets
      - name: market_data
        min_rows: 1000
  register: health

- name: Stop where it is unhealthy
  ansible.builtin.assert:
    that: health.healthy
    fail_msg: "{{ health.report }}"
"""

RETURN = r"""
healthy:
  description: Whether no check failed.
  type: bool
  returned: success
report:
  description: The text for people.
  type: str
  returned: success
  sample: |-
    📊 Infrastructure Health Check
    Database: postgresql://postgres:***@localhost:5432/data_nexus
    ✅ Connection successful
    📈 Table Statistics:
       market_data: 21 rows
       assets: 1 row
    ✅ System Healthy
problems:
  description: What makes the host unhealthy, each with what to do.
  type: list
  elements: str
  returned: success
  sample: []
checks:
  description: Every finding in order.
  type: list
  elements: dict
  returned: success
  contains:
    check:
      description: Name of the check.
      type: str
      sample: connection
    level:
      description: V(ok), V(warn) or V(fail).
      type: str
      sample: ok
    message:
      description: What was found, and what to do about it.
      type: str
      sample: PostgreSQL 18.1 at localhost:5432
tables:
  description: Rows by table; null where they could not be counted. Tables that cannot be read are left out.
  type: dict
  returned: success
  sample: {market_data: 21, assets: 1}
estimated:
  description: The tables whose number is an estimate.
  type: list
  elements: str
  returned: success
  sample: []
server_version:
  description: Version of PostgreSQL, or null without a connection.
  type: str
  returned: success
  sample: "18.1"
latency_ms:
  description: Milliseconds of one question and its answer on the open connection, or null without one.
  type: float
  returned: success
  sample: 0.4
url:
  description: The database, its password masked; null where C(.env) does not name it.
  type: str
  returned: success
  sample: postgresql://postgres:***@localhost:5432/data_nexus
"""

from pathlib import Path
from typing import Any

from ansible.module_utils import reporting
from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.database import connection
from ansible.module_utils.health import checks, model
from ansible.module_utils.project import interpreter


def main() -> None:
    """Glue."""
    module = AnsibleModule(
        argument_spec={
            "root": {"type": "path", "required": True},
            "interpreter": {"type": "path"},
            "tables": {"type": "list", "elements": "raw", "default": ["market_data", "assets"]},
            "timeout": {"type": "float", "default": 3},
            "query_timeout": {"type": "float", "default": 10},
            "count": {"type": "str", "choices": ["exact", "estimate", "auto"], "default": "auto"},
        },
        supports_check_mode=True,
    )
    options = module.params

    def work() -> dict[str, Any]:
        root = Path(options["root"])
        obstacle = interpreter.enter(options["interpreter"] or str(root / "venv/bin/python"))
        if obstacle:
            unhealthy: dict[str, Any] = checks.result([model.Finding("environment", "fail", obstacle)])
            return unhealthy
        context = model.Context(
            env=root / ".env",
            tables=model.wanted(options["tables"]),
            timeout=options["timeout"],
            query_timeout=options["query_timeout"],
            count=options["count"],
            open_connection=connection.connect,
        )
        examined: dict[str, Any] = checks.examine(context)
        return examined

    reporting.run(module, work)


if __name__ == "__main__":
    main()
