#!/usr/bin/python
"""Prove what a reset leaves behind, and close its run."""

from __future__ import annotations

DOCUMENTATION = r"""
module: project_verify
short_description: Prove what a reset leaves behind, and close its run
description:
  - Checks the promises about the files of O(root), and fails with every one that is not kept.
  - Then marks what the reset moved as complete, deletes the runs that retention gives up, and lets the next reset
    begin. A reset that was killed before this is continued by the next one, as one run with one undo.
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
    description: Names that must be gone from O(root), V(venv) aside. Empty, they are not looked at.
    type: list
    elements: str
    default: []
  packages:
    description: What the environment must have been built for. Left out, it is not looked at.
    type: list
    elements: str
  keys:
    description: Names that C(.env) must hold, each once. Empty, the file is not looked at.
    type: list
    elements: str
    default: []
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
    description: Proves, and closes nothing.
    support: full
  diff_mode:
    description: There is nothing to compare.
    support: none
author: [The project's maintainers]
"""

EXAMPLES = r"""
- name: Prove the result and close the run
  project_verify:
    root: /opt/mt5-crs
    protected: [src, scripts, docs, .git]
    holder: "{{ lookup('reset_holder') }}"
    artifacts: [bin, lib, lib64, include, pyvenv.cfg, venv]
    packages: [pandas, redis]
    keys: [DB_URL, EODHD_API_TOKEN]
"""

RETURN = r"""
checks:
  description: Every promise that was looked at.
  type: list
  elements: dict
  returned: always
  contains:
    name: {description: What it is about., type: str}
    expected: {description: What was promised., type: str}
    found: {description: What was found., type: str}
    ok: {description: Whether they agree., type: bool}
report:
  description: What was moved and how to undo it, for people; empty where nothing was.
  type: str
  returned: success
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
from ansible.module_utils.project import verify
from ansible.module_utils.project.session import OPTIONS


def main() -> None:
    """Glue."""
    module = AnsibleModule(
        argument_spec={
            **OPTIONS,
            "artifacts": {"type": "list", "elements": "str", "default": []},
            "packages": {"type": "list", "elements": "str"},
            "keys": {"type": "list", "elements": "str", "default": [], "no_log": False},
            "keep": {"type": "int", "default": 5},
            "keep_days": {"type": "int", "default": 90},
        },
        supports_check_mode=True,
    )
    reporting.run(module, lambda: verify.work(module.params, module.check_mode))


if __name__ == "__main__":
    main()
