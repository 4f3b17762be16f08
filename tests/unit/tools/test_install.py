"""Set-up finds uv in the lock."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).resolve().parents[3] / "tools"))

import install

UV = "uv==0.1 \\\n    --hash=sha256:bb \\\n    --hash=sha256:cc\n    # via x\n"
LOCK = "tzdata==1 \\\n    --hash=sha256:aa\n" + UV + "yaml==2\n"


def test_a_package_has_all_its_hashes() -> None:
    assert install.requirement(LOCK, "uv") == UV


def test_a_lock_without_the_package_says_what_to_do() -> None:
    with pytest.raises(SystemExit, match="make lock"):
        install.requirement(LOCK, "v")
