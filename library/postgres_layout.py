#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Move the bars to another layout."""

from __future__ import annotations

DOCUMENTATION = r"""
module: postgres_layout
short_description: Move market_data to another layout
description:
  - Builds C(market_data_next) beside C(market_data) a year at a time, brings over what changed meanwhile, compares both
    by a sum over all values, and exchanges their names in one transaction. The old table is dropped last.
  - Others read at any time, and write until the names are exchanged; they wait for that.
  - A move that was killed is begun again by the same call; years that are there already are only compared.
  - It refuses while views, triggers, foreign keys or the like belong to the table, for they would go on with the old
    one, and tells which indexes the new table does not have.
  - The role has to own the table, for TimescaleDB and Citus see M(postgres_schema).
extends_documentation_fragment: [connection, interpreter]
options:
  layout:
    description: The layout that C(market_data) gets.
    type: str
    choices: [plain, partitioned, timescaledb, citus]
    required: true
  compress_after:
    description: Days after which TimescaleDB compresses a chunk; V(0) for never.
    type: int
    default: 30
attributes:
  check_mode:
    description: Says from where to where, and how many rows, bytes and seconds about.
    support: full
  diff_mode:
    description: There is none.
    support: none
  idempotent:
    description: A table that has the layout stays as it is.
    support: full
author: [The maintainers (@ansible-reset)]
"""

EXAMPLES = r"""
- name: Move the bars into chunks of TimescaleDB
  postgres_layout:
    connection: "{{ database }}"
    layout: timescaledb
"""

RETURN = r"""
report:
  description: What is or would be moved, as text.
  type: str
  returned: success
rows:
  description: Rows of the table, counted if it was moved, otherwise an estimate or null.
  type: int
  returned: success
"""

import contextlib
from typing import Any

from ansible.module_utils import reporting
from ansible.module_utils.arguments.postgres_layout import ARGUMENTS
from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.database import connection, errors, move
from ansible.module_utils.database.layout import Layout
from ansible.module_utils.database.server import Server
from ansible.module_utils.project import interpreter


def main() -> None:
    """Glue."""
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    options = module.params

    def work() -> dict[str, Any]:
        if options["interpreter"]:
            interpreter.enter(options["interpreter"])
        server = Server(**options["connection"])
        try:
            with contextlib.closing(connection.connect(server, options["timeout"])) as session:
                result: dict[str, Any] = move.run(
                    session, Layout(options["layout"], options["compress_after"]), check=module.check_mode
                )
        except (errors.Unreachable, connection.driver().Error) as error:
            raise reporting.Problem(
                f"{errors.explain(error, server)} No row was lost; run the same command again to go on."
            ) from None
        return result

    reporting.run(module, work)


if __name__ == "__main__":
    main()
