"""The arguments of health_check. Written by `make reference` out of its documentation; edit that."""

from __future__ import annotations

from typing import Any

# fmt: off
ARGUMENTS: dict[str, Any] = (
    {'base_url': {'type': 'str', 'default': 'https://eodhd.com/api'},
     'count': {'type': 'str', 'choices': ['exact', 'estimate', 'auto'], 'default': 'auto'},
     'interpreter': {'type': 'path'},
     'limits': {'type': 'dict',
                'default': {},
                'options': {'coverage_fail': {'type': 'int', 'default': 0},
                            'coverage_warn': {'type': 'int', 'default': 1},
                            'disk_fail': {'type': 'int', 'default': 256},
                            'disk_warn': {'type': 'int', 'default': 2048},
                            'gap_days': {'type': 'int', 'default': 3650},
                            'gap_fail': {'type': 'int', 'default': 0},
                            'gap_warn': {'type': 'int', 'default': 1},
                            'latency_warn': {'type': 'float', 'default': 250},
                            'publish_hours': {'type': 'float', 'default': 6},
                            'quota_warn': {'type': 'int', 'default': 10},
                            'set_aside_fail': {'type': 'int', 'default': 0},
                            'set_aside_warn': {'type': 'int', 'default': 1},
                            'stale_fail': {'type': 'int', 'default': 10},
                            'stale_share': {'type': 'float', 'default': 0.1},
                            'stale_warn': {'type': 'int', 'default': 3}}},
     'metrics_path': {'type': 'path'},
     'query_timeout': {'type': 'float', 'default': 10},
     'redis': {'type': 'bool', 'default': True},
     'root': {'type': 'path', 'required': True},
     'server': {'type': 'dict',
                'options': {'host': {'type': 'str', 'required': True},
                            'port': {'type': 'int', 'required': True}}},
     'tables': {'type': 'list', 'elements': 'raw', 'default': ['market_data', 'assets']},
     'timeout': {'type': 'float', 'default': 3},
     'token': {'type': 'bool', 'default': True, 'no_log': False},
     'token_known': {'type': 'dict', 'no_log': False}}
)
