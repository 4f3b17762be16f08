"""Which sessions of an exchange the mode daily requests."""

from __future__ import annotations

from datetime import date, datetime, timedelta, timezone

from ansible.module_utils.eodhd.plan.daily import NEW, BulkCall, SessionEntry, calls_for

NOW = datetime(2024, 9, 30, 22, tzinfo=timezone.utc)


def test_without_a_calendar_a_fresh_session_says_nothing_about_another_day() -> None:
    friday, monday = date(2024, 9, 27), date(2024, 9, 30)
    asked = NOW - timedelta(hours=1)
    known = {friday: SessionEntry(friday, 7, asked, asked)}
    assert calls_for("INDX", NOW, known, day=monday).calls == [BulkCall("INDX", monday, NEW)]
    assert calls_for("INDX", NOW, known, day=friday).calls == []
    assert calls_for("INDX", NOW, known).calls == []
