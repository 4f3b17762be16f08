# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Prints the ``report`` of a result as the text that it is, and at the end what became of every host."""

from __future__ import annotations

DOCUMENTATION = r"""
name: report
type: notification
short_description: Prints the report of a result as the text that it is, and a summary of many hosts
description:
  - Modules of this project return what people read as RV(ignore:report). The default output would show it as YAML,
    with escapes for every pictograph; this shows it line by line. With any other stdout callback it prints nothing.
  - A reset, a health check or a restore of several hosts ends with a line for each of them - the verdict, what was
    moved, the time that its tasks took, and the run to undo; also for a host that failed, could not be reached, or
    was not begun.
author: [The maintainers (@ansible-reset)]
"""

import time
from dataclasses import dataclass, field
from typing import Any

from ansible import constants
from ansible.plugins.callback import CallbackBase

# Fields of results that a reset, a health check or a restore returns, and the one by which an audit sums up itself.
SUMMED_UP = frozenset({"stage", "kept", "healthy", "undo"})
AUDITED = "verdicts"


@dataclass
class Host:
    """What is known of a host so far.

    Attributes:
        task: the last one that it was given, or the stage of a reset that could not be taken.
        failure: why it failed, for people; empty if it did not.
        unreachable: whether it was cut off, or could not be reached at all.
        healthy: what the health check said, None if it has not been asked.
        changed: whether any task changed something.
        run: the run that keeps what was moved, to undo it by; empty if nothing was moved.
        moved: what that run keeps, for people.
        seconds: time that its tasks took, without the waiting for others.
        begun: whether a module of the project has looked at it.
        refused: whether an assertion stopped it before that.
        since: when its present task began, of the monotonic clock.
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
    refused: bool = False
    since: float | None = field(default=None, repr=False)

    def take(self, result: dict[str, Any]) -> None:
        """Learn from the result of a task."""
        self.begun |= not SUMMED_UP.isdisjoint(result)
        self.refused = not self.begun and "evaluated_to" in result
        self.task = result.get("stage", self.task)
        self.changed |= bool(result.get("changed"))
        self.healthy = result.get("healthy", self.healthy)
        run = result.get("run") or result.get("undo")
        if run:
            self.run, self.moved = run, result.get("kept", {}).get("text", "")

    def verdict(self, plan: bool) -> str:
        """One phrase, with the pictograph that the reports use."""
        if not self.task or self.refused:
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
    """The table of the end: hosts in the order in which they were begun, and what to do about those that failed."""
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
    again = [name for name, host in hosts.items() if host.failure or host.unreachable or not host.task]
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
        self.plan = self.audited = False
        # What people read belongs to the output for people; others get the same text in the result.
        self.disabled = constants.DEFAULT_STDOUT_CALLBACK.removeprefix("ansible.builtin.") != "default"

    def v2_playbook_on_play_start(self, play: Any) -> None:
        """Remember the play; one without tasks for its hosts says nothing of them."""
        self.play, self.plan = play, bool(play.check_mode)

    def v2_playbook_on_task_start(self, task: Any, is_conditional: bool) -> None:
        """Note every host of the play, also of batches that are still to come."""
        if self.play:
            inventory = self.play.get_variable_manager()._inventory
            for host in inventory.get_hosts(self.play.hosts, ignore_restrictions=True, order=self.play.order):
                self.hosts.setdefault(host.get_name(), Host())
            self.play = None

    def v2_runner_on_start(self, host: Any, task: Any) -> None:
        """A task begins."""
        known = self.hosts.setdefault(host.get_name(), Host())
        known.since = time.monotonic()

    def v2_runner_on_ok(self, result: Any) -> None:
        """Show the report of a task that went well."""
        self._end(result).take(result.result)
        self._show(result)

    def v2_runner_on_skipped(self, result: Any) -> None:
        """A task that was not for this host."""
        self._end(result)

    def v2_runner_on_failed(self, result: Any, ignore_errors: bool = False) -> None:
        """Show the report of a task that failed; its message follows or precedes by the default output."""
        host = self._end(result)
        host.take(result.result)
        if not ignore_errors:
            host.failure = _message(result.result)
        self._show(result)

    def v2_runner_on_unreachable(self, result: Any) -> None:
        """A host that is cut off, or was never there."""
        host = self._end(result)
        host.unreachable, host.failure = True, _message(result.result)

    def v2_playbook_on_stats(self, stats: Any) -> None:
        """Say what became of every host, if there are several."""
        begun = any(host.begun for host in self.hosts.values())
        if begun and not self.audited and len(self.hosts) > 1:
            self._display.display(summary(self.hosts, self.plan))

    def _end(self, result: Any) -> Host:
        host = self.hosts.setdefault(result.host.get_name(), Host())
        host.task = result.task.get_name().rpartition(" : ")[2].partition(" - ")[0]
        if host.since is not None:
            host.seconds += time.monotonic() - host.since
            host.since = None
        return host

    def _show(self, result: Any) -> None:
        self.audited |= AUDITED in result.result
        report = result.result.get("report")
        if isinstance(report, str) and report:
            self._display.display(report)


def _message(result: dict[str, Any]) -> str:
    message = result.get("msg") or "see above"
    text = " ".join(message if isinstance(message, list) else str(message).split())
    return text.removeprefix("Task failed: ")
