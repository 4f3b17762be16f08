"""The first minute and the reset, compared with the plain recipe and a play with one ping, on the same machine."""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

from tests.bench.timing import medians, seconds

REPOSITORY = Path(__file__).resolve().parent.parent.parent
PACKAGES = ["pandas", "sqlalchemy", "psycopg2-binary", "requests", "redis", "python-dotenv"]
ROUNDS_FIRST, ROUNDS_COLD, ROUNDS_WARM = 3, 5, 7
INTERPRETER = getattr(sys, "_base_executable", sys.executable)
# For both, because the recipe uses no other.
OWN_INDEX = '{"project_index_urls": [""]}'


def run(argv: list[str], home: Path, folder: Path = REPOSITORY) -> None:
    """Run a command with its own home, which has no caches at first."""
    environment = {**os.environ, "HOME": str(home), "XDG_CACHE_HOME": str(home / ".cache")}
    # The settings of the user and the arguments of `make bench` must not affect it.
    for name in ("ANSIBLE_CONFIG", "ARGS", "MAKEFLAGS", "MAKEOVERRIDES", "MFLAGS", "PYTHONDONTWRITEBYTECODE"):
        environment.pop(name, None)
    done = subprocess.run(
        argv, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=600
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(argv)} failed:\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}")


def first() -> str:
    """Measure the way from a clone to System Healthy and the recipe, alternately and with empty caches."""
    folder = Path(tempfile.mkdtemp(prefix="bench-"))
    ours: list[float] = []
    recipe: list[float] = []
    sizes: list[float] = []
    try:
        for round_ in range(ROUNDS_FIRST):
            clone, venv = folder / f"clone{round_}", folder / f"recipe{round_}"
            homes = [folder / f"home{round_}-{name}" for name in ("ours", "recipe")]
            for home in homes:
                home.mkdir()
            try:
                ours.append(seconds(partial(first_minute, clone, homes[0])))
                sizes.append(megabytes(clone / ".venv"))
            finally:
                run(["make", "sandbox-stop"], homes[0], clone)
            recipe.append(seconds(partial(by_hand, venv, homes[1])))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    mine, theirs = statistics.median(ours), statistics.median(recipe)
    return (
        "## First minute\n\n"
        f"Medians of {ROUNDS_FIRST} runs that alternate, with empty caches and the host's own index for both.\n\n"
        "| Ours | | Against | | Ratio | Aim |\n|---|---|---|---|---|---|\n"
        f"| from clone to System Healthy: `make reset` | {mine:.1f} s | plain recipe: venv and pip alone |"
        f" {theirs:.1f} s | {mine / theirs:.2f} | ≤ 1.0 |\n"
        f"| the controller's environment | {max(sizes):.0f} MB | | | | ≤ 150 MB |\n"
    )


def first_minute(clone: Path, home: Path) -> None:
    """Do what the README says first, in a new clone."""
    run(["git", "clone", "--quiet", str(REPOSITORY), str(clone)], home)
    run(["make", "reset", f"PYTHON={INTERPRETER}", f"ARGS=-e '{OWN_INDEX}'"], home, clone)


def by_hand(venv: Path, home: Path, python: str = INTERPRETER) -> None:
    """Follow the plain recipe: create an environment, and install the packages with its pip."""
    run([python, "-m", "venv", str(venv)], home)
    run([str(venv / "bin/pip"), "install", "--quiet", *PACKAGES], home)


def megabytes(folder: Path) -> float:
    """Return the size of a folder on the disk."""
    return sum(path.lstat().st_blocks for path in folder.rglob("*")) * 512 / 1e6


def main() -> str:
    """Measure, and return the section for docs/benchmarks.md."""
    folder = Path(tempfile.mkdtemp(prefix="bench-"))
    sandbox = REPOSITORY / ".sandbox-bench"
    options = ["-e", f"sandbox_dir={sandbox}"]
    own_index = ["-e", OWN_INDEX]
    homes = iter(range(1000))

    def play(name: str, *more: str) -> Callable[[], None]:
        home = folder / f"home{next(homes)}"
        home.mkdir()
        return lambda: run(["ansible-playbook", f"{name}.yml", *options, *own_index, *more], home)

    def recipe() -> None:
        home = folder / f"home{next(homes)}"
        home.mkdir()
        shutil.rmtree(folder / "recipe", ignore_errors=True)
        by_hand(folder / "recipe", home, sys.executable)

    try:
        cold: dict[str, list[float]] = {"reset": [], "recipe": []}
        for _ in range(ROUNDS_COLD):
            play("playbooks/sandbox", "-e", "sandbox_repollute=true")()
            cold["reset"].append(seconds(play("playbooks/reset")))
            cold["recipe"].append(seconds(recipe))
        reset, plain = (statistics.median(cold[name]) for name in ("reset", "recipe"))
        plays = [
            play("playbooks/reset"),
            play("playbooks/reset", "--tags", "health"),
            play("tests/bench/ping"),
        ]
        for work in plays:
            work()
        again, health, ping = medians(ROUNDS_WARM, *plays)
    finally:
        play("playbooks/sandbox", "-e", "sandbox_state=absent")()
        shutil.rmtree(folder, ignore_errors=True)
    rows = [
        (
            "cold reset: clean, venv, `.env`, database, health",
            reset,
            "plain recipe: venv and pip alone",
            plain,
            0.25,
        ),
        ("second reset, nothing to do", again, "play with one ping", ping, 3.0),
        ("`--tags health`", health, "play with one ping", ping, 1.5),
    ]
    table = "".join(
        f"| {ours} | {mine:.2f} s | {rival} | {theirs:.2f} s | {mine / theirs:.2f} | ≤ {bound} |\n"
        for ours, mine, rival, theirs, bound in rows
    )
    return (
        "## Reset\n\n"
        f"Medians of {ROUNDS_COLD} cold runs (empty caches and the host's own index for both)"
        f" and {ROUNDS_WARM} warm runs, which alternate.\n"
        "\n"
        f"| Ours | | Against | | Ratio | Aim |\n|---|---|---|---|---|---|\n{table}"
    )


if __name__ == "__main__":
    print(main())
