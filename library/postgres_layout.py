#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Move the bars to another layout."""

from __future__ import annotations

DOCUMENTATION = r"""
module: postgres_layout
short_description: Move market_data to another layout
description:
  - Copies C(market_data) to C(market_data_next) a year at a time, copies what changed meanwhile, compares the tables
    with a checksum of all values, and exchanges their names in one transaction. The old table is dropped last.
  - Others can read at any time. Writers wait only while the names are exchanged.
  - If a move is killed, the same call starts it again. Years that were copied before are only compared.
  - Fails if views, triggers, foreign keys or the like belong to the table, because they would stay with the old one.
    The report lists the indexes that the new table does not have.
  - The role must own the table. For TimescaleDB and Citus, see M(postgres_schema).
extends_documentation_fragment: [shared.connection, shared.interpreter]
options:
  layout:
    description: The layout that C(market_data) gets.
    type: str
    choices: [plain, partitioned, timescaledb, citus]
    required: true
  compress_after:
    description: Days after which TimescaleDB compresses a chunk. V(0) switches compression off.
    type: int
    default: 30
attributes:
  check_mode:
    description: Reports both layouts, and about how many rows, bytes and seconds the move takes.
    support: full
  diff_mode:
    description: There is no diff.
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
  description: What was moved, or would be in check mode, as text.
  type: str
  returned: success
rows:
  description: Rows of the table. Counted if it was moved, otherwise an estimate or null.
  type: int
  returned: success
"""

import contextlib
from typing import Any

from ansible.module_utils import interpreter, reporting
from ansible.module_utils.arguments.postgres_layout import ARGUMENTS
from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.database import connection, move
from ansible.module_utils.database.layout import Layout
from ansible.module_utils.database.server import Server


def main() -> None:
    """Run the module."""
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
        except (connection.Unreachable, connection.driver().Error) as error:
            raise reporting.Problem(
                f"{connection.explain(error, server)} No row was lost. Run the same command again to continue."
            ) from None
        return result

    reporting.run(module, work)


if __name__ == "__main__":
    main()
