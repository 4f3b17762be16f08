"""Whether a job has anything to do now, and when its market makes it worth asking."""

from __future__ import annotations

from collections import Counter
from datetime import date, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

from ansible.module_utils.markets import calendar, names, publishing
from ansible.module_utils.reporting import Problem
from ansible.module_utils.schedule.jobs import Job

# After the moment at which the provider has the data.
MARGIN = timedelta(minutes=5)
# Sessions that show the usual moment of a market.
LOOK_AT = 90
DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")


def newest(job: Job, done: date | None, now: datetime) -> date | None:
    """Return the session that a job has to load after the one that is ``done``, None on a day off.

    What lies before it comes with it.
    """
    # A market without a calendar has a session every day.
    known = publishing.due(job.exchange, now) if job.exchange in names.KNOWN else None
    session = known or now.astimezone(timezone.utc).date()
    return session if done is None or session > done else None


def moment(job: Job) -> str:
    """Return the OnCalendar of a job at ``published``: in the market's own zone, on its days.

    Raises:
        Problem: nobody knows when this market publishes.
    """
    market = calendar.of_market(job.exchange)
    if market is None:
        raise Problem(
            f"schedule_jobs: {job.name} is to run when {job.exchange or 'no exchange'} has published, and the"
            " calendars do not know that market. Give the job a time: at: '*-*-* 22:00:00 UTC'."
        )
    today = datetime.now(timezone.utc).date()
    moments: Counter[tuple[int, int, int]] = Counter()
    for day in market.sessions(today - timedelta(days=LOOK_AT), today):
        due = publishing.due_at(job.exchange, day)
        assert due is not None
        local = (due + MARGIN).astimezone(ZoneInfo(market.zone))
        moments[(local.date() - day).days, local.hour, local.minute] += 1
    later, hour, minute = moments.most_common(1)[0][0]
    # Not on the same time every day of the year if the zone of the market is another than that of the provider's rule.
    days = [DAYS[(number + later) % 7] for number in range(7) if market.week[number] == "1"]
    return f"{','.join(days)} *-*-* {hour:02}:{minute:02}:00 {market.zone}"
