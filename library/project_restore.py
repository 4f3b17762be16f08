#!/usr/bin/python
"""Bring back what a reset moved out of a project root."""

from __future__ import annotations

DOCUMENTATION = r"""
module: project_restore
short_description: Bring back what a reset moved out of a project root
description:
  - Puts the artifacts, the environment and C(.env) of O(root) back as they were before a reset, and what the reset had
    made where nothing was out of the way. Each name changes in one atomic step.
  - What stood there until now is kept in its turn, under a run of its own; restoring that run undoes the restore.
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
  run:
    description: The run to undo. The empty text is the last reset that still has something to bring back.
    type: str
    default: ""
  allow_in_use:
    description: Whether to replace what processes run out of.
    type: bool
    default: false
attributes:
  check_mode:
    description: The plan without its application.
    support: full
  diff_mode:
    description: Shows what would leave and what would come back.
    support: full
author: [The project's maintainers]
"""

EXAMPLES = r"""
- name: Undo the last reset
  project_restore:
    root: /opt/mt5-crs
    protected: [src, scripts, docs, .git]
    holder: "{{ lookup('reset_holder') }}"

- name: Undo that restore
  project_restore:
    root: /opt/mt5-crs
    protected: [src, scripts, docs, .git]
    holder: "{{ lookup('reset_holder') }}"
    run: 20261123T050000Z
"""

RETURN = r"""
restored:
  description: The run that was undone, null where there is none to undo.
  type: str
  returned: success
  sample: 20261123T041500Z
back:
  description: What came back, or in check mode would.
  type: list
  elements: dict
  returned: success
  contains:
    name: {description: Name in the root., type: str}
    kind: {description: "V(file), V(directory), V(link) or V(other).", type: str}
    files: {description: Regular files in it., type: int}
    bytes: {description: Their sizes summed., type: int}
    target: {description: Where a link points., type: str}
removed:
  description: Names that did not exist before that run, and do not any more.
  type: list
  elements: str
  returned: success
report:
  description: What came back and how to undo it, for people.
  type: str
  returned: success
undo:
  description: The run that keeps what stood there until now, null where nothing was done.
  type: str
  returned: success
  sample: 20261123T050000Z
"""

from ansible.module_utils import reporting
from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.project import restore
from ansible.module_utils.project.session import OPTIONS


def main() -> None:
    """Glue."""
    module = AnsibleModule(
        argument_spec={
            **OPTIONS,
            "run": {"type": "str", "default": ""},
            "allow_in_use": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    reporting.run(module, lambda: restore.work(module.params, module.check_mode))


if __name__ == "__main__":
    main()
