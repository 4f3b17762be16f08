"""The arguments of schedule_units. Written by `make reference` out of its documentation; edit that."""

from __future__ import annotations

from typing import Any

# fmt: off
ARGUMENTS: dict[str, Any] = (
    {'command': {'type': 'list', 'elements': 'str', 'default': []},
     'days': {'type': 'int', 'default': 400},
     'delay': {'type': 'int', 'default': 300},
     'exchanges': {'type': 'list', 'elements': 'str', 'default': []},
     'inventory': {'type': 'list', 'elements': 'str', 'default': []},
     'jobs': {'type': 'dict', 'default': {}},
     'mail': {'type': 'list', 'elements': 'str', 'default': []},
     'metrics_path': {'type': 'str', 'default': ''},
     'name': {'type': 'str', 'default': 'market-data'},
     'project': {'type': 'path', 'required': True},
     'retries': {'type': 'list', 'elements': 'int', 'default': [60, 300, 600]},
     'secrets': {'type': 'dict', 'default': {}, 'no_log': True},
     'sendmail': {'type': 'path', 'default': '/usr/sbin/sendmail'},
     'state': {'type': 'str', 'choices': ['present', 'absent'], 'default': 'present'},
     'sudo': {'type': 'bool', 'default': False},
     'title': {'type': 'str', 'default': 'market data'},
     'user': {'type': 'str', 'default': ''},
     'writable': {'type': 'list', 'elements': 'path', 'default': []}}
)
