"""A machine or an index fails: the message says what to do, nothing is lost, and the next run converges."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.project import quarantine

from tests.faults.conftest import FIGURES
from tests.faults.estate import DRIVER, RESET, Estate, Outcome
from tests.faults.test_kills import with_old_environment
from tests.faults.wheels import Index

pytestmark = pytest.mark.safety
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to mount and to change owners")


def survives(
    estate: Estate, message: str, hurt: Callable[[], Outcome], fix: Callable[[], object] = lambda: None
) -> Outcome:
    """Run ``hurt``, which must fail with ``message``, then ``fix``, then converge; check the root all the time."""
    had_environment = estate.works()
    protected, treasure = estate.protected(), estate.treasure()
    outcome = hurt()
    lost = estate.lost(treasure)
    FIGURES["points"] += 1
    FIGURES["lost"] += lost
    assert outcome.problem is not None
    assert message in outcome.problem
    assert estate.protected() == protected
    assert lost == 0
    assert estate.works() or not had_environment
    assert (estate.root / ".env").read_bytes() == estate.old_dotenv
    fix()
    assert estate.run(RESET).problem is None
    estate.params["rebuild"] = False
    assert estate.run(RESET).changed is False
    assert estate.lost(treasure) == 0
    assert estate.works()
    FIGURES["survived"] += 1
    return outcome


@pytest.fixture
def served(estate: Estate) -> Estate:
    """An estate whose old environment works and will be replaced."""
    with_old_environment(estate)
    return estate


def reset(estate: Estate, **params: Any) -> Callable[[], Outcome]:
    return lambda: estate.run(RESET, params=params)


@pytest.mark.parametrize(
    ("mode", "message"),
    [
        ("refuses", "it answers HTTP 503"),
        ("garbage", "sound"),
        ("lacks", "sound"),
    ],
)
def test_index_that_fails(served: Estate, wheels: Index, mode: str, message: str) -> None:
    outcome = survives(served, message, reset(served, index_urls=[wheels.url(mode)]))
    assert outcome.problem is not None
    assert "project_index_urls" in outcome.problem


def test_index_that_cannot_be_reached(served: Estate) -> None:
    survives(served, "it does not answer", reset(served, index_urls=["http://127.0.0.1:9/simple"]))


def test_index_that_stalls_costs_seconds(served: Estate, wheels: Index) -> None:
    begun = time.monotonic()
    survives(served, "sound", reset(served, index_urls=[wheels.url("stalls")]))
    assert time.monotonic() - begun < 60


def test_index_after_one_that_fails_is_used_and_the_first_is_named(served: Estate, wheels: Index) -> None:
    urls = [wheels.url("lacks", "buyer:s3cret@"), wheels.url()]
    outcome = served.run(RESET, params={"index_urls": urls})
    assert outcome.problem is None
    assert "lacks/simple" in outcome.warnings[0]
    assert "s3cret" not in str(outcome)
    assert served.works()


def test_wheel_that_installs_and_does_not_import(served: Estate) -> None:
    message = "broken does not import: ImportError: libgone.so.1"
    survives(served, message, reset(served, packages=["sound", "broken"]))


def test_interpreter_below_the_floor(served: Estate) -> None:
    survives(served, "below project_python_minimum 9.0", reset(served, python_minimum="9.0"))


def test_interpreter_that_is_not_there(served: Estate) -> None:
    survives(served, "does not run on this host", reset(served, python="python-gone"))


def test_environment_without_uv_is_built_by_pip(
    estate: Estate, wheels: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No uv is next to the interpreter, in the PATH or on the index."""
    bare = os.path.realpath(sys.executable)
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    estate.params["python"] = bare
    assert estate.run(RESET, interpreter=bare).problem is None
    assert estate.works()
    assert estate.run(RESET, interpreter=bare).changed is False


