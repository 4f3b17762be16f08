#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Take the stages of a reset of a project root."""

from __future__ import annotations

DOCUMENTATION = r"""
module: project_reset
short_description: Take the stages of a reset of a project root
description:
  - Plans all stages of a call first; every guard has passed before the first change. Then applies them in order and
    proves what they promise. Check mode is the plan.
  - Holds a lock on O(root) as long as it works. A second run stops at once; a run that was killed blocks nobody.
  - What leaves its place is kept in the private folder C(.reset) of the root, and O(stages=restore) brings it back.
extends_documentation_fragment: [connection.optional, project]
options:
  stages:
    description:
      - In the order in which they are applied. One that fails ends the call; what those before it did stays, is in
        the result and in the report, and the next reset goes on from there.
      - V(preflight) passes the guards of V(clean) and V(venv), and changes nothing.
      - V(clean) moves O(artifacts) into quarantine, by one rename each; links are moved as links, dangling ones too.
        C(venv) is left to the next stage. A note says how many of the files git tracks.
      - V(venv) builds C(venv) if it is missing, broken, of another Python, or does not hold exactly what is asked.
        It is built beside the old one by uv, or by pip if the host cannot get uv or uv cannot fetch what pip can; its
        own interpreter imports every package, and only then do the two change places, in one atomic step. All runs as
        the owner of O(root), and trusts the certificate authorities of the system.
      - V(dotenv) sets the project's own keys in C(.env), each where it stands first, or under its heading. All other
        lines stay byte for byte. Every value without a line break comes back unchanged through python-dotenv, and
        C(DB_URL) through libpq; a shell that sources the file reads the same values, except those that hold C(${), end
        in a backslash, or hold a single quote or a backslash together with C($) or a backtick. A link is refused.
      - V(close) ends the run and deletes the runs that retention gives up. Calls before it record under the same
        run, also one that was killed, so that one restore undoes them all.
      - V(restore), alone, puts artifacts, environment and C(.env) back as they were before a run, each in one atomic
        step, by a run of its own; restoring that one undoes the restore.
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
    description: Requirements, each beginning with a package's name, for V(preflight) and V(venv).
    type: list
    elements: str
  index_urls:
    description:
      - Package indexes for V(venv), tried in order. The empty text is the index that the host is configured with.
      - One that does not answer, stalls, serves something else or lacks a package is passed over with a warning.
      - An absolute path is a folder of wheels on the host. Left out, the host's own index alone.
    type: list
    elements: str
  wheels:
    description:
      - Whether the control node fetches the packages and sends them, for V(venv).
      - V(never) leaves it to the host. V(auto) sends them if no index serves the host, V(always) without a try.
      - The action plugin of this name does it; a host that is the control node itself fetches for itself.
    type: str
    choices: [never, auto, always]
    default: never
  kit:
    description: The archive of wheels, on the host, that the action plugin has sent.
    type: path
  rebuild:
    description: Build even if nothing is wrong, for V(preflight) and V(venv).
    type: bool
    default: false
  space_mb:
    description: Free space that a build needs, in MiB, for V(preflight) and V(venv).
    type: int
    default: 1024
  allow_in_use:
    description: Move and replace also what processes run out of; they are then warned of.
    type: bool
    default: false
  keep:
    description: How many runs V(close) keeps at the most; 0 deletes at once what a reset moved.
    type: int
    default: 5
  keep_days:
    description: Runs older than this many days are deleted too, but never the last one; 0 is no limit.
    type: int
    default: 90
  run:
    description: The run that V(restore) undoes. Empty, the last reset that still has something to bring back.
    type: str
    default: ""
attributes:
  check_mode:
    description: The plan without its application.
    support: full
  diff_mode:
    description: Shows the plan, with kinds and sizes of files and the names of keys; values are masked.
    support: full
  idempotent:
    description: A root that is as asked is left alone, to the last byte.
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
  description: The run that keeps what was moved or replaced, null if nothing was.
  type: str
  returned: by all stages but restore
  sample: 20261123T041500Z
kept:
  description: How much that run keeps by now.
  type: dict
  returned: by all stages but restore
  sample: {files: 9, bytes: 642, text: "9 files, 642 B"}
stage:
  description: The stage that failed.
  type: str
  returned: when one did
  sample: venv
moved:
  description:
    - What was moved, or in check mode would be; also if a later stage failed.
    - Each with C(name), C(kind), regular C(files), their C(bytes), and the C(target) of a link.
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
  description: What wheels for this host have to fit; null if no environment is to be built.
  type: dict
  returned: preflight and venv
  sample: {python: 3.11.2, implementation: cpython, machine: x86_64, libc: glibc 2.36}
managed:
  description: Names of the managed keys by what happened to them; values are nowhere in the result.
  type: dict
  returned: dotenv
  sample: {added: [EODHD_API_TOKEN], changed: [DB_URL], unchanged: [DEBUG]}
notes:
  description:
    - What the user should know, for example that git tracks what leaves the root, or that python-dotenv ignores a
      line of C(.env). Shown as warnings.
  type: list
  elements: str
  returned: preflight, clean and dotenv
proofs:
  description: Every promise that was looked at, with what was C(expected) and C(found).
  type: list
  elements: dict
  returned: when anything was changed
  sample: [{name: artifact lib64, expected: gone, found: gone, ok: true}]
back:
  description: What came back, or in check mode would; fields as in RV(moved).
  type: list
  elements: dict
  returned: restore
undo:
  description: The run that keeps what stood there until now, null if nothing was done.
  type: str
  returned: restore
report:
  description: What was built, moved or brought back and how to undo it, for people; empty if nothing was.
  type: str
  returned: always
"""

from ansible.module_utils import reporting
from ansible.module_utils.arguments.project_reset import ARGUMENTS
from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.project import stages


def main() -> None:
    """Glue."""
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    reporting.run(module, lambda: stages.take(module.params, module.check_mode, module.warn))


if __name__ == "__main__":
    main()
