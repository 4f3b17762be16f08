#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Let this machine run the project's playbooks by itself."""

from __future__ import annotations

DOCUMENTATION = r"""
module: schedule_units
short_description: Let this machine run the project's playbooks by systemd's timers
description:
  - Writes a timer and a service for every job, the configuration of their runner, and the secrets that they need.
  - Root gets system units, any other user gets user units.
  - Secrets become systemd credentials. Those of system units are encrypted with a key of this machine.
  - The action plugin adds the vault passwords of the run that calls this module.
author: [The maintainers (@ansible-reset)]
options:
  state:
    description: V(absent) deletes units, configuration, secrets, history and logs.
    type: str
    choices: [present, absent]
    default: present
  name:
    description: Prefix of the names of all units and folders.
    type: str
    default: market-data
  project:
    description: Absolute path of this project's clone on this machine, with its environment C(.venv).
    type: path
    required: true
  inventory:
    description: Inventory sources, one for each C(-i) of ansible-playbook.
    type: list
    elements: str
    default: []
  jobs:
    description: Jobs by name; see the setting C(schedule_jobs).
    type: dict
    default: {}
  exchanges:
    description: Markets; a job with C(each=exchange) becomes one job for each market.
    type: list
    elements: str
    default: []
  user:
    description: User that runs the jobs of system units; the owner of O(project) by default.
    type: str
    default: ""
  delay:
    description: A timer fires up to this many seconds after its time, at random.
    type: int
    default: 300
  retries:
    description: Seconds to wait before each retry if the database, the service or a host does not answer.
    type: list
    elements: int
    default: [60, 300, 600]
  days:
    description: Days for which history and logs are kept.
    type: int
    default: 400
  sudo:
    description: Whether jobs may use sudo on this machine.
    type: bool
    default: false
  writable:
    description: Paths on this machine that jobs write to, besides the project.
    type: list
    elements: path
    default: []
  metrics_path:
    description: File for node_exporter's textfile collector; empty for none.
    type: str
    default: ""
  mail:
    description: Mail addresses that get messages.
    type: list
    elements: str
    default: []
  sendmail:
    description: Program that sends mail.
    type: path
    default: /usr/sbin/sendmail
  command:
    description: Program and arguments; it gets each message on standard input.
    type: list
    elements: str
    default: []
  title:
    description: Text at the beginning of each message.
    type: str
    default: market data
  secrets:
    description: Secrets by credential name, C(webhook), C(heartbeat) and C(vault.ID).
    type: dict
    default: {}
"""

EXAMPLES = r"""
- name: Run the jobs from here
  schedule_units:
    project: /srv/market-data
    inventory: [/srv/market-data/inventory/production.yml]
    jobs: {health: {playbook: reset, tags: [health], at: "*-*-* 05:30:00"}}
"""

RETURN = r"""
timers:
  description: The timers and their times.
  type: dict
  returned: success
  sample: {market-data-health.timer: "*-*-* 05:30:00"}
report:
  description: Text for people.
  type: str
  returned: success
"""

import os
import pwd
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from ansible.module_utils import reporting
from ansible.module_utils.arguments.schedule_units import ARGUMENTS
from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.reporting import Problem
from ansible.module_utils.schedule import jobs, units


def main() -> None:
    """Glue."""
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    reporting.run(module, lambda: work(module.params, module.check_mode))


def work(options: dict[str, Any], check: bool) -> dict[str, Any]:
    """Bring the schedule to its state, or plan to; the result."""
    system, me = os.geteuid() == 0, pwd.getpwuid(os.getuid())
    where = units.places(options["name"], None if system else Path(me.pw_dir), me.pw_uid)
    systemd = units.Systemd(system)
    present, timers = options["state"] == "present", {}
    if present:
        config = wanted(options, where, systemd)
        changes = units.compare(systemd, where, config.name, units.render(config, where), options["secrets"])
        timers = {f"{config.name}-{job.name}.timer": job.at for job in config.jobs.values()}
        lines = [f"🗓️  Runs by itself, as {config.user or me.pw_name}:"]
        lines += [f"   {name}: {at}" for name, at in timers.items()]
    else:
        lines = ["🗓️  Nothing runs by itself now"]
        changes = units.removal(where, options["name"], options["metrics_path"])
    changed = units.linger(systemd, where, wanted=present, check=check) or bool(changes)
    shown = units.diff(changes)
    if not check:
        units.apply(systemd, where, changes)
    return {"changed": changed, "diff": shown, "report": "\n".join(lines), "timers": timers}


def wanted(options: dict[str, Any], where: units.Places, systemd: units.Systemd) -> jobs.Config:
    """Return the configuration; every time in it is one that systemd understands."""
    timed = {}
    for name, job in jobs.parse(options["jobs"], options["exchanges"]).items():
        at = jobs.moment(job) if job.at == "published" else job.at
        timed[name] = replace(job, at=at, interval=systemd.interval(at))
    values = {field.name: options[field.name] for field in fields(jobs.Config) if field.name in options}
    values |= {
        "jobs": timed,
        "state": str(where.state),
        "spare": str(where.spare),
        "metrics": options["metrics_path"],
        "user": "",
        "secrets": list(options["secrets"]),
        "encrypted": systemd.has_creds(),
    }
    config = jobs.Config(**values)
    for path in (f"{config.project}/tools/run_job.py", config.python):
        if not os.path.exists(path):
            raise Problem(
                f"{path} is missing. Clone the project to schedule_project on this machine, and run `make setup` there."
            )
    if where.system:
        user = options["user"] or Path(config.project).owner()
        writable = [*config.writable, f"{pwd.getpwnam(user).pw_dir}/.ansible"]
        if config.metrics:
            writable.append(os.path.dirname(config.metrics))
        config = replace(config, user=user, writable=writable)
    return config


if __name__ == "__main__":
    main()