def test_swapped_artifact_leads_nowhere(served: Estate, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / "precious").write_text("precious")
    (served.root / "bin/deploy.sh").unlink()
    (served.root / "bin").rmdir()
    (served.root / "bin").symlink_to(victim)
    assert served.run(RESET).problem is None
    assert (victim / "precious").read_text() == "precious"
    assert not os.path.lexists(served.root / "bin")


@contextlib.contextmanager
def run_under_way(estate: Estate) -> Iterator[subprocess.Popen[str]]:
    """A reset that waits for its index, on this root."""
    job = {"params": {**estate.params, "stages": RESET, "index_urls": [estate.index.url("stalls")]}}
    with subprocess.Popen(
        [sys.executable, str(DRIVER)], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True,
        start_new_session=True,
    ) as run:  # fmt: skip
        assert run.stdin is not None
        json.dump(job, run.stdin)
        run.stdin.close()
        try:
            deadline = time.monotonic() + 30
            while not list(estate.root.glob(".reset/build/*/venv")) and time.monotonic() < deadline:
                time.sleep(0.02)
            yield run
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(run.pid, signal.SIGKILL)


@pytest.mark.parametrize("stage", ["clean", "dotenv", "restore"])
def test_second_run_stops_at_once_while_a_run_is_under_way(estate: Estate, stage: str) -> None:
    with run_under_way(estate) as run:
        before = estate.picture()
        outcome = estate.run([stage])
        assert f"is running: {quarantine.me()['user']}, pid {run.pid}, since" in str(outcome.problem)
        assert estate.picture() == before


def test_run_that_was_killed_blocks_nobody_whoever_comes_next(estate: Estate) -> None:
    """The next controller has another host name, like every job container."""
    treasure = estate.treasure()
    with run_under_way(estate):
        pass
    namespace = ["unshare", "--uts", "sh", "-c", 'hostname next-controller && exec "$@"', "sh"]
    if subprocess.run([*namespace, "true"], capture_output=True, check=False).returncode:
        namespace = []  # not root: use this machine's name
    assert estate.run(RESET, prefix=namespace).problem is None
    assert estate.works()
    assert estate.lost(treasure) == 0


def test_what_was_moved_is_told_though_the_build_fails(estate: Estate, wheels: Index) -> None:
    outcome = estate.run(RESET, params={"index_urls": [wheels.url("refuses")]})
    assert outcome.problem is not None
    assert outcome.moved == ["bin", "lib", "lib64", "include", "pyvenv.cfg"]
    assert "   bin: moved away: directory, 1 file" in outcome.report


@pytest.fixture
def small_disk(tmp_path: Path, wheels: Index) -> Iterator[Estate]:
    """An estate on a file system of 24 MiB of its own."""
    root = tmp_path / "small"
    root.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(root)], check=True)
    try:
        (root / "project").mkdir()
        estate = Estate(root / "project", wheels)
        estate.pollute()
        yield estate
    finally:
        subprocess.run(["umount", "-l", str(root)], check=True)


@needs_root
def test_full_disk(small_disk: Estate) -> None:
    ballast = small_disk.root.parent / "ballast"

    def hurt() -> Outcome:
        free = os.statvfs(small_disk.root)
        ballast.write_bytes(b"x" * (free.f_bavail * free.f_frsize - (3 << 20)))
        return small_disk.run(RESET, params={"packages": ["sound", "large"]})

    survives(small_disk, "space", hurt, ballast.unlink)


@needs_root
def test_disk_full_to_the_last_byte(small_disk: Estate) -> None:
    ballast = small_disk.root.parent / "ballast"

    def hurt() -> Outcome:
        with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
            while file.write(b"x" * 4096):
                pass
        return small_disk.run(RESET, params={"space_mb": 0})

    survives(small_disk, "the disk is full", hurt, ballast.unlink)


