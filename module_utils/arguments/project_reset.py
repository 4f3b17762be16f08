"""The arguments of project_reset. Written by `make reference` out of its documentation; edit that."""

from __future__ import annotations

from typing import Any

# fmt: off
ARGUMENTS: dict[str, Any] = (
    {'allow_in_use': {'type': 'bool', 'default': False},
     'api_keys': {'type': 'dict', 'no_log': True},
     'artifacts': {'type': 'list', 'elements': 'str', 'default': []},
     'connection': {'type': 'dict',
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
     'index_urls': {'type': 'list', 'elements': 'str', 'no_log': True},
     'keep': {'type': 'int', 'default': 5},
     'keep_days': {'type': 'int', 'default': 90},
     'kit': {'type': 'path'},
     'packages': {'type': 'list', 'elements': 'str'},
     'protected': {'type': 'list', 'elements': 'str', 'required': True},
     'python': {'type': 'str', 'default': 'python3'},
     'python_minimum': {'type': 'str', 'default': '3.9'},
     'rebuild': {'type': 'bool', 'default': False},
     'root': {'type': 'str', 'required': True},
     'run': {'type': 'str', 'default': ''},
     'space_mb': {'type': 'int', 'default': 1024},
     'stages': {'type': 'list',
                'elements': 'str',
                'choices': ['preflight', 'clean', 'venv', 'dotenv', 'close', 'restore'],
                'required': True},
     'wheels': {'type': 'str', 'choices': ['never', 'auto', 'always'], 'default': 'never'}}
)
