#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Check whether one can work with a host and its database."""

from __future__ import annotations

DOCUMENTATION = r"""
module: health_check
short_description: Check a project's settings, its database and its data
description:
  - Reads C(.env) in the project's root as the application does, connects to the database that C(DB_URL)
    names, and looks at the tables and the bars in one read-only session. Besides, it asks EODHD about the token,
    pings the Redis that C(.env) names, and looks at the free space.
  - Each finding is V(ok), V(warn) or V(fail); the worst decides, and only V(fail) makes the host unhealthy.
  - Nothing takes longer than the time-outs, whatever the server does. The module itself succeeds, and RV(healthy)
    says how it stands.
  - In check mode, a host that was never reset gets no verdict but a plan. See O(server).
  - It continues in the Python of the project's venv, which proves that the venv works.
extends_documentation_fragment: [reading]
options:
  root:
    description: Absolute path of the project.
    type: path
    required: true
  interpreter:
    description: The Python to check with; C(venv/bin/python) in O(root) if it is not given.
    type: path
  tables:
    description:
      - Tables that have to be there, each a name, C(schema.table), or a dictionary with C(name) and C(min_rows).
    type: list
    elements: raw
    default: [market_data, assets]
  server:
    description:
      - Where the database will be. With it, check mode on a host without an environment or a complete C(.env) tells
        what the check will look at, and whether this server and EODHD can be reached.
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
    description: Seconds for the connection, all addresses of the host together; for EODHD and Redis each as many.
    type: float
    default: 3
  query_timeout:
    description: Seconds for all counts together, and as many for all questions about the bars.
    type: float
    default: 10
  count:
    description:
      - V(exact) counts every row; a table that takes too long is unhealthy.
      - V(estimate) takes the numbers of the last ANALYZE, those of partitions summed up.
      - V(auto) counts, and takes the estimate if that takes too long.
    type: str
    choices: [exact, estimate, auto]
    default: auto
  limits:
    description: Where ok ends. A value of 0 switches the threshold off.
    type: dict
    default: {}
    suboptions:
      latency_warn:
        description: Warn if one query takes this many milliseconds.
        type: float
        default: 250
      stale_warn:
        description: Warn about a symbol that is this many finished sessions behind.
        type: int
        default: 3
      stale_fail:
        description: Fail a symbol that is this many finished sessions behind.
        type: int
        default: 10
      stale_share:
        description: Share of the symbols that may reach O(limits.stale_fail) with a warning alone.
        type: float
        default: 0.1
      publish_hours:
        description: Hours from when the provider should have a bar until it is missed.
        type: float
        default: 6
      gap_days:
        description: Days back for which gaps are looked for; V(0) does not look.
        type: int
        default: 3650
      gap_warn:
        description: Warn if all symbols together lack this many sessions inside their ranges.
        type: int
        default: 1
      gap_fail:
        description: Fail if all symbols together lack this many sessions inside their ranges.
        type: int
        default: 0
      coverage_warn:
        description: Warn if this many active symbols of C(assets) have no bar.
        type: int
        default: 1
      coverage_fail:
        description: Fail if this many active symbols of C(assets) have no bar.
        type: int
        default: 0
      set_aside_warn:
        description: Warn if this many bars are set aside and unresolved.
        type: int
        default: 1
      set_aside_fail:
        description: Fail if this many bars are set aside and unresolved.
        type: int
        default: 0
      quota_warn:
        description: Warn if the EODHD account has fewer calls left today.
        type: int
        default: 10
      disk_warn:
        description: Warn if fewer MiB are free at O(root).
        type: int
        default: 2048
      disk_fail:
        description: Fail if fewer MiB are free at O(root).
        type: int
        default: 256
  token:
    description: Whether to ask EODHD about the token of C(.env), which takes one call at most.
    type: bool
    default: true
  token_known:
    description:
      - RV(token) of an earlier check in the same run, of this host or of another one. If it is about the token of
        C(.env), EODHD is not asked again.
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
      - A file on the target to write the result to for Prometheus, mode 0644, replaced as a whole; for node_exporter
        a C(.prom) file in the folder of its textfile collector.
      - It is an output and no state, so RV(ignore:changed) does not tell of it. Check mode does not write it.
    type: path
requirements:
  - psycopg2
  - python-dotenv
  - requests, if O(token) is asked about
  - redis, if one is pinged
attributes:
  check_mode:
    description: It does the same in check mode, but for O(metrics_path), which is not written.
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
  description: Whether no check failed; null in the plan for a host that was never reset.
  type: bool
  returned: success
report:
  description: The text for people.
  type: str
  returned: success
reachable:
  description: Whether C(postgresql) and C(eodhd) take connections.
  type: dict
  returned: in the plan for a host that was never reset
level:
  description: That of the worst finding.
  type: str
  returned: success
problems:
  description: What makes the host unhealthy, each with what to do.
  type: list
  elements: str
  returned: success
checks:
  description:
    - Every finding in order - the name of its C(check), its C(level), a C(message) with what was found and what to do,
      and what the check C(expects).
  type: list
  elements: dict
  returned: success
  sample:
    - check: connection
      level: ok
      message: PostgreSQL 18.1 at localhost:5432
      expects: PostgreSQL answers within health_timeout, and soon
token:
  description:
    - What EODHD answered about the token, for O(token_known); null without an answer. C(account) tells accounts apart
      and gives no token away.
  type: dict
  returned: success
measures:
  description: The numbers that were found, as far as they were looked for.
  type: dict
  returned: success
  sample: {stale_symbols: 0, uncovered_symbols: 0, gap_sessions: 0, bars_set_aside: 0, disk_free_mib: 51200}
tables:
  description: Rows by table; null if they could not be counted. Tables that cannot be read are left out.
  type: dict
  returned: success
  sample: {market_data: 21, assets: 1}
estimated:
  description: The tables whose number is an estimate.
  type: list
  elements: str
  returned: success
server_version:
  description: Version of PostgreSQL, or null without a connection.
  type: str
  returned: success
latency_ms:
  description: Milliseconds of one question and its answer on the open connection, or null without one.
  type: float
  returned: success
url:
  description: The database, its password masked; null if C(.env) does not name it.
  type: str
  returned: success
"""

