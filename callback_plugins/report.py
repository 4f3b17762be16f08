# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Prints the ``report`` of each result as plain text and a line for each host; writes results for the scheduler."""

from __future__ import annotations

DOCUMENTATION = r"""
name: report
type: notification
short_description: Prints reports as plain text, and a summary if there are several hosts
description:
  - Modules of this project return their text for people as RV(ignore:report). The default output would show it as
    YAML with escaped pictographs; this plugin prints it line by line. With another stdout callback it prints nothing.
  - A reset, health check or restore of several hosts ends with a line for each host - the verdict, what was moved, the
    time of its tasks, and the run to undo. Failed, unreachable and untouched hosts have a line, too.
  - If E(SCHEDULE_RESULTS) names a file, it appends a line of JSON for each result, with the fields that RV(ignore:KEPT)
    in its code lists; none of them is secret.
author: [The maintainers (@ansible-reset)]
"""

import json
import os
import time
from dataclasses import dataclass, field
from typing import Any

from ansible import constants
from ansible.plugins.callback import CallbackBase

# Result fields of a reset, health check or restore, and the one of an audit, which prints its own summary.
SUMMED_UP = frozenset({"stage", "kept", "healthy", "undo"})
AUDITED = "verdicts"
# Result fields that the scheduler gets, in the file that this variable names.
KEPT = ("cause", "plan", "totals", "not_loaded", "checks", "verdicts", "problems")
VARIABLE = "SCHEDULE_RESULTS"
# Tags that match no task leave only these.
CHECKING = ("ansible.builtin.assert", "ansible.builtin.validate_argument_spec")


@dataclass
class Host:
    """What is known about a host so far.

    Attributes:
        task: its last task, or the stage of a reset that failed; empty if none began.
        failure: why it failed, as text; empty if it did not.
        unreachable: whether the connection failed or was lost.
        healthy: the result of the health check; None if there is none.
        changed: whether any task changed something.
        run: the run that keeps what was moved, for an undo; empty if nothing was moved.
        moved: what that run keeps, as text.
        seconds: total time of its tasks, without waiting for other hosts.
        begun: whether a module of the project has run on it.
        since: start of its current task, by the monotonic clock.
    """

    task: str = ""
    failure: str = ""
    unreachable: bool = False
    healthy: bool | None = None
    changed: bool = False
    run: str = ""
    moved: str = ""
    seconds: float = 0.0
    begun: bool = False
    since: float | None = field(default=None, repr=False)

    def take(self, result: dict[str, Any]) -> None:
        """Update what is known from the result of a task."""
        self.begun |= not SUMMED_UP.isdisjoint(result)
        refused = not self.begun and "evaluated_to" in result  # by an assertion
        self.task = "" if refused else result.get("stage", self.task)
        self.changed |= bool(result.get("changed"))
        self.healthy = result.get("healthy", self.healthy)
        run = result.get("run") or result.get("undo")
        if run:
            self.run, self.moved = run, result.get("kept", {}).get("text", "")

    def verdict(self, plan: bool) -> str:
        """Return the verdict as one phrase with a pictograph."""
        if not self.task:
            return "⏸️  not begun"
        if self.unreachable:
            return f"❌ unreachable at {self.task}"
        if self.failure:
            return f"❌ failed at {self.task}"
        if plan:
            return "📝 planned: would change" if self.changed else "📝 planned: nothing to do"
        done = "changed" if self.changed else "nothing to do"
        return f"✅ healthy, {done}" if self.healthy else f"✅ done, {done}"


def summary(hosts: dict[str, Host], plan: bool) -> str:
    """Return the final table: hosts in the order of the run, and what to do about failed ones."""
    width = max(map(len, hosts))
    lines = [f"📋 {len(hosts)} hosts"]
    for name, host in hosts.items():
        line = f"   {name:{width}}  {host.verdict(plan)}"
        if host.seconds:
            line += f", {host.seconds:.1f} s"
        line += f"; moved {host.moved}" if host.moved else ""
        line += f"; undo: --limit {name} -e restore_run={host.run}" if host.run else ""
        lines.append(line)
        if host.failure:
            lines.append(f"   {'':{width}}     {host.failure}")
    if any(host.run for host in hosts.values()):
        lines.append(
            "   Undo: ansible-playbook playbooks/restore.yml, with the inventory of this run and the above"
        )
    again = [name for name, host in hosts.items() if host.failure or not host.task]
    if again:
        lines.append(f"   Fix these and run the same again with --limit {','.join(again)}")
    return "\n".join(lines)


