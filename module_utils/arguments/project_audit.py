"""The arguments of project_audit. Written by `make reference` out of its documentation; edit that."""

from __future__ import annotations

from typing import Any

# fmt: off
ARGUMENTS: dict[str, Any] = (
    {'api_keys': {'type': 'dict', 'no_log': True},
     'artifacts': {'type': 'list', 'elements': 'str', 'required': True},
     'connection': {'type': 'dict',
                    'required': True,
                    'no_log': True,
                    'options': {'database': {'type': 'str', 'required': True},
                                'host': {'type': 'str', 'required': True},
                                'password': {'type': 'str', 'required': True, 'no_log': True},
                                'port': {'type': 'int', 'default': 5432},
                                'sslmode': {'type': 'str',
                                            'choices': ['disable', 'allow', 'prefer', 'require', 'verify-ca',
                                                        'verify-full'],
                                            'default': 'prefer'},
                                'sslrootcert': {'type': 'path'},
                                'user': {'type': 'str', 'required': True}}},
     'extra': {'type': 'dict', 'no_log': True},
     'flags': {'type': 'dict', 'default': {}},
     'health': {'type': 'dict', 'required': True},
     'host': {'type': 'str', 'required': True},
     'months': {'type': 'int', 'default': 24},
     'packages': {'type': 'list', 'elements': 'str', 'required': True},
     'protected': {'type': 'list', 'elements': 'str', 'required': True},
     'publish_hours': {'type': 'float', 'default': 6},
     'python_minimum': {'type': 'str', 'default': '3.9'},
     'query_timeout': {'type': 'float', 'default': 30},
     'root': {'type': 'str', 'required': True},
     'symbols': {'type': 'int', 'default': 40},
     'tables': {'type': 'list', 'elements': 'raw', 'required': True},
     'timeout': {'type': 'float', 'default': 3},
     'waivers': {'type': 'list', 'elements': 'dict', 'default': []}}
)
