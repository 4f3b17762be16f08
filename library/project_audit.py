#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Audit a host: every promise of a reset, its health, and what its database holds."""

from __future__ import annotations

DOCUMENTATION = r"""
module: project_audit
short_description: Audit what a reset leaves behind
description:
  - Looks at every promise of a reset, each with what is expected, what is found and a verdict. It only reads.
  - What is wrong is in the result; the module itself succeeds, and RV(verdict) says how it stands. It works on a
    host without an environment too, and says so.
  - It continues in the Python of the project's venv, if there is one, and reads from the database what the
    audit's page shows.
extends_documentation_fragment: [connection, project, reading]
options:
  host:
    description: Name of the host, for the waivers.
    type: str
    required: true
  artifacts:
    description: Names in O(root) that must be gone, C(venv) aside.
    type: list
    elements: str
    required: true
  packages:
    description: Requirements that the environment must hold.
    type: list
    elements: str
    required: true
  health:
    description: The result of the module M(health_check) on this host.
    type: dict
    required: true
  tables:
    description: Tables whose rows must be known, as M(health_check) takes them.
    type: list
    elements: raw
    required: true
  waivers:
    description:
      - Problems that are accepted for now. Each names a C(check), a C(reason), the last day on which it counts as
        C(expires), and if it is not for all, a C(host).
      - One without reason or date is refused. One that has expired counts no more, and is named.
    type: list
    elements: dict
    default: []
  publish_hours:
    description: Hours from when the provider should have a bar until it is missed.
    type: float
    default: 6
  months:
    description: How many months of bars the page shows.
    type: int
    default: 24
  symbols:
    description: How many symbols it shows one by one, those first that lack most.
    type: int
    default: 40
  timeout:
    description: Seconds for the connection.
    type: float
    default: 3
  query_timeout:
    description: Seconds for the questions to the database, about.
    type: float
    default: 30
requirements:
  - psycopg2, for what the page shows of the database
author: [The maintainers (@ansible-reset)]
"""

EXAMPLES = r"""
- name: Audit the host
  project_audit:
    host: "{{ inventory_hostname }}"
    root: /opt/mt5-crs
    protected: [src, scripts, docs, .git]
    artifacts: [bin, lib, lib64, include, pyvenv.cfg, venv]
    packages: [pandas, redis]
    connection:
      host: localhost
      port: 5432
      user: postgres
      password: "{{ vault_postgres_password }}"
      database: data_nexus
    api_keys:
      EODHD_API_TOKEN: "{{ vault_eodhd_api_token }}"
    health: "{{ health }}"
    tables: [market_data, assets]
    waivers:
      - check: package redis
        reason: Built without it until the mirror has it again
        expires: 2026-12-31
  register: audit
"""

RETURN = r"""
verdict:
  description: V(fail) if a check failed or none was made, V(warn) if one warns, V(pass) otherwise.
  type: str
  returned: success
  sample: pass
checks:
  description: Every check in order.
  type: list
  elements: dict
  returned: success
  contains:
    name: {description: "The same in every run.", type: str}
    group: {description: What it is about., type: str}
    expected: {description: What was promised., type: str}
    found: {description: What was found., type: str}
    verdict: {description: "V(pass), V(warn), V(fail) or V(waived).", type: str}
    advice: {description: "What to do, empty if nothing is.", type: str}
    waiver: {description: "Why it is accepted, and until when.", type: str}
failures:
  description: Names of the checks that failed.
  type: list
  elements: str
  returned: success
counts:
  description: Number of checks by verdict.
  type: dict
  returned: success
  sample: {pass: 31, warn: 0, fail: 0, waived: 0}
last_reset:
  description: What the last reset that is kept moved, and the command that undoes it; null if there is none.
  type: dict
  returned: success
data:
  description:
    - What the page shows of the database - C(coverage), C(ledger), and C(notes) on what could not be had. Null
      if no Python with psycopg2 is there.
  type: dict
  returned: success
report:
  description: The text for people.
  type: str
  returned: success
"""

import os
from dataclasses import asdict
from datetime import datetime, timedelta, timezone
from typing import Any

from ansible.module_utils import reporting
from ansible.module_utils.arguments.project_audit import ARGUMENTS
from ansible.module_utils.audit import health, host, model, snapshots, waivers
from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.database.server import Server
from ansible.module_utils.health.model import wanted
from ansible.module_utils.project import interpreter


def examine(options: dict[str, Any]) -> dict[str, Any]:
    """Look at everything, and apply the waivers."""
    waived = waivers.parse(options["waivers"])
    today = datetime.now(timezone.utc).date()
    found = host.examine(options)
    tables = [table.name for table in wanted(options["tables"])]
    found.checks += health.checks(options["health"], tables)
    data = database(options)
    found.checks += snapshots.checks(data["snapshots"]) if data else ()
    checks = waivers.applied(found.checks, waived, options["host"], today)
    return {
        "changed": False,
        "verdict": model.verdict(checks),
        "checks": [asdict(check) for check in checks],
        "failures": [check.name for check in checks if check.verdict == model.FAIL],
        "counts": model.counts(checks),
        "last_reset": found.last_reset,
        "data": data,
        "report": model.report(checks),
    }


def database(options: dict[str, Any]) -> dict[str, Any] | None:
    """What the page shows of the database; None in a Python that cannot ask it."""
    import importlib.util

    if not importlib.util.find_spec("psycopg2"):
        return None
    from ansible.module_utils.audit import data

    return data.look(
        Server(**options["connection"]),
        datetime.now(timezone.utc),
        timedelta(hours=options["publish_hours"]),
        options["months"],
        options["symbols"],
        options["timeout"],
        options["query_timeout"],
    )


def main() -> None:
    """Glue."""
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    options = module.params

    def work() -> dict[str, Any]:
        # Nothing that an audit starts leaves compiled files behind.
        os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
        interpreter.enter(f"{options['root']}/venv/bin/python")
        return examine(options)

    reporting.run(module, work)


if __name__ == "__main__":
    main()