class CallbackModule(CallbackBase):  # type: ignore[misc]
    """See DOCUMENTATION."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "notification"
    CALLBACK_NAME = "report"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self) -> None:
        super().__init__()
        self.hosts: dict[str, Host] = {}
        self.play: Any = None
        self.plan = self.audited = self.worked = False
        self.path = os.environ.get(VARIABLE)
        # Other stdout callbacks get the same text in the result.
        self.prints = constants.DEFAULT_STDOUT_CALLBACK.removeprefix("ansible.builtin.") == "default"

    def v2_playbook_on_play_start(self, play: Any) -> None:
        """Remember the play until its first task: a play without tasks reports no hosts."""
        self.play, self.plan = play, bool(play.check_mode)

    def v2_playbook_on_task_start(self, task: Any, is_conditional: bool) -> None:
        """Add all hosts of the play, including those of later batches."""
        if self.play:
            inventory = self.play.get_variable_manager()._inventory
            for host in inventory.get_hosts(self.play.hosts, ignore_restrictions=True, order=self.play.order):
                self.hosts.setdefault(host.get_name(), Host())
            self.play = None

    def v2_runner_on_start(self, host: Any, task: Any) -> None:
        """Start a task's clock."""
        known = self.hosts.setdefault(host.get_name(), Host())
        known.since = time.monotonic()

    def v2_runner_on_ok(self, result: Any) -> None:
        """Show the report of a successful task, and record it unless it only checked something."""
        self._end(result).take(result.result)
        self._show(result)
        if result.task.action not in CHECKING:
            self._record("ok", result)

    def v2_runner_on_skipped(self, result: Any) -> None:
        """End a skipped task."""
        self._end(result)

    def v2_runner_on_failed(self, result: Any, ignore_errors: bool = False) -> None:
        """Show the report of a failed task; the default output prints its message."""
        host = self._end(result)
        host.take(result.result)
        if not ignore_errors:
            host.failure = _message(result.result)
        self._show(result)
        self._record("failed", result, ignore_errors)

    def v2_runner_on_unreachable(self, result: Any) -> None:
        """Note an unreachable host."""
        host = self._end(result)
        host.unreachable, host.failure = True, _message(result.result)
        self._record("unreachable", result, bool(result.task.ignore_unreachable))

    def v2_playbook_on_stats(self, stats: Any) -> None:
        """Print the summary if there are several hosts, or that no task of the project ran."""
        if not self.prints:
            return
        if self.hosts and not self.worked and not stats.failures and not stats.dark:
            self._display.warning(
                "Nothing was done: no task of the project ran. Check --tags and --skip-tags."
            )
        begun = any(host.begun for host in self.hosts.values())
        if begun and not self.audited and len(self.hosts) > 1:
            self._display.display(summary(self.hosts, self.plan))

    def _end(self, result: Any) -> Host:
        host = self.hosts.setdefault(result.host.get_name(), Host())
        self.worked |= _own(result)
        host.task = result.task.get_name().rpartition(" : ")[2].partition(" - ")[0]
        if host.since is not None:
            host.seconds += time.monotonic() - host.since
            host.since = None
        return host

    def _show(self, result: Any) -> None:
        self.audited |= AUDITED in result.result
        report = result.result.get("report")
        if self.prints and isinstance(report, str) and report:
            self._display.display(report)

    def _record(self, state: str, result: Any, ignored: bool = False) -> None:
        if not self.path:
            return
        values = result.result
        message = values.get("msg", "") if state != "ok" else ""
        record = {
            "host": result.host.get_name(),
            "task": result.task.get_name(),
            "state": state,
            "ignored": ignored,
            "changed": bool(values.get("changed")),
            "msg": "\n".join(map(str, message)) if isinstance(message, list) else str(message),
            **{name: values[name] for name in KEPT if name in values},
        }
        with open(self.path, "a", encoding="utf-8") as file:
            file.write(json.dumps(record, default=str) + "\n")


def _own(result: Any) -> bool:
    """Return whether the task is one of the project, and not a check of arguments or results."""
    return not result.task.action.startswith("ansible.builtin.")


def _message(result: dict[str, Any]) -> str:
    message = result.get("msg") or "see above"
    text = " ".join(message if isinstance(message, list) else str(message).split())
    return text.removeprefix("Task failed: ")
