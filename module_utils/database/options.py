"""The option ``connection`` of every module that is told of a database."""

from __future__ import annotations

from typing import Any

from ansible.module_utils.database.connection import PREFER, SSL_MODES

_TEXT = {"type": "str", "required": True}
CONNECTION: dict[str, Any] = {
    "type": "dict",
    # As a whole: the system log gets a dictionary as its repr, where a quote in a password is escaped and the
    # masker does not know it again.
    "no_log": True,
    "options": {
        "host": _TEXT,
        "port": {"type": "int", "default": 5432},
        "user": _TEXT,
        "password": {**_TEXT, "no_log": True},
        "database": _TEXT,
        "sslmode": {"type": "str", "choices": list(SSL_MODES), "default": PREFER},
        "sslrootcert": {"type": "path"},
    },
}
