#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Audit a host: every promise of a reset, its health, and the data in its database."""

from __future__ import annotations

DOCUMENTATION = r"""
module: project_audit
short_description: Audit the state after a reset
description:
  - Checks every promise of a reset, and reports for each what was expected, what was found and a verdict. It only
    reads.
  - The module succeeds even if checks fail; RV(verdict) has the result. A host without an environment is audited,
    too, and its environment checks fail.
  - Runs in the Python of the project's venv, if there is one, and then also reads the database for the audit's page.
extends_documentation_fragment: [shared.connection, shared.project, shared.reading]
options:
  host:
    description: Name of the host, for the waivers.
    type: str
    required: true
  artifacts:
    description: Names that must not exist in O(root), except C(venv).
    type: list
    elements: str
    required: true
  packages:
    description: Requirements that the environment must have.
    type: list
    elements: str
    required: true
  health:
    description: Result of the module M(health_check) on this host.
    type: dict
    required: true
  tables:
    description: Tables that must be counted, in the format of M(health_check).
    type: list
    elements: raw
    required: true
  waivers:
    description:
      - Problems that are accepted for now. Each has a C(check), a C(reason), its last valid day as C(expires), and
        optionally a C(host). Without C(host) it applies to all hosts.
      - A waiver without a reason or a date is refused. An expired waiver is reported and no longer applies.
    type: list
    elements: dict
    default: []
  publish_hours:
    description: Hours after EODHD publishes a bar until it counts as missing.
    type: float
    default: 6
  months:
    description: Months of bars that the page shows.
    type: int
    default: 24
  symbols:
    description: Symbols that the page lists one by one, starting with those that lack most.
    type: int
    default: 40
  timeout:
    description: Seconds for the connection.
    type: float
    default: 3
  query_timeout:
    description: Approximate seconds for all queries to the database.
    type: float
    default: 30
requirements:
  - psycopg2, for the page's data from the database
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
        reason: Not installed until the mirror has it again
        expires: 2026-12-31
  register: audit
"""

RETURN = r"""
verdict:
  description: V(fail) if a check failed or none ran, V(warn) if a check warns, V(pass) otherwise.
  type: str
  returned: success
  sample: pass
checks:
  description: All checks in order.
  type: list
  elements: dict
  returned: success
  contains:
    name: {description: "Name of the check, the same in every run.", type: str}
    group: {description: Heading of the check., type: str}
    expected: {description: What was expected., type: str}
    found: {description: What was found., type: str}
    verdict: {description: "V(pass), V(warn), V(fail) or V(waived).", type: str}
    advice: {description: "What to do; empty if nothing.", type: str}
    waiver: {description: "Why the problem is accepted, and until when.", type: str}
failures:
  description: Names of the failed checks.
  type: list
  elements: str
  returned: success
counts:
  description: Number of checks by verdict.
  type: dict
  returned: success
  sample: {pass: 31, warn: 0, fail: 0, waived: 0}
last_reset:
  description: What the last reset moved, and the command that undoes it; null if the quarantine has no reset.
  type: dict
  returned: success
data:
  description:
    - The page's data from the database - C(coverage), C(ledger), and C(notes) on what could not be read. Null
      without a Python that has psycopg2.
  type: dict
  returned: success
report:
  description: The report as text.
  type: str
  returned: success
"""

import importlib.util
import os
from dataclasses import asdict
from datetime import datetime, timedelta, timezone
from typing import Any

from ansible.module_utils import interpreter, reporting
from ansible.module_utils.arguments.project_audit import ARGUMENTS
from ansible.module_utils.audit import data, host, model
from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.coverage.expected import Markets, Window
from ansible.module_utils.database.server import Server
from ansible.module_utils.health.model import wanted


def examine(options: dict[str, Any]) -> dict[str, Any]:
    """Run all checks and apply the waivers."""
    waivers = model.waivers(options["waivers"])
    today = datetime.now(timezone.utc).date()
    found = host.examine(options)
    tables = [table.name for table in wanted(options["tables"])]
    found.checks += host.health(options["health"], tables)
    read = database(options)
    found.checks += data.unchanged(read["snapshots"]) if read else ()
    checks = model.waived(found.checks, waivers, options["host"], today)
    return {
        "changed": False,
        "verdict": model.verdict(checks),
        "checks": [asdict(check) for check in checks],
        "failures": [check.name for check in checks if check.verdict == model.FAIL],
        "counts": model.counts(checks),
        "last_reset": found.last_reset,
        "data": read,
        "report": model.report(checks),
    }


def database(options: dict[str, Any]) -> dict[str, Any] | None:
    """Return the page's data from the database; None in a Python without psycopg2."""
    if not importlib.util.find_spec("psycopg2"):
        return None
    now = datetime.now(timezone.utc)
    window = Window.of(options["months"], now.date())
    markets = Markets(window, now, timedelta(hours=options["publish_hours"]))
    server = Server(**options["connection"])
    return data.look(server, markets, options["symbols"], options["timeout"], options["query_timeout"])


def main() -> None:
    """Glue."""
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    options = module.params

    def work() -> dict[str, Any]:
        # An audit only reads, so the programs that it starts must not write compiled files.
        os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
        interpreter.enter(f"{options['root']}/venv/bin/python")
        return examine(options)

    reporting.run(module, work)


if __name__ == "__main__":
    main()
