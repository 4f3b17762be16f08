"""Everything that can be known before a reset begins."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Callable

from ansible.module_utils.project import clean, environment
from ansible.module_utils.project.opening import OpenRoot
from ansible.module_utils.project.proofs import Proof
from ansible.module_utils.project.quarantine import Manifest, Quarantine


@dataclass
class Preflight:
    """A judgement, which has nothing to apply; see ``stages.Stage``."""

    result: dict[str, Any]

    def apply(self, quarantine: Quarantine, run: Manifest) -> Manifest:
        """Change nothing."""
        return run

    def proofs(self) -> Iterator[Proof]:
        """Promise nothing."""
        return iter(())


def plan(root: OpenRoot, params: dict[str, Any], warn: Callable[[str], None]) -> Preflight:
    """Pass every guard of a whole reset or raise Problem."""
    moved = clean.plan(root, params, warn).result
    built = environment.plan(root, params, warn).result
    return Preflight(
        {"changed": False, "notes": moved["notes"], **{key: built[key] for key in ("python", "platform")}}
    )
