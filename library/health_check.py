#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Check whether a host and its database are ready for work."""

from __future__ import annotations

DOCUMENTATION = r"""
module: health_check
short_description: Check a project's settings, its database and its data
description:
  - Reads C(.env) in the project's root as the application does, connects to the database that C(DB_URL)
    names, and checks the tables and the bars in one read-only session. It also asks EODHD about the token,
    pings the Redis that C(.env) names, and checks the free space.
  - Each finding is V(ok), V(warn) or V(fail). The worst one decides, and only V(fail) makes the host unhealthy.
  - Every check ends within its timeout, whatever the server does. The module succeeds even if the host is unhealthy;
    RV(healthy) has the verdict.
  - In check mode, a host that was never reset gets a plan instead of a verdict. See O(server).
  - Runs in the Python of the project's venv, which proves that the venv works.
extends_documentation_fragment: [shared.reading, limits]
options:
  root:
    description: Absolute path of the project.
    type: path
    required: true
  interpreter:
    description: The Python to run in, by default C(venv/bin/python) in O(root).
    type: path
  tables:
    description:
      - Required tables, each a name, C(schema.table), or a dictionary with C(name) and C(min_rows).
    type: list
    elements: raw
    default: [market_data, assets]
  server:
    description:
      - Server of the future database. If it is given, check mode on a host without an environment or a complete
        C(.env) lists the checks, and reports whether this server and EODHD can be reached.
    type: dict
    suboptions:
      host:
        description: Name or address of the server, or the folder of its Unix socket.
        type: str
        required: true
      port:
        description: Port of the server.
        type: int
        required: true
  timeout:
    description: Seconds for the connection, for all addresses together. EODHD and Redis get the same time each.
    type: float
    default: 3
  query_timeout:
    description: Seconds for all counts together, and the same again for all queries on bars.
    type: float
    default: 10
  count:
    description:
      - V(exact) counts every row. A table that takes too long is unhealthy.
      - V(estimate) takes the numbers of the last ANALYZE and adds up those of partitions.
      - V(auto) counts, and falls back to the estimate if counting takes too long.
    type: str
    choices: [exact, estimate, auto]
    default: auto
  token:
    description: Whether to ask EODHD about the token of C(.env), which costs at most one call.
    type: bool
    default: true
  token_known:
    description:
      - RV(token) of an earlier check in the same run, on any host. If it is about the token of C(.env), EODHD is not
        asked again.
    type: dict
  base_url:
    description: EODHD's address.
    type: str
    default: https://eodhd.com/api
  redis:
    description: Whether to ping the Redis that C(REDIS_URL) or C(REDIS_HOST) in C(.env) names.
    type: bool
    default: true
  metrics_path:
    description:
      - File on the target for the result as Prometheus metrics, replaced atomically, with mode 0644. For
        node_exporter, use a C(.prom) file in the folder of its textfile collector.
      - It is an output, so writing it does not set RV(ignore:changed). Check mode does not write it.
    type: path
requirements:
  - psycopg2
  - python-dotenv
  - requests, if O(token) is true
  - redis, if C(.env) names a Redis
attributes:
  check_mode:
    description: Does the same in check mode, but does not write O(metrics_path).
    support: full
author: [The maintainers (@ansible-reset)]
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
"""

RETURN = r"""
healthy:
  description: True if no check failed; null in the plan for a host that was never reset.
  type: bool
  returned: success
report:
  description: The report as text.
  type: str
  returned: success
reachable:
  description: Whether C(postgresql) and C(eodhd) accept connections.
  type: dict
  returned: in the plan for a host that was never reset
level:
  description: Level of the worst finding.
  type: str
  returned: success
problems:
  description: Messages of the findings that make the host unhealthy, each with what to do.
  type: list
  elements: str
  returned: success
checks:
  description:
    - All findings in order. Each has the name of its C(check), its C(level), a C(message) that says what was found
      and what to do, and what the check C(expects).
  type: list
  elements: dict
  returned: success
  sample:
    - check: connection
      level: ok
      message: PostgreSQL 18.1 at localhost:5432
      expects: PostgreSQL answers within health_timeout, and quickly
token:
  description:
    - EODHD's answer about the token, for O(token_known); null without an answer. C(account) identifies the token
      without revealing it.
  type: dict
  returned: success
measures:
  description: Numbers that the checks measured. A check that did not run adds none.
  type: dict
  returned: success
  sample: {stale_symbols: 0, uncovered_symbols: 0, gap_sessions: 0, bars_set_aside: 0, disk_free_mib: 51200}
tables:
  description: Rows of each table; null if they could not be counted. Unreadable tables are left out.
  type: dict
  returned: success
  sample: {market_data: 21, assets: 1}
estimated:
  description: Tables whose row count is an estimate.
  type: list
  elements: str
  returned: success
server_version:
  description: Version of PostgreSQL; null without a connection.
  type: str
  returned: success
latency_ms:
  description: Milliseconds that a query took on the open connection; null without a connection.
  type: float
  returned: success
url:
  description: URL of the database, with the password masked; null if C(.env) does not name it.
  type: str
  returned: success
"""

import time
from pathlib import Path
from typing import Any

from ansible.module_utils import interpreter, reporting
from ansible.module_utils.arguments.health_check import ARGUMENTS
from ansible.module_utils.basic import AnsibleModule


def work(options: dict[str, Any], check_mode: bool) -> dict[str, Any]:
    """Run the checks, or plan them; the result."""
    root = Path(options["root"])
    obstacle = interpreter.enter(options["interpreter"] or str(root / "venv/bin/python"))
    # Imported here, because `enter` may restart the module in another Python, which would import them again.
    from ansible.module_utils.health import checks, model

    host = model.Host(
        env=root / ".env",
        tables=model.wanted(options["tables"]),
        service=options["base_url"] if options["token"] else None,
        token=options["token_known"],
        **{name: options[name] for name in ("timeout", "query_timeout", "count", "limits", "redis")},
    )
    stopped = [model.Finding("environment", "fail", obstacle)] if obstacle else []
    result: dict[str, Any] = checks.result(stopped, host) if stopped else checks.examine(host)
    failed = {found["check"] for found in result["checks"] if found["level"] == "fail"}
    if check_mode and options["server"] and failed & {"environment", "settings"}:
        from ansible.module_utils.health import plan

        return plan.plan(host, **options["server"])
    if options["metrics_path"] and not check_mode:
        from ansible.module_utils.prometheus import text, write

        content = text("project_health_", checks.metrics(result, time.time()))
        write(options["metrics_path"], content, "health_metrics_path")
    return result


def main() -> None:
    """Glue."""
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    reporting.run(module, lambda: work(module.params, module.check_mode))


if __name__ == "__main__":
    main()