import time
from pathlib import Path
from typing import Any

from ansible.module_utils import reporting
from ansible.module_utils.arguments.health_check import ARGUMENTS
from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.project import interpreter


def main() -> None:
    """Glue."""
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    options = module.params

    def work() -> dict[str, Any]:
        result = examined(Path(options["root"]))
        missing = any(
            found["level"] == "fail" and found["check"] in ("environment", "settings")
            for found in result["checks"]
        )
        if module.check_mode and options["server"] and missing:
            return planned()
        if options["metrics_path"] and not module.check_mode:
            from ansible.module_utils import prometheus
            from ansible.module_utils.health import metrics

            text = metrics.render(result, time.time())
            prometheus.write(options["metrics_path"], text, "health_metrics_path")
        return result

    def examined(root: Path) -> dict[str, Any]:
        obstacle = interpreter.enter(options["interpreter"] or str(root / "venv/bin/python"))
        # Compiled in each Python that comes here, so not in the one that is left.
        from ansible.module_utils.health import checks, model

        if obstacle:
            return checks.result([model.Finding("environment", "fail", obstacle)])
        host = model.Host(
            env=root / ".env",
            tables=model.wanted(options["tables"]),
            service=options["base_url"] if options["token"] else None,
            token=options["token_known"],
            **{name: options[name] for name in ("timeout", "query_timeout", "count", "limits", "redis")},
        )
        found: dict[str, Any] = checks.examine(host)
        return found

    def planned() -> dict[str, Any]:
        from ansible.module_utils.database.server import Server
        from ansible.module_utils.health import checks, model, plan

        result: dict[str, Any] = plan.plan(
            [check.name for check in checks.CHECKS],
            [table.name for table in model.wanted(options["tables"])],
            Server(options["server"]["host"], options["server"]["port"], "", "", ""),
            options["base_url"] if options["token"] else None,
            options["timeout"],
        )
        return result

    reporting.run(module, work)


if __name__ == "__main__":
    main()
