#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Take stages of the reset of a project root."""

from __future__ import annotations

DOCUMENTATION = r"""
module: project_reset
short_description: Take stages of the reset of a project root
description:
  - One module for all stages, and one call for as many as are asked for. Each call costs a host a quarter of a second.
  - Every stage passes the guards of its own accord, plans, and unless in check mode applies the plan under a lock.
    What leaves its place is kept in the private folder C(.reset) of the root, and O(stage=restore) brings it back.
options:
  stage:
    description:
      - One or several, in the order in which they are taken. One that cannot be taken ends the call; what those before
        it did is in the result, and stays.
      - V(preflight) checks, before anything is changed, that O(root) is the right place and that a reset of it can
        be carried through. It only reads.
      - V(clean) does so as well, and then moves O(artifacts) into quarantine, by one rename each; links are moved as
        links, dangling ones too. C(venv) is left to the next stage.
      - V(venv) builds C(venv) where it is missing, broken, of another Python, or does not hold exactly what is
        asked. The new one is built beside the old one, every package is imported by its own interpreter, and only
        then do the two change places, in one atomic step. Where the build fails the old one stays as it was.
        It is built with uv where the host has it or can get it from the index, with C(venv) and pip otherwise, as
        the owner of O(root).
      - V(dotenv) sets the project's own keys in C(.env). A key is replaced where it stands, a missing one is added
        under its heading; of a key that stands there several times the first stays. All other lines stay byte for
        byte. Every value without a line break comes back unchanged through python-dotenv, and C(DB_URL) through
        libpq. A shell that sources the file reads the same values, except those that hold C(${), end in a
        backslash, or hold a single quote or a backslash together with C($) or a backtick.
        A C(.env) that is a link is refused, for what it points to may serve others.
      - V(verify) proves that O(artifacts) are gone and what the stages before it in the same call promise, closes the
        run and deletes the runs that retention gives up. Where those leave no run open there is nothing to prove, for
        each of them has just looked at the same things.
        A reset that was killed before this is continued by the next one, as one run with one undo.
      - V(restore) puts artifacts, environment and C(.env) back as they were before a run, each in one atomic step.
        What stood there until now is kept under a run of its own; restoring that one undoes the restore.
    type: list
    elements: str
    required: true
    choices: [preflight, clean, venv, dotenv, verify, restore]
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
    description: Exact names in O(root), for V(preflight), V(clean) and V(verify).
    type: list
    elements: str
    default: []
  python:
    description: Interpreter to build with, by name or path, for V(preflight), V(clean) and V(venv).
    type: str
    default: python3
  python_minimum:
    description: Its least version.
    type: str
    default: "3.9"
  packages:
    description: Requirements, each beginning with a package's name, for V(preflight), V(clean) and V(venv).
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
      - Whether the control node fetches the packages for the host and brings them, for V(venv).
      - V(never) leaves it to the host. With V(auto) it does so where no index serves the host, with V(always) at once.
      - Acted on by the action plugin of this name; a host that is the control node itself fetches for itself.
    type: str
    choices: [never, auto, always]
    default: never
  wanting:
    description:
      - What V(clean) returned of this name. With it and O(wheels=always) the action plugin brings the wheels at once,
        and need not ask the host first.
    type: dict
  kit:
    description: The archive of wheels, on the host, that the action plugin has brought.
    type: path
  rebuild:
    description: Build even where nothing is wrong, for V(preflight), V(clean) and V(venv).
    type: bool
    default: false
  space_mb:
    description: Free space that a build needs, in MiB, for V(preflight), V(clean) and V(venv).
    type: int
    default: 1024
  allow_in_use:
    description: Move and replace also what processes run out of; they are then warned of.
    type: bool
    default: false
  connection:
    description: The database, for C(DB_URL) and the C(POSTGRES_*) keys; for V(dotenv).
    type: dict
    suboptions:
      host:
        description: Name or address of the server, or the folder of its Unix socket.
        type: str
        required: true
      port:
        description: Port of the server.
        type: int
        default: 5432
      user:
        description: Name of the role.
        type: str
        required: true
      password:
        description: Password of the role, one line.
        type: str
        required: true
      database:
        description: Name of the database.
        type: str
        required: true
      sslmode:
        description: TLS of the connection, as libpq's C(sslmode); C(DB_URL) names it unless it is V(prefer).
        type: str
        choices: [disable, allow, prefer, require, verify-ca, verify-full]
        default: prefer
      sslrootcert:
        description: File on the target with the certificates that V(verify-ca) and V(verify-full) trust.
        type: path
  api_keys:
    description: Keys of the services, by their names in C(.env), for V(dotenv).
    type: dict
  flags:
    description: Flags of the environment, by their names in C(.env); booleans become V(true) and V(false).
    type: dict
    default: {}
  extra:
    description: Further keys by name; they follow the flags.
    type: dict
  keep:
    description: How many runs V(verify) keeps at the most; 0 deletes at once what a reset moved.
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
- name: Judge the root and change nothing
  project_reset:
    stage: preflight
    root: /opt/mt5-crs
    protected: [src, scripts, docs, .git]
    artifacts: [bin, lib, lib64, include, pyvenv.cfg, venv]
    packages: [pandas, "sqlalchemy>=2", psycopg2-binary]
    holder: "{{ lookup('reset_holder') }}"

- name: Build the environment and close the run
  project_reset:
    stage: [venv, verify]
    root: /opt/mt5-crs
    protected: [src, scripts, docs, .git]
    packages: [pandas, "sqlalchemy>=2", psycopg2-binary]
    index_urls: ["https://mirror.example.com/simple", ""]
    holder: "{{ lookup('reset_holder') }}"

- name: Undo the last reset
  project_reset:
    stage: restore
    root: /opt/mt5-crs
    protected: [src, scripts, docs, .git]
    holder: "{{ lookup('reset_holder') }}"
"""

