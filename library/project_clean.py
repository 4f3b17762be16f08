#!/usr/bin/python
"""Move the artifacts of a project root into quarantine."""

from __future__ import annotations

DOCUMENTATION = r"""
module: project_clean
short_description: Move the artifacts of a project root into quarantine
description:
  - Moves what stands under the exact names O(artifacts) in O(root) into the private folder C(.reset) of the root,
    by one rename each. Nothing is deleted or followed, links are moved as links, dangling ones too.
  - C(venv) is left to M(project_venv), which exchanges it for a proven one.
  - M(project_restore) brings everything back.
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
  artifacts:
    description: Exact names in O(root).
    type: list
    elements: str
    required: true
  allow_in_use:
    description: Whether to move what processes run out of.
    type: bool
    default: false
attributes:
  check_mode:
    description: The plan without its application.
    support: full
  diff_mode:
    description: Shows what would be moved, with kind, files and bytes.
    support: full
author: [The project's maintainers]
"""

EXAMPLES = r"""
- name: Move the legacy artifacts away
  project_clean:
    root: /opt/mt5-crs
    protected: [src, scripts, docs, .git]
    artifacts: [bin, lib, lib64, include, pyvenv.cfg, venv]
    holder: "{{ lookup('reset_holder') }}"
"""

RETURN = r"""
moved:
  description: What was moved, or in check mode would be.
  type: list
  elements: dict
  returned: success
  contains:
    name: {description: Name in the root., type: str}
    kind: {description: "V(file), V(directory), V(link) or V(other).", type: str}
    files: {description: Regular files in it., type: int}
    bytes: {description: Their sizes summed., type: int}
    target: {description: Where a link points., type: str}
  sample: [{name: lib64, kind: link, files: 0, bytes: 0, target: lib}]
run:
  description: The run that keeps them, null where nothing was moved.
  type: str
  returned: success
  sample: 20261123T041500Z
"""

from ansible.module_utils import reporting
from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.project import clean
from ansible.module_utils.project.session import OPTIONS


def main() -> None:
    """Glue."""
    module = AnsibleModule(
        argument_spec={
            **OPTIONS,
            "artifacts": {"type": "list", "elements": "str", "required": True},
            "allow_in_use": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    reporting.run(module, lambda: clean.work(module.params, module.check_mode))


if __name__ == "__main__":
    main()
