"""How every module of the project ends: with a result or a problem that holds no secret.

Ansible masks each value of a ``no_log`` option wherever its text occurs, so that a password ``5`` would
turn port 5432 into ``********432`` and the token ``demo`` would blank a word. The results built here hold
no secret to begin with; therefore the options are left out of ``invocation`` and the masker is switched off.
``no_log=True`` stays in the argument specs: it keeps the values out of the target's system log.
"""

from __future__ import annotations

import importlib
import os
import sys
import traceback
from typing import Any, Callable


class Problem(Exception):
    """Something a user has to do something about; the message says what, and names the file or variable.

    The text is shown as it is, so it never holds a secret. ``details`` becomes part of the failed result.
    """

    def __init__(self, message: str, **details: Any) -> None:
        super().__init__(message)
        self.details = details


def package(name: str, listed: str) -> Any:
    """Import a module of the project's environment; Problem names its package in ``project_packages``, ``listed``."""
    try:
        return importlib.import_module(name)
    except ImportError:
        raise Problem(
            f"This Python has no {name}. Keep {listed} in project_packages, and build the environment with"
            " `ansible-playbook playbooks/reset.yml --tags venv`."
        ) from None


def run(module: Any, work: Callable[[], dict[str, Any]]) -> None:
    """Do the work of an ``AnsibleModule`` and end it.

    ``work`` returns the result's fields (``changed`` among them, ``notes`` are shown as warnings), or raises Problem.
    An exception that nobody foresaw is reported by type and place alone: its text may quote a secret.
    """
    # The owner of an environment could not remove what root compiles there.
    sys.dont_write_bytecode |= os.stat(sys.prefix).st_uid != os.geteuid()
    end = module.fail_json
    try:
        result = work()
    except Problem as problem:
        result = {"msg": str(problem), **problem.details}
    except Exception as error:  # noqa: BLE001 - see above; the type and the place are still reported
        place = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{place.filename.rsplit('/', 1)[-1]}:{place.lineno} ({place.name})"
        defect = "This is a defect of the project; please report this line."
        result = {"msg": f"Unexpected {type(error).__name__} at {where}. {defect}"}
    else:
        end = module.exit_json
        for note in result.get("notes", ()):
            module.warn(note)
    module.no_log_values.clear()
    end(invocation={}, **result)
