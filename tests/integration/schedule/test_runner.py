"""What a run does with what it finds: messages, attempts, heartbeat, kills, two at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.reporting import Problem
from ansible.module_utils.schedule import jobs, runner
from ansible.module_utils.schedule.jobs import Config, Job
from ansible.module_utils.schedule.runner import Played, Runner
from ansible.module_utils.schedule.state import alone

GIVEN = {
    "health": {"playbook": "reset", "at": "*-*-* 05:30:00", "heartbeat": True},
    "audit": {"playbook": "audit", "at": "*-*-* 05:30:00", "again": 86400},
}
GOOD = Played(0, [{"state": "ok", "host": "hub"}])
REFUSED = Played(2, [{"state": "failed", "host": "hub", "cause": "refused", "msg": "refused"}])
DOWN = Played(2, [{"state": "failed", "host": "hub", "cause": "database", "msg": "down"}])


@dataclass
class Scene:
    """A runner, what the plays of its jobs will do, and what it did."""

    folder: Path
    plays: list[Played] = field(default_factory=list)
    messages: list[str] = field(default_factory=list)
    waits: list[float] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    beats: int = 0
    now: float = 1_000_000.0
    deaf: bool = False

    def __post_init__(self) -> None:
        self.spare = self.folder / "spare"
        self.spare.mkdir()
        config = Config("/p", [], jobs.parse(GIVEN, []), str(self.folder), str(self.spare), retries=[60, 300])
        self.runner = Runner(
            config,
            self._play,
            [self._tell],
            self._beat,
            now=lambda: self.now,
            sleep=self.waits.append,
            say=self.said.append,
        )
        self.state = self.runner.state

    def _play(self, _job: Job, log: Path) -> Played:
        return self.plays.pop(0)

    def _tell(self, message: str) -> None:
        if self.deaf:
            raise Problem("nobody is there")
        self.messages.append(message.splitlines()[0])

    def _beat(self) -> None:
        self.beats += 1

    def run(self, name: str) -> bool:
        """A run and what follows it."""
        self.now += 10
        try:
            return self.runner.run(name)
        finally:
            self.runner.after(name)

    def again(self) -> None:
        self.runner.again()
        self.runner.after("again")

    def outcomes(self) -> list[str]:
        return [run.outcome for run in self.state.runs()]


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


def test_a_run_that_goes_well_tells_the_watchdog_alone(scene: Scene) -> None:
    scene.plays = [GOOD]
    assert scene.run("health")
    assert (scene.messages, scene.beats, scene.outcomes()) == ([], 1, ["ok"])


def test_a_problem_is_told_when_it_begins_and_when_it_is_over(scene: Scene) -> None:
    scene.plays = [REFUSED, REFUSED, GOOD, GOOD]
    for _ in range(4):
        scene.run("health")
    assert scene.messages == [
        "❌ market data: EODHD refuses the token",
        "✅ market data: over: EODHD refuses the token",
    ]
    assert scene.beats == 2


def test_a_passing_trouble_gets_time_to_pass(scene: Scene) -> None:
    scene.plays = [DOWN, DOWN, GOOD]
    assert scene.run("health")
    assert scene.waits == [60, 300]
    assert scene.messages == []


def test_one_that_does_not_pass_is_told(scene: Scene) -> None:
    scene.plays = [DOWN, DOWN, DOWN]
    assert not scene.run("health")
    assert scene.messages == ["❌ market data: the database cannot be used"]


def test_a_message_that_nobody_got_is_sent_later(scene: Scene) -> None:
    scene.deaf, scene.plays = True, [REFUSED]
    scene.run("health")
    scene.deaf = False
    scene.again()
    scene.again()
    assert scene.messages == ["❌ market data: EODHD refuses the token"]


def test_what_failed_is_repeated_after_its_time(scene: Scene) -> None:
    scene.plays = [REFUSED, REFUSED, GOOD]
    scene.run("health")
    scene.run("audit")
    scene.now += 1900
    scene.again()
    assert scene.outcomes() == ["failed", "failed", "ok"]
    assert scene.messages == ["❌ market data: EODHD refuses the token"]  # the audit has still found it


def test_what_has_succeeded_meanwhile_is_not_repeated(scene: Scene) -> None:
    scene.plays = [REFUSED, REFUSED]
    scene.run("health")
    scene.run("audit")
    scene.now += 90000

    played = []

    def while_it_is_repeated(job: Job, _log: Path) -> Played:
        played.append(job.name)
        if job.name == "health":
            scene.run("audit")  # by its own timer
        return GOOD

    scene.runner.play = while_it_is_repeated
    scene.again()
    assert played == ["health", "audit"]


def test_a_run_that_ends_is_no_killed_one(scene: Scene) -> None:
    """The result is recorded before somebody else can get the lock."""
    free = []

    def say(_line: str) -> None:
        with alone(scene.spare / "health.lock") as mine:
            free.append(mine)

    scene.runner.say, scene.plays = say, [GOOD]
    scene.runner.run("health")
    assert free == [False]


def test_after_good_runs_there_is_nothing_to_repeat_or_to_tell(scene: Scene) -> None:
    scene.plays = [GOOD, GOOD]
    scene.run("health")
    scene.run("audit")
    scene.now += 90000
    scene.again()
    assert (scene.outcomes(), scene.messages, scene.beats) == (["ok", "ok"], [], 1)


def test_a_run_that_meets_another_says_so_and_ends_well(scene: Scene) -> None:
    with alone(scene.spare / "health.lock"):
        assert scene.run("health")
    assert scene.said == ["health: met: another run of this job is active"]


def test_a_killed_run_is_told_and_repeated(scene: Scene) -> None:
    def killed(_job: Job, _log: Path) -> Played:
        raise KeyboardInterrupt

    scene.runner.play = killed
    with pytest.raises(KeyboardInterrupt):
        scene.run("health")
    scene.runner.after("health")
    scene.runner.play = lambda _job, _log: GOOD
    scene.now += 1900
    scene.again()
    assert scene.messages == [
        "❌ market data: the job health does not finish",
        "✅ market data: over: the job health does not finish",
    ]


def test_a_run_whose_time_is_over_is_told(scene: Scene) -> None:
    scene.plays = [Played(None, [])]
    assert not scene.run("health")
    assert scene.outcomes() == ["cut"]
    assert scene.messages == ["❌ market data: the job health does not finish"]


def test_a_playbook_that_does_not_begin_is_told(scene: Scene) -> None:
    scene.plays = [Played(4, [])]
    scene.run("health")
    assert scene.messages == ["❌ market data: the job health fails"]


def test_a_run_in_which_no_host_was_asked_is_no_good_one(scene: Scene) -> None:
    """An empty inventory, a group that is no more: Ansible skips the play and ends well."""
    scene.plays = [REFUSED, Played(0, [])]
    scene.run("audit")
    assert not scene.run("health")
    assert scene.messages == [
        "❌ market data: EODHD refuses the token",
        "❌ market data: the job health fails",
    ]


def test_a_job_that_is_no_more_has_no_problems(scene: Scene) -> None:
    scene.plays = [REFUSED, GOOD]
    scene.run("audit")
    kept: dict[str, Any] = {**scene.runner.config.jobs}
    del kept["audit"]
    scene.runner.config = replace(scene.runner.config, jobs=kept)
    scene.run("health")
    assert scene.messages[-1] == "✅ market data: over: EODHD refuses the token"


def test_records_that_cannot_be_written_are_a_problem_until_they_can(scene: Scene) -> None:
    (scene.folder / "schedule.sqlite").mkdir()
    scene.plays = [GOOD, GOOD, GOOD]
    scene.run("health")
    scene.run("health")
    assert scene.messages == ["❌ market data: the scheduler cannot write its records"]
    (scene.folder / "schedule.sqlite").rmdir()
    scene.run("health")
    assert scene.messages[1:] == ["✅ market data: over: the scheduler cannot write its records"]
    assert scene.outcomes() == ["ok"] * 3


def test_old_logs_and_runs_go(scene: Scene, age: Callable[[Path, float], None]) -> None:
    logs = scene.folder / "logs"
    logs.mkdir()
    for name, days in (("old.log", 401), ("new.log", 399)):
        (logs / name).touch()
        age(logs / name, scene.now - days * 86400)
    scene.plays = [GOOD]
    scene.run("health")
    assert [path.name for path in logs.iterdir()] == ["new.log"]


def test_a_play_that_takes_too_long_ends_and_what_it_recorded_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = (
        "trap '' TERM; echo begun; echo '{\"host\": \"hub\"}' >> $SCHEDULE_RESULTS;"
        ' printf \'{"host": "no\' >> $SCHEDULE_RESULTS; while :; do sleep 1; done'
    )
    monkeypatch.setattr(runner, "command", lambda *_: ["sh", "-c", script])
    monkeypatch.setattr(runner, "GRACE", 0.5)
    config = Config(str(tmp_path), [], {}, str(tmp_path), str(tmp_path))
    played = runner.play(config, Job("health", "reset", "daily", seconds=1), None, tmp_path / "log")
    assert played == Played(None, [{"host": "hub"}])
    assert (tmp_path / "log").read_text() == "begun\n"
    assert [path.name for path in tmp_path.iterdir()] == ["log"]


def test_a_play_on_a_full_disk_runs_although_its_output_cannot_be_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "command", lambda *_: ["sh", "-c", "echo begun; exit 3"])
    config = Config(str(tmp_path), [], {}, str(tmp_path), str(tmp_path))
    played = runner.play(config, Job("health", "reset", "daily"), None, Path("/dev/full"))
    assert played == Played(3, [])
