#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Fill the market tables from EODHD."""

from __future__ import annotations

DOCUMENTATION = r"""
module: eodhd_backfill
short_description: Fill market_data and assets from EODHD, without paying twice or losing rows
description:
  - Loads daily bars and related data from EODHD into the tables C(market_data) and C(assets), and writes only rows
    that are new or differ. A ledger in the same database (tables C(backfill_…)) records every run and answer.
  - No call is paid twice. After a kill, or when the day's quota is spent, the next run continues from there. Parallel
    runs, on one host or many, share the symbols and the account's limit per minute.
  - Rows that cannot be loaded are kept in C(backfill_set_aside). Values that the provider changed are in
    C(backfill_revision), old and new. If a symbol's history was restated, all of it is loaded again.
extends_documentation_fragment: [shared.connection]
options:
  api_token:
    description: The token of the EODHD account. It appears in no result, message or log.
    type: str
    required: true
  base_url:
    description: The URL of the service, without a query.
    type: str
    default: https://eodhd.com/api
  mode:
    description:
      - V(history) loads the bars of O(symbols), or of the O(top) most traded ones, for one call per symbol.
      - V(daily) loads the due sessions of whole exchanges, or only that of O(last), for 100 calls per session. It
        requests each again one day and three days later, because rows arrive late and are corrected.
      - V(register) enters the symbols of whole exchanges in C(assets), details in C(backfill_listing) and renames in
        C(backfill_rename), for two calls per exchange, and five for the renames of the United States.
      - V(actions) loads splits and dividends of O(symbols), or of O(exchanges) if there are none, into C(market_split)
        and C(market_dividend), for two calls per symbol, or 200 per session if that is cheaper.
      - V(verify) requests a sample of the stored bars again and compares them field by field.
      - V(snapshot) names the current moment O(snapshot) and stores a digest of the bars, which C(market_data_asof) can
        read again. If that snapshot exists, it is checked against its digest.
    type: str
    choices: [history, daily, register, actions, verify, snapshot]
    default: history
  symbols:
    description: >-
      What to load, such as V(AAPL.US) or V(BTC-USD.CC). Without a suffix, the first of O(exchanges) applies. Empty
      entries, and text after a C(#), are ignored.
    type: list
    elements: str
    default: []
  top:
    description: >-
      Load this many of the most traded symbols of the first of O(exchanges) instead of O(symbols). The ranking costs
      100 calls and is kept for seven days.
    type: int
  exchanges:
    description: For O(mode=daily), O(mode=register) and O(top).
    type: list
    elements: str
    default: [US]
  days:
    description: The number of days before O(last), unless O(first) is set.
    type: int
    default: 30
  first:
    description: First day, such as V(2024-01-31).
    type: str
  last:
    description: Last day; today in GMT by default.
    type: str
  sample:
    description: The number of symbols that O(mode=verify) compares.
    type: int
    default: 10
  snapshot:
    description: The name of the snapshot with O(mode=snapshot).
    type: str
  fresh_hours:
    description: For this many hours, an answer is not requested again, unless C(market_data) has lost rows of it.
    type: float
    default: 12
  overlap_days:
    description: The number of loaded days that a later run reads again, to detect a restated history.
    type: int
    default: 10
  force:
    description: Request everything again, even if it is fresh.
    type: bool
    default: false
  partial:
    description: Load as much as the day's quota covers, instead of refusing a run that costs more.
    type: bool
    default: false
  accept:
    description: Outcomes that do not fail the run.
    type: list
    elements: str
    choices: [empty, set_aside, truncated, unknown, forbidden]
    default: []
  settle_calls:
    description: Maximum number of calls per day for sessions that O(mode=daily) requests again.
    type: int
    default: 2000
  delisted:
    description: With O(mode=history), also load the delisted symbols that O(mode=register) has entered.
    type: bool
    default: false
  concurrency:
    description: Maximum number of requests at the same time.
    type: int
    default: 32
  shard:
    description: The number of this run among O(shards), from 0. Each run starts with its own part of the list.
    type: int
    default: 0
  shards:
    description: The number of runs that load the same list at the same time.
    type: int
    default: 1
  interpreter:
    description: The Python with psycopg2 and requests to continue in. Without it, Ansible's Python needs both.
    type: path
  progress_path:
    description: A file to which the module appends a line of progress every few seconds.
    type: path
  spool:
    description: >-
      A folder, private to the user of the run, that keeps answers until they are stored, so that a kill costs no call.
      It is created if it is missing, and not used in check mode.
    type: path
requirements:
  - psycopg2
  - requests
attributes:
  check_mode:
    description: Returns the plan, and requests only the account's quota.
    support: full
  diff_mode:
    description: The changes are in C(backfill_revision), the counts in RV(totals).
    support: none
  idempotent:
    description: While the ledger is fresh, a second run costs no call and writes only C(assets.last_synced).
    support: full
author: [The maintainers (@ansible-reset)]
"""

