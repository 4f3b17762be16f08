#!/usr/bin/python
"""Close the run of a reset."""

from __future__ import annotations

DOCUMENTATION = r"""
module: project_finish
short_description: Close the run of a reset
description:
  - Marks what a reset moved out of O(root) as complete, deletes the runs that retention gives up, and lets the next
    reset begin. A reset that was killed before this is continued by the next one, as one run with one undo.
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
  keep:
    description: How many runs are kept at the most; V(0) deletes at once what a reset moved.
    type: int
    default: 5
  keep_days:
    description: Runs older than this many days are deleted too, but never the last one; V(0) is no limit.
    type: int
    default: 90
attributes:
  check_mode:
    description: Does nothing; there is nothing to foresee.
    support: full
  diff_mode:
    description: There is nothing to compare.
    support: none
author: [The project's maintainers]
"""

EXAMPLES = r"""
- name: Close the run
  project_finish:
    root: /opt/mt5-crs
    protected: [src, scripts, docs, .git]
    holder: "{{ lookup('reset_holder') }}"
"""

RETURN = r"""
closed:
  description: Runs that were closed.
  type: list
  elements: str
  returned: success
  sample: [20261123T041500Z]
expired:
  description: Runs that were deleted; only this counts as a change.
  type: list
  elements: str
  returned: success
  sample: []
"""

from ansible.module_utils import reporting
from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.project import finish
from ansible.module_utils.project.session import OPTIONS


def main() -> None:
    """Glue."""
    module = AnsibleModule(
        argument_spec={
            **OPTIONS,
            "keep": {"type": "int", "default": 5},
            "keep_days": {"type": "int", "default": 90},
        },
        supports_check_mode=True,
    )
    reporting.run(module, lambda: finish.work(module.params, module.check_mode))


if __name__ == "__main__":
    main()
