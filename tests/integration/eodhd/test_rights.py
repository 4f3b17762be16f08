"""The backfill with a role that has minimal rights."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from ansible.module_utils.eodhd import backfill
from ansible.module_utils.reporting import Problem

from tests import engines
from tests.engines import Database


@pytest.fixture
def application(market: Any) -> Iterator[Database]:
    """Return the market's database with the application's role, which its administrator created."""
    with engines.application(market.server) as made:
        yield made


@pytest.mark.parametrize("mode", ["history", "daily", "register", "actions", "verify", "snapshot"])
def test_every_mode_works_with_the_rights_of_the_application(
    market: Any, application: Database, mode: str
) -> None:
    if mode == "verify":
        backfill.run(replace(market.request(), server=application))
    result = backfill.run(
        replace(market.request(mode=mode, exchanges=["LSE"], snapshot="now"), server=application)
    )
    assert result["report"]


def test_a_missing_right_is_named(market: Any, application: Database) -> None:
    market.server.run(f'REVOKE INSERT ON market_data FROM "{application.user}"')
    with pytest.raises(Problem, match="permission denied for .*market_data.*Let an administrator GRANT it"):
        backfill.run(replace(market.request(), server=application))


def test_a_ledger_that_only_its_owner_can_migrate_is_reported(market: Any, application: Database) -> None:
    market.server.run(
        "DELETE FROM backfill_schema WHERE version = (SELECT max(version) FROM backfill_schema)"
    )
    with pytest.raises(Problem, match="must be owner of .*set postgres_admin_user and run .*--tags database"):
        backfill.run(replace(market.request(), server=application))
