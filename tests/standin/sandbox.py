"""``make sandbox-backfill ARGS=…``: start the stand-in, run the playbook against it, end the stand-in."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from standin.process import StandIn


def main() -> int:
    with StandIn("--latency", "0.05", "--universe", "1000") as standin:
        command = ["ansible-playbook", "playbooks/backfill.yml", "-e", f"eodhd_base_url={standin.url}"]
        return subprocess.run([*command, *sys.argv[1:]], check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
