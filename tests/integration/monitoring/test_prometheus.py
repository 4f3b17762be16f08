"""The files of monitoring/ in Prometheus itself: rules on simulated days, the dashboard on a real run's metrics."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.sandbox import postgres
from ansible.module_utils.schedule import jobs
from ansible.module_utils.schedule.jobs import Config, Job

from tests.engines import Database

ROOT = Path(__file__).resolve().parents[3]
MONITORING = ROOT / "monitoring"
pytestmark = pytest.mark.skipif(
    not (shutil.which("promtool") and shutil.which("prometheus")),
    reason="Prometheus is not installed (Debian: apt-get install prometheus)",
)


@pytest.mark.parametrize("command", [["check", "rules", "alerts.yml"], ["test", "rules", "alerts_test.yml"]])
def test_rules_hold(command: list[str]) -> None:
    done = subprocess.run(
        ["promtool", *command], cwd=MONITORING, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def queries() -> list[str]:
    dashboard = json.loads((MONITORING / "dashboard.json").read_text())
    return [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def served(folder: Path) -> Iterator[int]:
    """What node_exporter would add to its own metrics."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


@contextmanager
def prometheus(folder: Path, target: int) -> Iterator[str]:
    """Prometheus that asks a port for ``/all.prom`` every second; its address."""
    scrape = {
        "job_name": "node", "scrape_interval": "1s", "metrics_path": "/all.prom",
        "static_configs": [{"targets": [f"127.0.0.1:{target}"]}],
    }  # fmt: skip
    (folder / "prometheus.yml").write_text(
        json.dumps(
            {
                "global": {"evaluation_interval": "1s"},
                "rule_files": [str(MONITORING / "alerts.yml")],
                "scrape_configs": [scrape],
            }
        )
    )
    port = postgres.free_port()
    process = subprocess.Popen(
        ["prometheus", f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data",
         f"--web.listen-address=127.0.0.1:{port}", "--log.level=error"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(20)


def ask(address: str, query: str) -> list[dict[str, Any]]:
    url = f"{address}/api/v1/query?{urllib.parse.urlencode({'query': query})}"
    with urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310
        result: list[dict[str, Any]] = json.load(answer)["data"]["result"]
        return result


def wait_for(address: str, query: str) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            if ask(address, query):
                return
        except OSError:
            pass
        time.sleep(0.3)
    raise AssertionError(f"{query}: nothing came")


def run(folder: Path, database: Database) -> None:
    """Two jobs by the scheduler's own entrance: a health check of a host without tables fails, a plan goes well."""
    root = folder / "project"
    (root / "src").mkdir(parents=True)
    lines = {
        "DB_URL": database.url(), "POSTGRES_HOST": database.host, "POSTGRES_PORT": database.port,
        "POSTGRES_USER": database.user, "POSTGRES_DB": database.database, "EODHD_API_TOKEN": "demo",
        "ENVIRONMENT": "test", "DEBUG": "false",
    }  # fmt: skip
    (root / ".env").write_text("".join(f"{key}='{value}'\n" for key, value in lines.items()))
    host = {
        "ansible_connection": "local", "ansible_python_interpreter": sys.executable, "project_root": str(root),
        "project_interpreter": sys.executable, "health_token": False, "health_redis": False,
        "postgres_password": database.password, "eodhd_api_token": "demo",
        "health_metrics_path": str(folder / "metrics/health.prom"), "health_tables": ["pg_catalog.pg_class", "none"],
    }  # fmt: skip
    (folder / "hosts.json").write_text(json.dumps({"all": {"hosts": {"hub": host}}}))
    given = {"health": {"playbook": "reset", "tags": ["health"], "at": "*-*-* 05:30:00"}}
    parsed = {name: Job(**{**vars(job), "interval": 86400}) for name, job in jobs.parse(given, []).items()}
    config = Config(
        str(ROOT), [str(folder / "hosts.json")], parsed, str(folder / "state"), str(folder / "spare"), retries=[],
        metrics=str(folder / "metrics/schedule.prom"), command=["true"],
    )  # fmt: skip
    for name in ("metrics", "state", "spare"):
        (folder / name).mkdir()
    (folder / "schedule.json").write_text(config.text())
    command = [sys.executable, "tools/run_job.py", str(folder / "schedule.json"), "health"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=100, check=False)
    assert "the check tables fails" in done.stdout, done.stdout + done.stderr


def test_every_query_of_the_dashboard_and_every_rule_has_an_answer(
    tmp_path: Path, database: Database
) -> None:
    run(tmp_path, database)
    texts = [path.read_text() for path in sorted((tmp_path / "metrics").glob("*.prom"))]
    # What this host has no account and no good run for.
    texts.append("project_health_quota_left 99000\n")
    texts.append('project_health_table_rows{table="market_data",estimated="0"} 1\n')
    texts.append('project_schedule_last_success_timestamp_seconds{job_name="health"} 1\n')
    (tmp_path / "all.prom").write_text("".join(texts))
    with served(tmp_path) as port, prometheus(tmp_path, port) as address:
        wait_for(address, "project_schedule_last_ok")
        assert {query: bool(ask(address, query)) for query in queries()} == dict.fromkeys(queries(), True)
        wait_for(address, 'ALERTS{alertname="MarketDataProblem"}')
        wait_for(address, 'ALERTS{alertname="MarketDataUnhealthy"}')
