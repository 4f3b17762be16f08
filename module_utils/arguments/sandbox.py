"""The arguments of sandbox. Written by `make reference` out of its documentation; edit that."""

from __future__ import annotations

from typing import Any

# fmt: off
ARGUMENTS: dict[str, Any] = (
    {'folder': {'type': 'path', 'required': True},
     'host': {'type': 'str', 'default': 'localhost'},
     'password': {'type': 'str', 'no_log': True},
     'pollute_again': {'type': 'bool', 'default': False},
     'port': {'type': 'int'},
     'root': {'type': 'path', 'required': True},
     'state': {'type': 'str', 'choices': ['present', 'absent'], 'default': 'present'},
     'user': {'type': 'str', 'default': 'postgres'}}
)
