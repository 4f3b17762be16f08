"""The arguments of eodhd_backfill. Written by `make reference` out of its documentation; edit that."""

from __future__ import annotations

from typing import Any

# fmt: off
ARGUMENTS: dict[str, Any] = (
    {'accept': {'type': 'list',
                'elements': 'str',
                'choices': ['empty', 'set_aside', 'truncated', 'unknown', 'forbidden'],
                'default': []},
     'api_token': {'type': 'str', 'required': True, 'no_log': True},
     'base_url': {'type': 'str', 'default': 'https://eodhd.com/api'},
     'concurrency': {'type': 'int', 'default': 32},
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
     'days': {'type': 'int', 'default': 30},
     'delisted': {'type': 'bool', 'default': False},
     'exchanges': {'type': 'list', 'elements': 'str', 'default': ['US']},
     'first': {'type': 'str'},
     'force': {'type': 'bool', 'default': False},
     'fresh_hours': {'type': 'float', 'default': 12},
     'interpreter': {'type': 'path'},
     'last': {'type': 'str'},
     'mode': {'type': 'str',
              'choices': ['history', 'daily', 'register', 'actions', 'verify', 'snapshot'],
              'default': 'history'},
     'overlap_days': {'type': 'int', 'default': 10},
     'partial': {'type': 'bool', 'default': False},
     'progress_path': {'type': 'path'},
     'sample': {'type': 'int', 'default': 10},
     'settle_calls': {'type': 'int', 'default': 2000},
     'shard': {'type': 'int', 'default': 0},
     'shards': {'type': 'int', 'default': 1},
     'snapshot': {'type': 'str'},
     'spool': {'type': 'path'},
     'symbols': {'type': 'list', 'elements': 'str', 'default': []},
     'top': {'type': 'int'}}
)
