"""The account's quota, from the service's answer."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest
from ansible.module_utils.eodhd import api

TODAY = date(2024, 3, 20)


@pytest.mark.parametrize(
    ("user", "left"),
    [
        ({"dailyRateLimit": 100, "apiRequests": 30, "apiRequestsDate": "2024-03-20"}, 70),
        ({"dailyRateLimit": "100", "apiRequests": "30", "apiRequestsDate": "2024-03-19"}, 100),
        ({"dailyRateLimit": 100, "apiRequests": 130, "apiRequestsDate": "2024-03-20", "extraLimit": 50}, 50),
        ({"dailyRateLimit": None}, None),
        ([], None),
        (None, None),
    ],
)
def test_quota(user: Any, left: int | None) -> None:
    assert api.quota(user, TODAY).left == left


def test_bought_calls_are_reported_separately() -> None:
    user = {"dailyRateLimit": 100_000, "apiRequests": 0, "apiRequestsDate": "2024-03-20", "extraLimit": 500}
    told = api.quota(user, TODAY).text()
    assert told == "100,000 of 100,000 calls left today, and 500 extra"
