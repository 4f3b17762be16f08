"""The arguments of postgres_layout. Written by `make reference` out of its documentation; edit that."""

from __future__ import annotations

from typing import Any

# fmt: off
ARGUMENTS: dict[str, Any] = (
    {'compress_after': {'type': 'int', 'default': 30},
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
     'layout': {'type': 'str', 'choices': ['plain', 'partitioned', 'timescaledb', 'citus'], 'required': True},
     'timeout': {'type': 'float', 'default': 3}}
)