RETURN = r"""
run:
  description: The run that keeps what was moved or replaced, null where nothing was.
  type: str
  returned: clean, venv, dotenv and verify
  sample: 20261123T041500Z
kept:
  description: How much that run keeps by now.
  type: dict
  returned: clean, venv, dotenv and verify
  contains:
    files: {description: Regular files., type: int}
    bytes: {description: Their sizes summed., type: int}
  sample: {files: 9, bytes: 642}
stage:
  description: The stage that could not be taken.
  type: str
  returned: when one could not
  sample: venv
moved:
  description: What was moved, or in check mode would be.
  type: list
  elements: dict
  returned: clean
  contains:
    name: {description: Name in the root., type: str}
    kind: {description: "V(file), V(directory), V(link) or V(other).", type: str}
    files: {description: Regular files in it., type: int}
    bytes: {description: Their sizes summed., type: int}
    target: {description: Where a link points., type: str}
  sample: [{name: lib64, kind: link, files: 0, bytes: 0, target: lib}]
python:
  description: Version that the interpreter answers.
  type: str
  returned: preflight, clean and venv
  sample: 3.11.2
unfinished:
  description: Whether a run is open, this one or one that was cut off; V(verify) closes it.
  type: bool
  returned: clean, venv, dotenv and verify
  sample: false
reasons:
  description: Why the environment was built, or in check mode would be; empty where it is as asked.
  type: list
  elements: str
  returned: venv
  sample: [it was not built by this project]
interpreter:
  description: Path of the environment's interpreter.
  type: str
  returned: venv
  sample: /opt/mt5-crs/venv/bin/python
wanting:
  description: What wheels for this host have to fit; the action plugin fetches them.
  type: dict
  returned: preflight and clean, when an environment will be built; venv, when it failed for want of packages
  sample: {python: 3.11.2, implementation: cpython, machine: x86_64, libc: glibc 2.36}
tool:
  description: What built the environment, V(uv) or V(pip).
  type: str
  returned: venv, when built
index:
  description: The index that served it, without credentials.
  type: str
  returned: venv, when built
packages:
  description: Version of every installed distribution by name.
  type: dict
  returned: venv, when built
  sample: {pandas: 3.1.1}
imported:
  description:
    - Sources that the proof has compiled, a line each, where the packages came from the control node without their
      bytecode. The action plugin takes them out of the result; the next hosts are brought the bytecode with the wheels.
  type: str
  returned: venv, when built
keys:
  description: Names of the managed keys by what happened to them; values are nowhere in the result.
  type: dict
  returned: dotenv
  sample: {added: [EODHD_API_TOKEN], changed: [DB_URL], unchanged: [DEBUG]}
notes:
  description: What the user should know of the other lines of C(.env), for example one that python-dotenv ignores.
  type: list
  elements: str
  returned: dotenv
checks:
  description: Every promise that was looked at.
  type: list
  elements: dict
  returned: verify
  contains:
    name: {description: What it is about., type: str}
    expected: {description: What was promised., type: str}
    found: {description: What was found., type: str}
    ok: {description: Whether they agree., type: bool}
closed:
  description: Runs that were closed.
  type: list
  elements: str
  returned: verify
expired:
  description: Runs that were deleted.
  type: list
  elements: str
  returned: verify
restored:
  description: The run that was undone, null where there is none to undo.
  type: str
  returned: restore
back:
  description: What came back, or in check mode would; fields as in RV(moved).
  type: list
  elements: dict
  returned: restore
removed:
  description: Names that did not exist before that run, and do not any more.
  type: list
  elements: str
  returned: restore
undo:
  description: The run that keeps what stood there until now, null where nothing was done.
  type: str
  returned: restore
report:
  description: What was built, moved or brought back and how to undo it, for people; empty where nothing was.
  type: str
  returned: venv, when built; verify and restore
"""

from ansible.module_utils import reporting
from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.database.options import CONNECTION
from ansible.module_utils.project import stages


def main() -> None:
    """Glue."""
    names = {"type": "list", "elements": "str"}
    text = {"type": "str", "required": True}
    module = AnsibleModule(
        argument_spec={
            "stage": {
                **names,
                "required": True,
                "choices": ["preflight", "clean", "venv", "dotenv", "verify", "restore"],
            },
            "root": text,
            "protected": {**names, "required": True},
            "holder": {"type": "dict", "required": True},
            "artifacts": {**names, "default": []},
            "python": {"type": "str", "default": "python3"},
            "python_minimum": {"type": "str", "default": "3.9"},
            "packages": names,
            # Its URLs may hold credentials.
            "index_urls": {**names, "no_log": True},
            "wheels": {"type": "str", "choices": ["never", "auto", "always"], "default": "never"},
            "wanting": {"type": "dict"},
            "kit": {"type": "path"},
            "rebuild": {"type": "bool", "default": False},
            "space_mb": {"type": "int", "default": 1024},
            "allow_in_use": {"type": "bool", "default": False},
            "connection": CONNECTION,
            "api_keys": {"type": "dict", "no_log": True},
            "flags": {"type": "dict", "default": {}, "no_log": False},
            "extra": {"type": "dict", "no_log": True},
            "keep": {"type": "int", "default": 5},
            "keep_days": {"type": "int", "default": 90},
            "run": {"type": "str", "default": ""},
        },
        supports_check_mode=True,
    )
    reporting.run(module, lambda: stages.take(module.params, module.check_mode, module.warn))


if __name__ == "__main__":
    main()
