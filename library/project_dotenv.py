#!/usr/bin/python
"""Set the project's own keys in its .env."""

from __future__ import annotations

DOCUMENTATION = r"""
module: project_dotenv
short_description: Set the project's own keys in its .env and keep everything else
description:
  - Writes C(DB_URL), the C(POSTGRES_*) keys, the API keys and the flags into C(.env) in the project's root,
    under the comment headings C(Database Configuration), C(API Keys) and C(Environment Flags).
  - A key is replaced where it stands; a missing one is added under its heading. Of a key that stands there
    several times the first stays. All other lines - keys, comments, blank lines, lines that cannot be
    parsed - stay byte for byte and in order.
  - A key that stands under another of these headings moves up to its own. A comment behind a value that is
    set here goes to a line of its own above it.
  - Every value without a line break comes back unchanged through python-dotenv, and C(DB_URL) through libpq.
    A shell that sources the file reads the same values, except those that hold C(${), end in a backslash, or
    hold a single quote or a backslash together with C($) or a backtick.
  - The file is replaced at once by a complete one with mode 0600, and the old one is kept; M(project_restore)
    brings it back. Where root does it, the file belongs to the
    owner of O(root).
  - A C(.env) that is a link is refused, for what it points to may serve others.
options:
  root:
    description: Absolute path of the project root.
    type: str
    required: true
  protected:
    description: Paths inside O(root) that must exist, and that are never touched.
    type: list
    elements: str
    required: true
  holder:
    description: The run that asks, as the lookup P(reset_holder#lookup) gives it.
    type: dict
    required: true
  connection:
    description: The database, for C(DB_URL) and the C(POSTGRES_*) keys.
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
        required: true
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
  api_keys:
    description: Keys of the services, by their names in C(.env).
    type: dict
    default: {}
  flags:
    description: Flags of the environment, by their names in C(.env); booleans become V(true) and V(false).
    type: dict
    default: {}
  extra:
    description: Further keys by name; they follow the flags.
    type: dict
    default: {}
attributes:
  check_mode:
    description: Says which keys would be added or changed, without writing.
    support: full
  diff_mode:
    description: Shows the names of the managed keys before and after; every value is C(***).
    support: full
  idempotent:
    description: A file that holds the keys, with the right mode and owner, is left alone.
    support: full
author: [The project's maintainers]
"""

EXAMPLES = r"""
- name: Write the settings of the project
  project_dotenv:
    root: /opt/mt5-crs
    protected: [src, scripts, docs, .git]
    holder: "{{ lookup('reset_holder') }}"
    connection:
      host: "{{ postgres_host }}"
      port: "{{ postgres_port }}"
      user: "{{ postgres_user }}"
      password: "{{ postgres_password }}"
      database: "{{ postgres_db }}"
    api_keys:
      EODHD_API_TOKEN: "{{ eodhd_api_token }}"
    flags:
      ENVIRONMENT: "{{ environment_name }}"
      DEBUG: "{{ debug }}"
    extra: "{{ project_env }}"
"""

RETURN = r"""
keys:
  description: Names of the managed keys by what happened to them; values are nowhere in the result.
  type: dict
  returned: success
  contains:
    added:
      description: They were missing.
      type: list
      elements: str
    changed:
      description: They stood there with another value, in another form, elsewhere or several times.
      type: list
      elements: str
    unchanged:
      description: They stood there as wanted.
      type: list
      elements: str
  sample: {added: [EODHD_API_TOKEN], changed: [DB_URL], unchanged: [DEBUG]}
run:
  description: The run that keeps the old file, null where nothing was written.
  type: str
  returned: success
  sample: 20261123T041500Z
notes:
  description: What the user should know of the other lines, for example one that python-dotenv ignores.
  type: list
  elements: str
  returned: success
  sample: []
"""

from ansible.module_utils import reporting
from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.project import settings
from ansible.module_utils.project.session import OPTIONS


def main() -> None:
    """Glue."""
    module = AnsibleModule(
        argument_spec={
            **OPTIONS,
            "connection": {
                "type": "dict",
                "required": True,
                "options": {
                    "host": {"type": "str", "required": True},
                    "port": {"type": "int", "required": True},
                    "user": {"type": "str", "required": True},
                    "password": {"type": "str", "required": True, "no_log": True},
                    "database": {"type": "str", "required": True},
                },
            },
            "api_keys": {"type": "dict", "default": {}, "no_log": True},
            "flags": {"type": "dict", "default": {}, "no_log": False},
            "extra": {"type": "dict", "default": {}, "no_log": True},
        },
        supports_check_mode=True,
    )
    reporting.run(module, lambda: settings.work(module.params, module.check_mode, module.warn))


if __name__ == "__main__":
    main()