@needs_root
def test_too_little_space_is_told_before_anything_moves(small_disk: Estate) -> None:
    outcome = survives(
        small_disk, "but a build needs 500 MiB (project_space_mb)", reset(small_disk, space_mb=500)
    )
    assert outcome.changed is False


@needs_root
def test_read_only_file_system(small_disk: Estate) -> None:
    mount = str(small_disk.root.parent)

    def hurt() -> Outcome:
        subprocess.run(["mount", "-o", "remount,ro", mount], check=True)
        return small_disk.run(RESET)

    survives(
        small_disk, "read-only; remount it", hurt,
        lambda: subprocess.run(["mount", "-o", "remount,rw", mount], check=True),
    )  # fmt: skip


@needs_root
def test_mount_inside_an_artifact(estate: Estate) -> None:
    point = estate.root / "lib/deep"
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(point)], check=True)
    try:
        outcome = estate.run(RESET)
    finally:
        subprocess.run(["umount", str(point)], check=True)
    assert outcome.problem is not None
    assert "is a mount point inside the artifact 'lib'" in outcome.problem


def python_for(uid: int) -> str:
    """Return an interpreter that this user may run."""
    for python in (os.path.realpath(sys.executable), "/usr/bin/python3"):
        with contextlib.suppress(OSError):
            if subprocess.run([python, "-c", "import venv"], user=uid, cwd="/", check=False).returncode == 0:
                return python
    pytest.skip("no interpreter outside of closed folders on this machine")


@needs_root
def test_permission_denied_half_way(tmp_path: Path, wheels: Index) -> None:
    """The owner of the root cannot move a folder of root; what was moved before is in quarantine."""
    base = Path("/var/tmp") / tmp_path.name  # noqa: S108 - a folder that other users may enter
    base.mkdir(mode=0o755)
    try:
        estate = Estate(base / "project", wheels)
        estate.params["python"] = python_for(65534)
        estate.pollute()
        for folder, folders, files in os.walk(estate.root):
            for name in [".", *folders, *files]:
                os.lchown(os.path.join(folder, name), 65534, 65534)
        os.chown(estate.root / "lib", 0, 0)
        outcome = survives(
            estate, "run this as its owner or as root", lambda: estate.run(["clean"], uid=65534),
            lambda: os.chown(estate.root / "lib", 65534, 65534),
        )  # fmt: skip
        assert outcome.moved == ["bin"]
        assert (estate.root / "venv").stat().st_uid == 65534
        assert (estate.root / ".env").stat().st_uid == 65534
    finally:
        subprocess.run(["rm", "-rf", str(base)], check=True)


def test_process_that_runs_out_of_the_old_environment_stops_the_reset(served: Estate) -> None:
    sleeper = subprocess.Popen([served.root / "venv/bin/python", "-c", "import time; time.sleep(60)"])
    try:
        time.sleep(0.3)
        outcome = survives(served, f"pid {sleeper.pid}", reset(served), lambda: end(sleeper))
        assert "project_allow_in_use" in str(outcome.problem)
    finally:
        end(sleeper)


def end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()


def test_process_that_was_started_before_goes_on_working(served: Estate) -> None:
    """After the exchange, and after the restore, it imports modules that it had not imported before."""
    code = "import sys\nfor line in sys.stdin:\n    exec(line); print('done', flush=True)\n"
    python = served.root / "venv/bin/python"
    with subprocess.Popen(
        [python, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as early:
        assert early.stdin is not None
        assert early.stdout is not None

        def ask(line: str) -> str:
            assert early.stdin is not None
            assert early.stdout is not None
            early.stdin.write(line + "\n")
            early.stdin.flush()
            return early.stdout.readline()

        try:
            assert ask("pass") == "done\n"
            assert served.run(RESET, params={"allow_in_use": True}).problem is None
            assert ask("import sound") == "done\n"
            assert served.run(["restore"], params={"allow_in_use": True}).problem is None
            assert ask("import pip") == "done\n"
            assert served.works()
        finally:
            early.kill()
