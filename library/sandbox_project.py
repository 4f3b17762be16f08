#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Lay out the polluted project of the sandbox."""

from __future__ import annotations

DOCUMENTATION = r"""
module: sandbox_project
short_description: Lay out a copy of the legacy project, polluted as its hosts were
description:
  - Makes a git repository with C(src), C(scripts) and C(docs), and around it the mess that a reset is for -
    C(bin) with the team's own scripts beside those of a venv, C(lib), a C(lib64) link, C(include),
    C(pyvenv.cfg) of a Python 3.6, a C(venv) whose Python is gone, and a C(.env) with foreign keys.
  - It does so once. What a reset has cleaned stays clean, until O(pollute_again).
  - Everything lies in one folder, marked as a sandbox; any other place is refused.
options:
  state:
    description:
      - V(present) lays out the project if it is missing.
      - V(absent) removes O(folder) with everything in it. Stop what runs in it before.
    type: str
    choices: [present, absent]
    default: present
  folder:
    description: Absolute path of the sandbox. It is empty, missing, or was made by this module.
    type: path
    required: true
  root:
    description: Absolute path of the project, below O(folder).
    type: path
    required: true
  pollute_again:
    description:
      - Lay the mess out again in a project that was laid out before.
      - A C(venv) and a C(.env) that stand there by now are replaced; the sources are left alone.
    type: bool
    default: false
requirements:
  - git
attributes:
  check_mode:
    description: Says what would be done without doing it.
    support: full
  diff_mode:
    description: The mess is always the same; there is nothing worth comparing.
    support: none
  idempotent:
    description: A project that was laid out is left alone, unless O(pollute_again) is set.
    support: partial
author: [The maintainers (@ansible-reset)]
"""

EXAMPLES = r"""
- name: Lay out the polluted project
  sandbox_project:
    folder: /opt/sandbox
    root: /opt/sandbox/mt5-crs

- name: Give a cleaned project its mess back
  sandbox_project:
    folder: /opt/sandbox
    root: /opt/sandbox/mt5-crs
    pollute_again: true
"""

RETURN = r"""
step:
  description:
    - What was done, or in check mode what would be done.
    - V(project) is the whole project, V(mess) only the mess around it.
  choices: [nothing, project, mess, remove]
  type: str
  returned: success
  sample: project
root:
  description: The project's root.
  type: str
  returned: success
  sample: /opt/sandbox/mt5-crs
"""

from pathlib import Path

from ansible.module_utils import arguments, reporting
from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.sandbox import project


def main() -> None:
    """Glue."""
    module = AnsibleModule(
        argument_spec=arguments.SANDBOX_PROJECT,
        supports_check_mode=True,
    )
    options = module.params
    reporting.run(
        module,
        lambda: project.ensure(
            Path(options["folder"]),
            Path(options["root"]),
            options["state"],
            pollute_again=options["pollute_again"],
            check=module.check_mode,
        ),
    )


if __name__ == "__main__":
    main()