EXAMPLES = r"""
- name: Load the last 30 days of one symbol
  eodhd_backfill:
    connection:
      host: localhost
      user: postgres
      password: "{{ vault_postgres_password }}"
      database: data_nexus
    api_token: "{{ vault_eodhd_api_token }}"
    symbols: [AAPL.US]

- name: Load a year of the hundred most traded symbols, as far as today's quota allows
  eodhd_backfill:
    connection: "{{ database }}"
    api_token: "{{ vault_eodhd_api_token }}"
    top: 100
    days: 365
    partial: true
"""

RETURN = r"""
report:
  description: The report as text; in check mode, the plan.
  type: str
  returned: success, and failure after a run
run:
  description: The number of the run in C(backfill_run).
  type: int
  returned: when something was run
  sample: 42
plan:
  description: The calls that the run costs, the account's quota, the rows expected, and the symbols.
  type: dict
  returned: always, once a plan could be made
  sample: {calls: 100, quota_left: 99812, quota_limit: 100000, rows_expected: 25200, symbols: 103, symbols_to_ask: 100}
totals:
  description: What the run did. Each downloaded row is inserted, updated, unchanged or set aside.
  type: dict
  returned: when something was run
  sample: {calls: 1, done: 1, downloaded: 21, inserted: 21, loaded: 1, unchanged: 0, updated: 0}
not_loaded:
  description: Every symbol that was not loaded as requested, with its outcome and the reason.
  type: list
  elements: dict
  returned: when something was run
  sample: [{symbol: NOPE.US, outcome: unknown, message: EODHD knows no such symbol or exchange (404)}]
mismatches:
  description: Stored values that differ from the provider's.
  type: list
  elements: dict
  returned: with O(mode=verify)
  sample: [{symbol: AAPL.US, day: "2024-01-31", field: close, stored: "184.40", provider: "184.4"}]
adjusted:
  description: Symbols whose adjusted close does not follow from the known splits and dividends to four decimals.
  type: list
  elements: dict
  returned: with O(mode=verify)
  sample: [{symbol: AAPL.US, first_day: "2020-01-02", last_day: "2020-08-28", days: 166}]
snapshot:
  description: The snapshot, with its moment in UTC, its row count and its digest.
  type: dict
  returned: with O(mode=snapshot)
  sample: {name: audit-2026, moment: "2026-11-26 07:40:12.5+00", rows: 251200, digest: "-2219873"}
notes:
  description: Remarks that do not fail the run, such as narrow columns.
  type: list
  elements: str
  returned: success, and failure after a run
"""

import importlib.util
from datetime import date
from typing import Any

from ansible.module_utils import interpreter, reporting
from ansible.module_utils.arguments.eodhd_backfill import ARGUMENTS
from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.database.server import Server
from ansible.module_utils.eodhd import backfill
from ansible.module_utils.eodhd.model import Request


def day(text: str | None, variable: str) -> date | None:
    """Return an ISO date, or None if there is none."""
    try:
        return date.fromisoformat(text) if text else None
    except ValueError:
        raise reporting.Problem(f"{variable} is {text!r}, but must be a date such as 2024-01-31.") from None


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    options = module.params

    def work() -> dict[str, Any]:
        python = options.pop("interpreter")
        obstacle = interpreter.enter(python) if python else None
        if obstacle and not all(map(importlib.util.find_spec, ("psycopg2", "requests"))):
            raise reporting.Problem(obstacle)
        options.update(
            server=Server(**options.pop("connection")),
            token=options.pop("api_token"),
            first=day(options["first"], "backfill_from"),
            last=day(options["last"], "backfill_to"),
            accept=frozenset(options["accept"]),
            check=module.check_mode,
        )
        return backfill.run(Request(**options))

    reporting.run(module, work)


if __name__ == "__main__":
    main()
