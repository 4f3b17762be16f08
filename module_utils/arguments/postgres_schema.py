"""The arguments of postgres_schema. Written by `make reference` out of its documentation; edit that."""

from __future__ import annotations

from typing import Any

# fmt: off
ARGUMENTS: dict[str, Any] = (
    {'admin_password': {'type': 'str', 'no_log': True},
     'admin_user': {'type': 'str'},
     'citus_workers': {'type': 'list', 'elements': 'str', 'default': []},
     'compress_after': {'type': 'int', 'default': 30},
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
     'interpreter': {'type': 'path'},
     'layout': {'type': 'str',
                'choices': ['plain', 'partitioned', 'timescaledb', 'citus'],
                'default': 'plain'},
     'timeout': {'type': 'float', 'default': 3},
     'widen': {'type': 'bool', 'default': False}}
)
