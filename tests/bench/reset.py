"""The reset against the plain recipe, and against a play with one ping; all in one run, on one machine."""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from tests.bench.timing import medians, seconds

REPOSITORY = Path(__file__).resolve().parent.parent.parent
PACKAGES = ["pandas", "sqlalchemy", "psycopg2-binary", "requests", "redis", "python-dotenv"]
ROUNDS_FIRST, ROUNDS_COLD, ROUNDS_WARM = 3, 5, 7
INTERPRETER = getattr(sys, "_base_executable", sys.executable)
# For both: the recipe knows no other.
OWN_INDEX = '{"project_index_urls": [""]}'


def run(argv: list[str], home: Path, folder: Path = REPOSITORY) -> None:
    """Run a command to its end with a home of its own; nothing is cached there at first."""
    environment = {**os.environ, "HOME": str(home), "XDG_CACHE_HOME": str(home / ".cache")}
    environment.pop("ANSIBLE_CONFIG", None)
    done = subprocess.run(
        argv, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=600
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(argv)} failed:\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}")


def first(folder: Path) -> tuple[float, float]:
    """Median seconds from a clone to System Healthy, and of the recipe; in turn, with nothing in any cache."""
    names = iter(range(1000))

    def fresh() -> tuple[Path, Path]:
        place = folder / f"first{next(names)}"
        home = place / "home"
        home.mkdir(parents=True)
        return place, home

    def ours() -> None:
        place, home = fresh()
        clone = place / "clone"
        run(["git", "clone", "--quiet", str(REPOSITORY), str(clone)], home)
        try:
            run(["make", "reset", f"PYTHON={INTERPRETER}", f"ARGS=-e '{OWN_INDEX}'"], home, clone)
        finally:
            run(["make", "sandbox-stop"], home, clone)

    def recipe() -> None:
        place, home = fresh()
        run([INTERPRETER, "-m", "venv", str(place / "venv")], home)
        run([str(place / "venv/bin/pip"), "install", "--quiet", *PACKAGES], home)

    first, plain = medians(ROUNDS_FIRST, ours, recipe)
    return first, plain


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
        home, root = folder / f"home{next(homes)}", folder / "recipe"
        home.mkdir()
        shutil.rmtree(root, ignore_errors=True)
        run([sys.executable, "-m", "venv", str(root / "venv")], home)
        run([str(root / "venv/bin/pip"), "install", "--quiet", *PACKAGES], home)

    try:
        begun, by_hand = first(folder)
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
            "from clone to System Healthy: `make reset`",
            begun,
            "plain recipe: venv and pip alone",
            by_hand,
            1.0,
        ),
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
        f"Medians of {ROUNDS_FIRST} first runs, {ROUNDS_COLD} cold ones (empty caches for both, the host's own index)"
        f" and {ROUNDS_WARM} warm ones, these in turn.\n"
        "\n"
        f"| Ours | | Against | | Ratio | Aim |\n|---|---|---|---|---|---|\n{table}"
    )


if __name__ == "__main__":
    print(main())
