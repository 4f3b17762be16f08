"""The arguments of audit_evidence. Written by `make reference` out of its documentation; edit that."""

from __future__ import annotations

from typing import Any

# fmt: off
ARGUMENTS: dict[str, Any] = (
    {'folder': {'type': 'path', 'required': True},
     'history': {'type': 'list', 'elements': 'path', 'default': []},
     'hosts': {'type': 'dict', 'required': True},
     'templates': {'type': 'path', 'required': True}}
)
