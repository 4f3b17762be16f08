#!/usr/bin/python
"""Judge a project root before a reset."""

from __future__ import annotations

DOCUMENTATION = r"""
module: project_preflight
short_description: Judge a project root before a reset
description:
  - Checks, before anything is changed, that O(root) is the right place and that a reset of it can be carried
    through. Each guard has a message of its own, which names the variable or file to mend.
  - Reads only. The modules that change something pass the same guards again.
options:
  root:
    description: Absolute path of the project root; not a link, not a home or system directory.
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
  artifacts:
    description: Exact names in O(root) that a reset moves away.
    type: list
    elements: str
    required: true
  python:
    description: Interpreter of the venv to build.
    type: str
    default: python3
  python_minimum:
    description: Its least version.
    type: str
    default: "3.9"
  packages:
    description: Requirements that the venv must hold.
    type: list
    elements: str
    default: []
  rebuild:
    description: Whether the venv will be built whatever it holds.
    type: bool
    default: false
  space_mb:
    description: Free space that a build needs, in MiB.
    type: int
    default: 1024
  allow_in_use:
    description: Whether to go on where processes run out of what will be moved; they are then warned of.
    type: bool
    default: false
attributes:
  check_mode:
    description: Changes nothing in any mode.
    support: full
  diff_mode:
    description: There is nothing to compare.
    support: none
author: [The project's maintainers]
"""

EXAMPLES = r"""
- name: Judge the root
  project_preflight:
    root: /opt/mt5-crs
    protected: [src, scripts, docs, .git]
    artifacts: [bin, lib, lib64, include, pyvenv.cfg, venv]
    holder: "{{ lookup('reset_holder') }}"
"""

RETURN = r"""
python:
  description: Version of the interpreter to build with, as it says itself.
  type: str
  returned: success
  sample: 3.11.2
"""

from ansible.module_utils import reporting
from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.project import preflight
from ansible.module_utils.project.session import OPTIONS


def main() -> None:
    """Glue."""
    names = {"type": "list", "elements": "str"}
    module = AnsibleModule(
        argument_spec={
            **OPTIONS,
            "artifacts": {**names, "required": True},
            "python": {"type": "str", "default": "python3"},
            "python_minimum": {"type": "str", "default": "3.9"},
            "packages": {**names, "default": []},
            "rebuild": {"type": "bool", "default": False},
            "space_mb": {"type": "int", "default": 1024},
            "allow_in_use": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    reporting.run(module, lambda: preflight.work(module.params, module.warn))


if __name__ == "__main__":
    main()
