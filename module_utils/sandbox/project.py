"""Write the legacy project with its mess, once: what a reset has cleaned stays clean.

A marker in the sandbox's folder, outside the project, records what was done. Everything in the files is invented,
including the keys in ``.env``.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ansible.module_utils.reporting import Problem
from ansible.module_utils.sandbox.postgres import quiet

MARKER = ".sandbox"
BEGUN, DONE = "begun\n", "laid out\n"


@dataclass(frozen=True)
class File:
    """A regular file."""

    text: str = ""
    mode: int = 0o644


@dataclass(frozen=True)
class Link:
    """A symbolic link; its target may be missing."""

    target: str


# Committed to the project's git repository; never touched by a reset.
SOURCES: dict[str, File] = {
    ".gitignore": File("venv/\n.env\n__pycache__/\n"),
    "README.md": File("# MT5-CRS\n\nDaily bars for the trading research; see docs/operations.md.\n"),
    "docs/operations.md": File(
        "# Operations\n\n"
        "The database is on the hub. Every node reads its settings from `.env` in the project's root:\n"
        "`DB_URL`, the `POSTGRES_*` keys and `EODHD_API_TOKEN`.\n"
    ),
    "scripts/show_latest.py": File(
        '"""Print the last close of a symbol: python -m scripts.show_latest AAPL.US"""\n\n'
        "import sys\n\nfrom sqlalchemy import create_engine, text\n\n"
        "from src.settings import database_url\n\n"
        'QUERY = text("SELECT time, close FROM market_data WHERE symbol = :symbol ORDER BY time DESC")\n\n'
        "with create_engine(database_url()).connect() as connection:\n"
        '    print(connection.execute(QUERY, {"symbol": sys.argv[1]}).first())\n',
        0o755,
    ),
    "src/__init__.py": File(),
    "src/settings.py": File(
        '"""The settings that every part of the project reads."""\n\n'
        "import os\n\nfrom dotenv import load_dotenv\n\n\n"
        "def database_url() -> str:\n"
        '    """The database as an URL, from .env or the environment."""\n'
        "    load_dotenv()\n"
        '    return os.environ["DB_URL"]\n',
    ),
}

# A venv that was made in the root itself, over the team's bin/, and another one whose Python is gone.
MESS: dict[str, File | Link] = {
    "bin/activate": File('VIRTUAL_ENV="/opt/mt5-crs"\nexport VIRTUAL_ENV\nPATH="$VIRTUAL_ENV/bin:$PATH"\n'),
    "bin/pip": File(
        "#!/opt/mt5-crs/bin/python3\nimport sys\nfrom pip._internal import main\nsys.exit(main())\n", 0o755
    ),
    "bin/python": Link("python3"),
    "bin/python3": Link("/usr/bin/python3.6-removed"),
    "bin/sync_nodes.sh": File(
        "#!/bin/sh\n# Ours: copies the sources to the inference and the GPU node.\n"
        'for node in inf gpu; do rsync -a src/ "$node:/opt/mt5-crs/src/"; done\n',
        0o755,
    ),
    "bin/rotate_logs.py": File(
        "#!/usr/bin/env python3\n# Ours: keeps the last seven logs.\n"
        "from pathlib import Path\n\n"
        'for log in sorted(Path("logs").glob("*.log"))[:-7]:\n    log.unlink()\n',
        0o755,
    ),
    "include/python3.6m/greenlet/greenlet.h": File("#define GREENLET_VERSION 100\n"),
    "lib/python3.6/site-packages/requests/__init__.py": File('__version__ = "2.18.4"\n'),
    "lib/python3.6/site-packages/requests-2.18.4.dist-info/METADATA": File(
        "Metadata-Version: 2.0\nName: requests\nVersion: 2.18.4\n"
    ),
    "lib/python3.6/site-packages/easy-install.pth": File("../../../src\n"),
    "lib64": Link("lib"),
    "pyvenv.cfg": File("home = /usr/bin\ninclude-system-site-packages = false\nversion = 3.6.8\n"),
    "venv/bin/activate": File('VIRTUAL_ENV="/opt/mt5-crs/venv"\nexport VIRTUAL_ENV\n'),
    "venv/bin/pip": File("#!/opt/mt5-crs/venv/bin/python\nimport pip\n", 0o755),
    "venv/bin/python": Link("/usr/bin/python3.6-removed"),
    "venv/lib/python3.6/site-packages/pandas/__init__.py": File('__version__ = "0.25.3"\n'),
    "venv/lib64": Link("lib"),
    "venv/pyvenv.cfg": File("home = /usr/bin\ninclude-system-site-packages = false\nversion = 3.6.8\n"),
    ".env": File(
        "# MT5-CRS hub. Ask the platform team before changing the gateway.\n"
        "DB_URL=postgresql://trader:outdated@10.0.0.9:5432/mt5\n"
        "POSTGRES_HOST=10.0.0.9\n"
        "POSTGRES_PASSWORD=outdated\n"
        "\n"
        "# --- AI provider ---------------------------------------\n"
        "# Key of the research account; the review jobs stop\n"
        "# without it.\n"
        "AI_PROVIDER_API_KEY='invented-key-of-the-sandbox'\n"
        'AI_PROVIDER_MODEL="large"  # the small one cannot read charts\n'
        "\n"
        "\n"
        "REDIS_HOST=10.0.0.7\n"
        "GATEWAY_URL=tcp://10.0.0.8:5555\n"
        "export FOO=bar\n"
        "EODHD_API_TOKEN=refused-since-spring\n"
    ),
}


def require_inside(folder: Path, root: Path) -> None:
    """Raise ``Problem`` unless ``root`` is below ``folder`` after links and ``..`` are resolved."""
    if not (folder.is_absolute() and root.is_absolute() and folder.resolve() in root.resolve().parents):
        raise Problem(
            f"project_root ({root}) is not below sandbox_dir ({folder}), and the sandbox touches nothing else. Set them"
            " in group_vars/sandbox/main.yml. Real hosts belong in their own inventory."
        )


def plan(state: str, marker: str | None, root_exists: bool, pollute_again: bool) -> str:
    """Return the step to ``state``: ``nothing``, ``project`` (with its mess), ``mess`` or ``remove``.

    ``marker`` is the content of the marker file; None if there is no sandbox.
    """
    if state == "absent":
        return "nothing" if marker is None else "remove"
    if marker != DONE or not root_exists:
        return "project"
    return "mess" if pollute_again else "nothing"


def ensure(folder: Path, root: Path, state: str, *, pollute_again: bool, check: bool) -> str:
    """Bring the project into ``state`` unless ``check`` is set; return the step, see ``plan``.

    ``absent`` removes the sandbox's folder with everything in it. Raises Problem if the root is not below the folder,
    or if the folder holds other data.
    """
    require_inside(folder, root)
    marker_file = folder / MARKER
    marker = marker_file.read_text(encoding="utf-8") if marker_file.exists() else None
    if marker is None and folder.exists() and any(folder.iterdir()):
        raise Problem(
            f"{folder} is not empty, and the sandbox did not create it. Set sandbox_dir to another folder"
            " (group_vars/sandbox/main.yml), or remove this one yourself."
        )
    step = plan(state, marker, root.exists(), pollute_again)
    if check or step == "nothing":
        return step
    if step == "remove":
        for path in folder.iterdir():  # the marker goes last, so that a killed run can be repeated
            if path != marker_file:
                _remove(path)
        shutil.rmtree(folder)
        return step
    folder.mkdir(mode=0o755, parents=True, exist_ok=True)
    marker_file.write_text(BEGUN, encoding="utf-8")  # if this run is killed, the next one starts again
    if step == "project":
        _remove(root)
        _lay_out(root, SOURCES)
        _commit(root)
    for name in {Path(path).parts[0] for path in MESS}:
        _remove(root / name)
    _lay_out(root, MESS)
    marker_file.write_text(DONE, encoding="utf-8")
    return step


def _lay_out(root: Path, entries: Mapping[str, File | Link]) -> None:
    for name, entry in entries.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(entry, Link):
            path.symlink_to(entry.target)
        else:
            path.write_text(entry.text, encoding="utf-8")
            path.chmod(entry.mode)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _commit(root: Path) -> None:
    """Create the repository with one commit, independently of this user's git settings."""
    environment = {
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_AUTHOR_DATE": "2024-01-02T00:00:00Z",
        "GIT_COMMITTER_DATE": "2024-01-02T00:00:00Z",
    }
    settings = ("user.name=Sandbox", "user.email=sandbox@example.invalid", "init.defaultBranch=main")
    options = [part for setting in settings for part in ("-c", setting)]
    for arguments in (["init", "--quiet"], ["add", "--all"], ["commit", "--quiet", "--message", "MT5-CRS"]):
        done = quiet(["git", *options, *arguments], str(root), 60, **environment)
        if done.returncode == 127:
            raise Problem("git is missing. Install it (Debian, Ubuntu: apt-get install git).")
        if done.returncode:
            raise Problem(f"git {arguments[0]} failed in {root}. Fix this: {done.stdout.strip()}")
