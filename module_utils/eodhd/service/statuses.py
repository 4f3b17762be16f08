"""What the HTTP statuses of EODHD mean. 200 is data, 429 is the limit per minute; any status not listed is retried."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ansible.module_utils.eodhd.model import Outcome

# What ends the run: ``refused`` (token), ``quota`` (until 00:00 GMT) or ``plan`` (account), and the message.
STOPS = {
    401: (
        "refused",
        "EODHD refuses the token. Set eodhd_api_token (vault_eodhd_api_token in the vault) to a valid one.",
    ),
    402: (
        "quota",
        "Today's calls of the account are spent (402). What was stored stays stored. Run the same command again"
        " after 00:00 GMT to load the rest without paying twice.",
    ),
    423: (
        "plan",
        "The account's plan has no bulk requests (423): backfill_mode=daily and backfill_top need a paid plan."
        " Use backfill_mode=history with backfill_symbols.",
    ),
}
# What concerns one symbol: the outcome, the calls charged, and the message.
OUTCOMES: dict[int, tuple[Outcome, int, str]] = {
    403: (
        "forbidden",
        0,
        "not in the account's plan (403); if every symbol gets this, check eodhd_api_token",
    ),
    404: ("unknown", 1, "EODHD knows no such symbol or exchange (404); check the spelling and the suffix"),
    422: ("rejected", 0, "EODHD rejects the request as malformed (422); check symbol and dates"),
}
# What is charged, and therefore kept until it is stored.
PAID = {200, *(status for status, (_outcome, calls, _message) in OUTCOMES.items() if calls)}
