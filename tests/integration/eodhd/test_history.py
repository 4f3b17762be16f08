"""Histories over real sockets into the real PostgreSQL: the report, idempotence, plans, ranges."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest


def test_the_emergency_backfill_reads_as_promised_and_a_second_one_does_nothing(market: Any) -> None:
    first = market.load()
    count = first["totals"]["inserted"]
    assert 18 <= count <= 23
    assert first["report"] == (
        "⬇️  DOWNLOADING AAPL.US (30 days)\n"
        f"✅ Downloaded {count} records\n"
        "\n"
        "💾 INSERTING INTO DATABASE\n"
        f"✅ Inserted {count} rows into market_data\n"
        "✅ Registered AAPL.US in assets\n"
        "\n"
        "📊 VERIFICATION\n"
        f"   market_data: {count} rows (was 0) → +{count}\n"
        "   assets: 1 row (was 0) → +1\n"
        "\n"
        "🎉 SUCCESS: Database populated"
    )
    assert first["changed"] is True
    assert market.query("SELECT symbol, exchange, last_synced IS NOT NULL FROM assets") == [
        ("AAPL.US", "US", True)
    ]
    versions = market.versions()
    second = market.load()
    assert second["changed"] is False
    assert second["totals"]["calls"] == 0
    assert market.standin.counts()["calls"] == 1
    assert "SUCCESS" in second["report"]
    assert market.versions() == versions
