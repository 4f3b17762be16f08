#!/usr/bin/python
"""Bring the virtual environment of a project root to what is asked."""

from __future__ import annotations

DOCUMENTATION = r"""
module: project_venv
short_description: Bring the virtual environment of a project root to what is asked
description:
  - Builds C(venv) in O(root) where it is missing, broken, of another Python, or does not hold exactly what is
    asked. The new one is built beside the old one, every package is imported by its own interpreter, and only then
    do the two change places, in one atomic step. Where the build fails the old one stays as it was.
  - Builds with uv where the host has it or can get it from the index, with C(venv) and pip otherwise, as the owner
    of O(root).
  - The replaced environment is kept; M(project_restore) brings it back.
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
  python:
    description: Interpreter to build with, by name or path.
    type: str
    default: python3
  python_minimum:
    description: Its least version.
    type: str
    default: "3.9"
  packages:
    description: Requirements, each beginning with a package's name.
    type: list
    elements: str
    required: true
  index_urls:
    description:
      - Package indexes, tried in order. The empty text is the index that the host itself is configured with.
      - One that does not answer, stalls, serves something else or lacks a package is passed over with a warning.
    type: list
    elements: str
    default: [""]
  rebuild:
    description: Build even where nothing is wrong.
    type: bool
    default: false
  space_mb:
    description: Free space that a build needs, in MiB.
    type: int
    default: 1024
  allow_in_use:
    description: Whether to replace an environment that processes run out of.
    type: bool
    default: false
attributes:
  check_mode:
    description: Says why it would build, and what.
    support: full
  diff_mode:
    description: Shows the reasons and what would be built.
    support: full
author: [The project's maintainers]
"""

EXAMPLES = r"""
- name: Build the environment
  project_venv:
    root: /opt/mt5-crs
    protected: [src, scripts, docs, .git]
    packages: [pandas, "sqlalchemy>=2", psycopg2-binary]
    index_urls: ["https://mirror.example.com/simple", ""]
    holder: "{{ lookup('reset_holder') }}"
"""

RETURN = r"""
reasons:
  description: Why it was built, or in check mode would be; empty where it is as asked.
  type: list
  elements: str
  returned: success
  sample: [it was not built by this project]
python:
  description: Version that the interpreter of the environment answers.
  type: str
  returned: success
  sample: 3.11.2
interpreter:
  description: Path of the environment's interpreter.
  type: str
  returned: success
  sample: /opt/mt5-crs/venv/bin/python
tool:
  description: What built it, V(uv) or V(pip).
  type: str
  returned: when built
index:
  description: The index that served it, without credentials.
  type: str
  returned: when built
packages:
  description: Version of every installed distribution by name.
  type: dict
  returned: when built
  sample: {pandas: 3.1.1}
run:
  description: The run that keeps the replaced environment, null where nothing was built.
  type: str
  returned: success
  sample: 20261123T041500Z
"""

from ansible.module_utils import reporting
from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.project import environment
from ansible.module_utils.project.session import OPTIONS


def main() -> None:
    """Glue."""
    module = AnsibleModule(
        argument_spec={
            **OPTIONS,
            "python": {"type": "str", "default": "python3"},
            "python_minimum": {"type": "str", "default": "3.9"},
            "packages": {"type": "list", "elements": "str", "required": True},
            "index_urls": {"type": "list", "elements": "str", "default": [""], "no_log": True},
            "rebuild": {"type": "bool", "default": False},
            "space_mb": {"type": "int", "default": 1024},
            "allow_in_use": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    reporting.run(module, lambda: environment.work(module.params, module.check_mode, module.warn))


if __name__ == "__main__":
    main()
