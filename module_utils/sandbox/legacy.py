"""The files of the legacy project: its sources, and the mess around them.

Everything is invented, including the keys in ``.env``.
"""

from __future__ import annotations

from dataclasses import dataclass


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
