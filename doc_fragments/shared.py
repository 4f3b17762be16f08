"""Documentation that several modules share."""

from __future__ import annotations


class ModuleDocFragment:
    """Options and attributes, extended as C(shared.NAME)."""

    CONNECTION = r"""
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
    # For the modules that work in the database.
    INTERPRETER = r"""
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
    # For the modules that reset and audit a project root with its ``.env``.
    PROJECT = r"""
options:
  root:
    description: Absolute path of the project root. A link, a home directory or a system directory is refused.
    type: str
    required: true
  protected:
    description: Paths inside O(root) that must exist and are never touched.
    type: list
    elements: str
    required: true
  python_minimum:
    description: The oldest Python version allowed for the environment.
    type: str
    default: "3.9"
  api_keys:
    description: API keys, by their names in C(.env).
    type: dict
  flags:
    description: Flags, by their names in C(.env). Booleans become V(true) and V(false).
    type: dict
    default: {}
  extra:
    description: Further keys of C(.env), by name. They follow the flags.
    type: dict
"""
    # For the modules that only read.
    READING = r"""
attributes:
  check_mode:
    description: It never changes anything, and does the same in check mode.
    support: full
  diff_mode:
    description: There is nothing to compare.
    support: none
  idempotent:
    description: It never changes anything.
    support: full
"""


# For a module that can also run without a database. Inside the class, yamllint of ansible-test would fail on it.
ModuleDocFragment.OPTIONAL_CONNECTION = ModuleDocFragment.CONNECTION.replace(
    "required: true\n    suboptions", "suboptions"
)
