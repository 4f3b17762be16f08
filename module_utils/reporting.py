"""End a module with a result or a problem that holds no secret.

Ansible masks the value of a ``no_log`` option wherever it occurs: a password ``5`` would turn port 5432 into
``********432``, and the token ``demo`` would blank a word. The results here never hold a secret, so ``run`` leaves
the options out of ``invocation`` and switches the masking off. ``no_log=True`` stays in the argument specs because it
keeps the values out of the target's system log.
"""

from __future__ import annotations

import importlib
import os
import sys
import traceback
from typing import Any, Callable


class Problem(Exception):
    """A failure for the user; the message says what happened, what to do, and names the file or variable.

    It is shown as it is, so it must not hold a secret. ``details`` become part of the failed result.
    """

    def __init__(self, message: str, **details: Any) -> None:
        super().__init__(message)
        self.details = details


def package(name: str, listed: str) -> Any:
    """Import a module of the project's environment, whose package in ``project_packages`` is ``listed``."""
    try:
        return importlib.import_module(name)
    except ImportError:
        raise Problem(
            f"This Python has no {name}. Keep {listed} in project_packages, and build the environment with"
            " `ansible-playbook playbooks/reset.yml --tags venv`."
        ) from None


def run(module: Any, work: Callable[[], dict[str, Any]]) -> None:
    """Call ``work``, and end an ``AnsibleModule`` with its result.

    ``work`` returns the fields of the result, among them ``changed``, or raises Problem. ``notes`` become warnings.
    An unexpected exception is reported only by type and place, because its text may quote a secret.
    """
    # Otherwise root would leave compiled files in the environment that its owner cannot remove.
    sys.dont_write_bytecode |= os.stat(sys.prefix).st_uid != os.geteuid()
    end = module.fail_json
    try:
        result = work()
    except Problem as problem:
        result = {"msg": str(problem), **problem.details}
    except Exception as error:  # noqa: BLE001 - reported by type and place, see above
        place = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{place.filename.rsplit('/', 1)[-1]}:{place.lineno} ({place.name})"
        defect = "This is a bug of the project. Please report this line."
        result = {"msg": f"Unexpected {type(error).__name__} at {where}. {defect}"}
    else:
        end = module.exit_json
        for note in result.get("notes", ()):
            module.warn(note)
    module.no_log_values.clear()
    end(invocation={}, **result)
