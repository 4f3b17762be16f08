"""The schedule for Prometheus: a text file that node_exporter's textfile collector picks up."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from ansible.module_utils.schedule.jobs import Job
from ansible.module_utils.schedule.problems import Lasting
from ansible.module_utils.schedule.state import NOTHING, OK, RUNNING, TELLING, Run

PREFIX = "project_schedule_"


def render(jobs: Mapping[str, Job], runs: Sequence[Run], problems: Iterable[Lasting], now: float) -> str:
    """Return the metrics of what ran; ``now`` is in seconds since 1970."""
    return "".join(f"{line}\n" for line in _lines(jobs, runs, problems, now))


def _lines(
    jobs: Mapping[str, Job], runs: Sequence[Run], problems: Iterable[Lasting], now: float
) -> Iterator[str]:
    ended = [run for run in runs if run.outcome != RUNNING]
    by_job = {name: [run for run in ended if run.job == name] for name in jobs}
    last = {name: some[-1] for name, some in by_job.items() if some}
    told = {name: [run for run in some if run.outcome in TELLING] for name, some in by_job.items()}
    good = {name: [run for run in some if run.outcome in (OK, NOTHING)] for name, some in by_job.items()}

    yield from _head("last_run_timestamp_seconds", "When a job last came to its end, whatever it did.")
    for name, run in last.items():
        yield f'{PREFIX}last_run_timestamp_seconds{{job_name="{name}"}} {run.ended or run.began:.0f}'
    yield from _head("last_success_timestamp_seconds", "When a job last went well, or had nothing to do.")
    for name, some in good.items():
        if some:
            yield f'{PREFIX}last_success_timestamp_seconds{{job_name="{name}"}} {some[-1].ended or 0:.0f}'
    yield from _head("last_ok", "Whether the last run that did something went well.")
    for name, some in told.items():
        if some:
            yield f'{PREFIX}last_ok{{job_name="{name}"}} {int(some[-1].outcome == OK)}'
    for measure, text in (
        ("hosts", "Hosts of the last run that did something."),
        ("failed", "Hosts that failed in it."),
        ("changed", "Hosts that it changed."),
        ("calls", "Calls that it paid to EODHD."),
        ("rows", "Rows that it inserted or updated."),
    ):
        yield from _head(f"last_{measure}", text)
        for name, some in told.items():
            if some:
                yield f'{PREFIX}last_{measure}{{job_name="{name}"}} {getattr(some[-1], measure)}'
    yield from _head("last_duration_seconds", "How long it took.")
    for name, some in told.items():
        if some:
            seconds = (some[-1].ended or 0) - some[-1].began
            yield f'{PREFIX}last_duration_seconds{{job_name="{name}"}} {seconds:.3f}'
    yield from _head("runs", "Runs in the history, by what came of them.")
    for name, some in by_job.items():
        for outcome in sorted({run.outcome for run in some}):
            count = sum(run.outcome == outcome for run in some)
            yield f'{PREFIX}runs{{job_name="{name}",outcome="{outcome}"}} {count}'
    yield from _head("calls_today", "Calls paid to EODHD since 00:00 GMT.")
    yield f"{PREFIX}calls_today {sum(run.calls for run in ended if run.began >= now - now % 86400)}"
    yield from _head("interval_seconds", "The longest time between two runs that a job is to have.")
    for name, job in jobs.items():
        if job.interval:
            yield f'{PREFIX}interval_seconds{{job_name="{name}"}} {job.interval}'
    yield from _head("problem_since_timestamp_seconds", "Since when a problem lasts.")
    for problem in problems:
        if not problem.over:
            yield (
                f'{PREFIX}problem_since_timestamp_seconds{{cause="{problem.cause}",'
                f'hosts="{_escaped(",".join(problem.hosts))}"}} {problem.since:.0f}'
            )
    yield from _head("timestamp_seconds", "When this was written.")
    yield f"{PREFIX}timestamp_seconds {now:.0f}"


def _head(name: str, text: str) -> Iterator[str]:
    yield f"# HELP {PREFIX}{name} {text}"
    yield f"# TYPE {PREFIX}{name} gauge"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
