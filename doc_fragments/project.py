"""The options for a project root and its ``.env``, shared by the modules that reset and audit it."""

from __future__ import annotations


class ModuleDocFragment:
    """Documentation that modules extend."""

    DOCUMENTATION = r"""
options:
  root:
    description: Absolute path of the project root. A link, a home directory or a system directory is refused.
    type: str
    required: true
  protected:
    description: Paths inside O(root) that must exist and are never touched.
    type: list
    elements: str
    required: true
  python_minimum:
    description: The oldest Python version allowed for the environment.
    type: str
    default: "3.9"
  api_keys:
    description: API keys, by their names in C(.env).
    type: dict
  flags:
    description: Flags, by their names in C(.env). Booleans become V(true) and V(false).
    type: dict
    default: {}
  extra:
    description: Further keys of C(.env), by name. They follow the flags.
    type: dict
"""
