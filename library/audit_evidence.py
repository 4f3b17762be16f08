#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Write the evidence of an audit on the controller."""

from __future__ import annotations

DOCUMENTATION = r"""
module: audit_evidence
short_description: Write the evidence of an audit
description:
  - Writes the results of all hosts as C(audit.json), C(junit.xml) and C(index.html), a self-contained page. It runs
    on the controller, in Ansible's Python.
options:
  folder:
    description: Folder for the files; created if it is missing.
    type: path
    required: true
  templates:
    description: Folder of the page's templates and style sheet.
    type: path
    required: true
  hosts:
    description:
      - Result of the module M(project_audit) by host. If the module failed or could not run, pass Ansible's result,
        and the evidence reports the host as failed or unreachable.
    type: dict
    required: true
  history:
    description: Folders to search for the history of a schedule on this machine. The page shows the first one found.
    type: list
    elements: path
    default: []
requirements:
  - jinja2
attributes:
  check_mode:
    description: Returns the verdicts without writing files.
    support: full
  diff_mode:
    description: There is nothing to compare.
    support: none
  idempotent:
    description: The files contain the time at which they were written.
    support: none
author: [The maintainers (@ansible-reset)]
"""

EXAMPLES = r"""
- name: Write the evidence for all hosts
  audit_evidence:
    folder: reports/audit/20261123T041500Z
    templates: "{{ role_path }}/templates"
    hosts:
      hub: "{{ hostvars.hub.audit }}"
  delegate_to: localhost
  run_once: true
"""

RETURN = r"""
verdicts:
  description: V(pass), V(warn), V(fail), V(unreachable) or V(failed) for each host.
  type: dict
  returned: success
  sample: {hub: pass}
problems:
  description: What failed on each host; empty if nothing did.
  type: dict
  returned: success
  sample: {hub: ""}
files:
  description: Paths of the files written; empty in check mode.
  type: list
  elements: str
  returned: success
report:
  description: The report as text.
  type: str
  returned: success
"""

from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from ansible.module_utils import reporting
from ansible.module_utils.arguments.audit_evidence import ARGUMENTS
from ansible.module_utils.audit import evidence, model
from ansible.module_utils.basic import AnsibleModule


def work(options: dict[str, Any], check_mode: bool) -> dict[str, Any]:
    """Create the document, and write it unless in check mode."""
    folder = Path(options["folder"])
    now = datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    found = evidence.document(options["hosts"], now, evidence.history(options["history"]))
    try:
        files = [] if check_mode else evidence.write(folder, Path(options["templates"]), found)
    except OSError as error:
        raise reporting.Problem(
            f"The evidence cannot be written to {folder} ({error.strerror}). Set audit_evidence_dir"
            " to a writable folder."
        ) from error
    where = str(folder / "index.html") if files else "not written in check mode"
    good = (model.PASS, model.WARN)
    lines = [
        f"   {model.MARKS[host['verdict']]} {host['name']}: {host['verdict']}" for host in found["hosts"]
    ]
    return {
        "changed": bool(files),
        "verdicts": {host["name"]: host["verdict"] for host in found["hosts"]},
        "problems": {
            host["name"]: "" if host["verdict"] in good else evidence.problems(host, where)
            for host in found["hosts"]
        },
        "files": files,
        "report": "\n".join(["📋 Audit of all hosts", *lines, f"   Evidence: {where}"]),
    }


def main() -> None:
    """Glue."""
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    reporting.run(module, lambda: work(module.params, module.check_mode))


if __name__ == "__main__":
    main()
