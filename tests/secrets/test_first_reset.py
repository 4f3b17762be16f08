"""A run with every secret, searched on every channel. ``make safety`` does the same with every playbook."""

from __future__ import annotations

from tests.faults.wheels import Index
from tests.secrets.conftest import Searched, credentials


def test_first_reset_past_indexes_that_fail(play: Searched, secrets: dict[str, str], wheels: Index) -> None:
    (play.host.root / ".env").write_text(f"AI_KEY={secrets['key']!r}\nPOSTGRES_PASSWORD={secrets['old']}\n")
    done = play(
        "reset",
        "--diff",
        password="variable",
        project_index_urls=[
            wheels.url("garbage", credentials(secrets)),
            f"http://{credentials(secrets)}127.0.0.1:9/simple",
            "",
        ],
    )
    assert done.code == 0, done.said[-3000:]
    assert "System Healthy" in done.said
    assert "Package index skipped" in done.said
    assert play("reset", "--tags", "health", password="variable").code == 0
