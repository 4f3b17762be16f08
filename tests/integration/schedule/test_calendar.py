"""systemd and the replayed year have the same moments, also where three zones change their clocks."""

from __future__ import annotations

import re
import shutil
import subprocess
from datetime import date, datetime, timedelta, timezone

import pytest
from ansible.module_utils.schedule import jobs
from ansible.module_utils.schedule.jobs import Job

from tests.integration.schedule.world import moments

pytestmark = pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd is not installed")
# The clocks change in New York, London and Sydney on different days.
CHANGES = [
    date(2026, 3, 8),
    date(2026, 3, 29),
    date(2026, 4, 5),
    date(2026, 10, 4),
    date(2026, 10, 25),
    date(2026, 11, 1),
]


@pytest.mark.parametrize("exchange", ["US", "LSE", "AU"])
@pytest.mark.parametrize("day", CHANGES)
def test_a_market_is_asked_at_the_same_moment(exchange: str, day: date) -> None:
    at = jobs.moment(Job("daily", "backfill", "published", exchange=exchange))
    first = day - timedelta(days=3)
    said = subprocess.run(
        ["systemd-analyze", "calendar", "--iterations=5", f"--base-time={first} 00:00:00 UTC", at],
        env={"TZ": "UTC", "LC_ALL": "C.UTF-8", "PATH": "/usr/bin:/bin"},
        capture_output=True, text=True, timeout=20, check=True,
    ).stdout  # fmt: skip
    found = re.findall(r"(?:elapse|#\d+): \w+ ([\d-]+ [\d:]+) UTC", said)
    begin = datetime(first.year, first.month, first.day, tzinfo=timezone.utc).timestamp()
    expected = [
        moment
        for moment in moments(at, first - timedelta(days=2), first + timedelta(days=14))
        if moment > begin
    ]
    assert [datetime.fromisoformat(f"{each}+00:00").timestamp() for each in found] == expected[:5]
