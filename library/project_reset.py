#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Run stages of a reset of a project root."""

from __future__ import annotations

DOCUMENTATION = r"""
module: project_reset
short_description: Run stages of a reset of a project root
description:
  - Plans all stages of a call first, so that every guard has passed before the first change. Then applies them in order
    and checks the result. Check mode shows the plan.
  - Holds a lock on O(root) while it runs. A second run stops at once. A killed run does not block the next one.
  - What it moves is kept in the private folder C(.reset) of the root, and O(stages=restore) brings it back.
extends_documentation_fragment: [shared.optional_connection, shared.project]
options:
  stages:
    description:
      - The stages to run, in this order. A stage that fails ends the call. The changes of the stages before it stay;
        the result and the report list them, and the next reset continues from there.
      - V(preflight) checks the guards of V(clean) and V(venv), and changes nothing.
      - V(clean) moves each of O(artifacts) into quarantine with one rename. Links are moved as links, even if they
        dangle. C(venv) is left to the stage V(venv). A note says how many of the files git tracks.
      - V(venv) builds C(venv) if it is missing, broken, has another Python, or does not hold exactly what is asked.
        uv builds it next to the old one; pip does so if the host cannot get uv, or if uv cannot fetch what pip can. Its
        own interpreter imports every package. Only then are both exchanged, in one atomic step. Everything runs as the
        owner of O(root), and trusts the certificate authorities of the system.
      - V(dotenv) sets the managed keys in C(.env), each where it occurs first, or under its heading. All other lines
        stay byte for byte. python-dotenv reads every value without a line break back unchanged, and so does libpq with
        C(DB_URL). A shell that sources the file reads the same values, except those that hold C(${), end in a
        backslash, or hold a single quote or a backslash together with C($) or a backtick. A link is refused.
      - V(close) closes the run and deletes expired runs. All calls up to V(close) are recorded under the same run, even
        one that was killed, so that one restore undoes them all.
      - V(restore) must be the only stage. It brings artifacts, environment and C(.env) back as they were before a run,
        each in one atomic step. It is a run itself, so restoring that run undoes the restore.
    type: list
    elements: str
    required: true
    choices: [preflight, clean, venv, dotenv, close, restore]
  artifacts:
    description: Exact names in O(root), for V(preflight) and V(clean).
    type: list
    elements: str
    default: []
  python:
    description: Interpreter to build with, by name or path, for V(preflight) and V(venv).
    type: str
    default: python3
  packages:
    description: Requirements for V(preflight) and V(venv). Each begins with a package's name.
    type: list
    elements: str
  index_urls:
    description:
      - Package indexes for V(venv), tried in order. An empty text is the index that the host is configured with.
      - An index that does not answer, stalls, serves something else or lacks a package is skipped with a warning.
      - An absolute path is a folder of wheels on the host. By default, only the host's own index is used.
    type: list
    elements: str
  wheels:
    description:
      - Whether the control node fetches the packages and sends them to the host, for V(venv).
      - With V(never), the host fetches them. V(auto) sends them if no index serves the host, V(always) sends them
        without a try on the host.
      - The action plugin of this module does this. If the host is the control node itself, it fetches them itself.
    type: str
    choices: [never, auto, always]
    default: never
  kit:
    description: The archive of wheels on the host. The action plugin sets it.
    type: path
  rebuild:
    description: Build the environment even if nothing is wrong, for V(preflight) and V(venv).
    type: bool
    default: false
  space_mb:
    description: Free space that a build needs, in MiB, for V(preflight) and V(venv).
    type: int
    default: 1024
  allow_in_use:
    description: Move and replace things even if processes use them. Each use becomes a warning.
    type: bool
    default: false
  keep:
    description: How many runs V(close) keeps at most. 0 deletes at once what a reset moved.
    type: int
    default: 5
  keep_days:
    description: V(close) also deletes a run this many days after the next one, so never the last one. 0 is no limit.
    type: int
    default: 90
  run:
    description: The run that V(restore) undoes. By default, the last reset that still has something to bring back.
    type: str
    default: ""
attributes:
  check_mode:
    description: Returns the plan and changes nothing.
    support: full
  diff_mode:
    description: Shows the plan, with kinds and sizes of files, and the names of keys. Values are masked.
    support: full
  idempotent:
    description: If the root is as asked, no byte of it changes.
    support: full
author: [The maintainers (@ansible-reset)]
"""

EXAMPLES = r"""
- name: Move the artifacts and build the environment
  project_reset:
    stages: [clean, venv, close]
    root: /opt/mt5-crs
    protected: [src, scripts, docs, .git]
    artifacts: [bin, lib, lib64, include, pyvenv.cfg, venv]
    packages: [pandas, "sqlalchemy>=2", psycopg2-binary]
    index_urls: ["https://mirror.example.com/simple", ""]

- name: Undo the last reset
  project_reset:
    stages: [restore]
    root: /opt/mt5-crs
    protected: [src, scripts, docs, .git]
"""

RETURN = r"""
run:
  description: The run that keeps what was moved or replaced. Null if nothing was.
  type: str
  returned: all stages but restore
  sample: 20261123T041500Z
kept:
  description: How much that run keeps.
  type: dict
  returned: all stages but restore
  sample: {files: 9, bytes: 642, text: "9 files, 642 B"}
stage:
  description: The stage that failed.
  type: str
  returned: failure of a stage
  sample: venv
moved:
  description:
    - What was moved, or would be moved in check mode. Also set if a later stage failed.
    - Each item has C(name), C(kind), the number of regular C(files), their C(bytes), and the C(target) of a link.
  type: list
  elements: dict
  returned: clean
  sample: [{name: lib64, kind: link, files: 0, bytes: 0, target: lib, tracked: 0}]
interpreter:
  description: Path of the environment's interpreter.
  type: str
  returned: venv
  sample: /opt/mt5-crs/venv/bin/python
platform:
  description: The platform that wheels for this host must fit. Null if no environment has to be built.
  type: dict
  returned: preflight and venv
  sample: {python: 3.11.2, implementation: cpython, machine: x86_64, libc: glibc 2.36}
managed:
  description: Names of the managed keys that were added, changed or unchanged. The result never holds values.
  type: dict
  returned: dotenv
  sample: {added: [EODHD_API_TOKEN], changed: [DB_URL], unchanged: [DEBUG]}
notes:
  description:
    - Warnings, for example that git tracks what leaves the root, or that python-dotenv ignores a line of C(.env).
  type: list
  elements: str
  returned: preflight, clean and dotenv
proofs:
  description: Every promise that was checked, with what was C(expected) and C(found).
  type: list
  elements: dict
  returned: changed
  sample: [{name: artifact lib64, expected: gone, found: gone, ok: true}]
back:
  description: What was brought back, or would be in check mode. The fields are those of RV(moved).
  type: list
  elements: dict
  returned: restore
undo:
  description: The run that undoes this restore. Null if nothing was done.
  type: str
  returned: restore
report:
  description: What was built, moved or brought back, and how to undo it, as text. Empty if nothing was done.
  type: str
  returned: always
"""

from ansible.module_utils import reporting
from ansible.module_utils.arguments.project_reset import ARGUMENTS
from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.project import stages


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    reporting.run(module, lambda: stages.take(module.params, module.check_mode, module.warn))


if __name__ == "__main__":
    main()
