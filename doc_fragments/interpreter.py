"""What the modules that work in the database say of the Python that they continue in."""

from __future__ import annotations


class ModuleDocFragment:
    """See the modules that extend their documentation with it."""

    DOCUMENTATION = r"""
options:
  timeout:
    description: Seconds for a connection, all addresses of the host together.
    type: float
    default: 3
  interpreter:
    description:
      - A Python that has psycopg2, usually C(bin/python) of the project's venv. The module continues in it.
      - If it is missing, the Python that Ansible uses has to have psycopg2.
    type: path
requirements:
  - psycopg2
"""
