from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture
def age() -> Callable[[Path, float], None]:
    """Gives a file another time."""
    return lambda path, moment: os.utime(path, (moment, moment))
