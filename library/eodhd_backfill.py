#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Fill the market tables from EODHD."""

from __future__ import annotations

DOCUMENTATION = r"""
module: eodhd_backfill
short_description: Fill market_data and assets from EODHD, paying once and losing nothing
description:
  - Loads daily bars, and what belongs to them, from the EODHD service into the tables C(market_data) and C(assets), and
    writes only rows that are new or differ. A ledger beside them (tables C(backfill_…)) holds every run and answer.
  - No call is paid twice. A run that was killed, or that met the end of the day's quota, goes on where it was. Several
    runs at once, on one host or many, share the symbols and the provider's limit a minute.
  - Rows that cannot be taken are kept in C(backfill_set_aside), values that the provider changed in
    C(backfill_revision), old and new. If the past was restated, the whole history of that symbol is asked for again.
extends_documentation_fragment: [connection]
options:
  api_token:
    description: The token of the EODHD account. It is in no result, message or log.
    type: str
    required: true
  base_url:
    description: Where the service is, without a query.
    type: str
    default: https://eodhd.com/api
  mode:
    description:
      - V(history) loads the days asked for, of O(symbols) or of the O(top) most traded ones; one call each.
      - V(daily) loads the sessions of whole exchanges that are due, or the one of O(last), by a bulk call of 100 each,
        and asks again one day and three days later, because rows come late and are corrected.
      - V(register) enters the symbols of whole exchanges in C(assets), details in C(backfill_listing) and renames in
        C(backfill_rename); two calls each, and five for the renames of the United States.
      - V(actions) loads splits and dividends into C(market_split) and C(market_dividend), of O(symbols), or of
        O(exchanges) if none are named; two calls a symbol, or 200 a session if that is cheaper.
      - V(verify) asks again for a sample of what is stored and compares it field by field.
      - V(snapshot) gives the present moment the name O(snapshot), with a digest over the bars, which
        C(market_data_asof) reads again. If there is one of that name, it is held against its digest.
    type: str
    choices: [history, daily, register, actions, verify, snapshot]
    default: history
  symbols:
    description: >-
      What to load, as V(AAPL.US), V(BTC-USD.CC). Without a suffix the first of O(exchanges) is meant. Empty entries
      and what follows a C(#) are left out.
    type: list
    elements: str
    default: []
  top:
    description: >-
      Load this many of the most traded symbols of the first of O(exchanges) instead of O(symbols). Finding them
      costs 100 calls; the order is kept for seven days.
    type: int
  exchanges:
    description: For O(mode=daily), O(mode=register) and O(top).
    type: list
    elements: str
    default: [US]
  days:
    description: How many days before O(last) to begin, unless O(first) is given.
    type: int
    default: 30
  first:
    description: First day, as V(2024-01-31).
    type: str
  last:
    description: Last day; today in GMT by default.
    type: str
  sample:
    description: How many symbols O(mode=verify) asks for.
    type: int
    default: 10
  snapshot:
    description: The name of the snapshot with O(mode=snapshot).
    type: str
  fresh_hours:
    description: For so long an answer is not asked for again, unless rows of it have gone missing in C(market_data).
    type: float
    default: 12
  overlap_days:
    description: How far before the last day loaded a later run re-reads, to notice a restated past.
    type: int
    default: 10
  force:
    description: Ask for everything again, fresh or not.
    type: bool
    default: false
  partial:
    description: Go as far as the day's quota reaches instead of refusing a run that it does not cover.
    type: bool
    default: false
  accept:
    description: Outcomes that do not fail the run.
    type: list
    elements: str
    choices: [empty, set_aside, truncated, unknown, forbidden]
    default: []
  settle_calls:
    description: Calls a day, at most, for sessions that O(mode=daily) asks for again.
    type: int
    default: 2000
  delisted:
    description: With O(mode=history), load the delisted symbols that O(mode=register) has entered too.
    type: bool
    default: false
  concurrency:
    description: Requests under way at the same time, at most.
    type: int
    default: 32
  shard:
    description: Which of O(shards) runs this is, from 0. Each begins in a part of the list of its own.
    type: int
    default: 0
  shards:
    description: How many runs load the same list at the same time.
    type: int
    default: 1
  interpreter:
    description: The Python with psycopg2 and requests to continue in; without it, that of Ansible has to have both.
    type: path
  progress_path:
    description: A file to which lines of progress are added every few seconds while the module runs.
    type: path
  spool:
    description: >-
      A folder, private to the user of the run, in which answers are kept between their receipt and the ledger, so
      that a kill costs no call. It is made if it is missing, and not used in check mode.
    type: path
requirements:
  - psycopg2
  - requests
attributes:
  check_mode:
    description: Returns the plan, and asks the service for nothing but the account's quota.
    support: full
  diff_mode:
    description: The changes are in C(backfill_revision), the counts in RV(totals).
    support: none
  idempotent:
    description: A second run writes nothing and costs no call while the ledger is fresh, but for C(assets.last_synced).
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

- name: Load a year of the hundred most traded symbols, as far as today's quota reaches
  eodhd_backfill:
    connection: "{{ database }}"
    api_token: "{{ vault_eodhd_api_token }}"
    top: 100
    days: 365
    partial: true
"""

RETURN = r"""
report:
  description: What people read; in check mode the plan.
  type: str
  returned: success, and failure after a run
run:
  description: Number of the run in C(backfill_run).
  type: int
  returned: when something was run
  sample: 42
plan:
  description: The calls that the run costs, the account's quota, the rows expected, and the symbols.
  type: dict
  returned: always, once a plan could be made
  sample: {calls: 100, quota_left: 99812, quota_limit: 100000, rows_expected: 25200, symbols: 103, symbols_to_ask: 100}
totals:
  description: What the run did. Of the downloaded rows each is inserted, updated, unchanged or set aside.
  type: dict
  returned: when something was run
  sample: {calls: 1, done: 1, downloaded: 21, inserted: 21, loaded: 1, unchanged: 0, updated: 0}
not_loaded:
  description: Every symbol that is not in the table as asked, with its outcome and why.
  type: list
  elements: dict
  returned: when something was run
  sample: [{symbol: NOPE.US, outcome: unknown, message: EODHD knows no such symbol or exchange (404)}]
mismatches:
  description: Where stored values are not the provider's.
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
  description: The snapshot, its moment in UTC, the rows it has and their digest.
  type: dict
  returned: with O(mode=snapshot)
  sample: {name: audit-2026, moment: "2026-11-26 07:40:12.5+00", rows: 251200, digest: "-2219873"}
notes:
  description: What should be known but does not keep the run from succeeding, such as narrow columns.
  type: list
  elements: str
  returned: success, and failure after a run
"""

import importlib.util
from datetime import date
from typing import Any

from ansible.module_utils import reporting
from ansible.module_utils.arguments.eodhd_backfill import ARGUMENTS
from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.database.server import Server
from ansible.module_utils.eodhd import backfill
from ansible.module_utils.eodhd.run.request import Request
from ansible.module_utils.project import interpreter


def day(text: str | None, variable: str) -> date | None:
    """Return an ISO date, or None if there is none."""
    try:
        return date.fromisoformat(text) if text else None
    except ValueError:
        raise reporting.Problem(f"{variable} is {text!r}, which is no date such as 2024-01-31.") from None


def main() -> None:
    """Glue."""
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
