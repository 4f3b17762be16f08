"""The option ``connection``, shared by all modules that use a database."""

from __future__ import annotations


class ModuleDocFragment:
    """Documentation that modules extend."""

    DOCUMENTATION = r"""
options:
  connection:
    description: The database.
    type: dict
    required: true
    suboptions:
      host:
        description: Name or address of the server, or the folder of its Unix socket.
        type: str
        required: true
      port:
        description: Port of the server.
        type: int
        default: 5432
      user:
        description: Name of the role.
        type: str
        required: true
      password:
        description: Password of the role, one line.
        type: str
        required: true
      database:
        description: Name of the database.
        type: str
        required: true
      sslmode:
        description: TLS of the connection, as libpq's C(sslmode) understands it.
        type: str
        choices: [disable, allow, prefer, require, verify-ca, verify-full]
        default: prefer
      sslrootcert:
        description:
          - File on the target with the certificates that V(verify-ca) and V(verify-full) trust.
          - Without it, libpq looks at C(~/.postgresql/root.crt).
        type: path
"""


# For a module that can also run without a database.
ModuleDocFragment.OPTIONAL = ModuleDocFragment.DOCUMENTATION.replace(
    "required: true\n    suboptions", "suboptions"
)
