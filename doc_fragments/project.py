"""What the modules that reset a project root and that audit it say of the root and of its ``.env``."""

from __future__ import annotations


class ModuleDocFragment:
    """See the modules that extend their documentation with it."""

    DOCUMENTATION = r"""
options:
  root:
    description: Absolute path of the project root; not a link, not a home or system directory.
    type: str
    required: true
  protected:
    description: Paths inside O(root) that must exist, and that are never touched.
    type: list
    elements: str
    required: true
  python_minimum:
    description: The oldest version of the environment's Python that will do.
    type: str
    default: "3.9"
  api_keys:
    description: Keys of the services, by their names in C(.env).
    type: dict
  flags:
    description: Flags of the environment, by their names in C(.env); booleans become V(true) and V(false).
    type: dict
    default: {}
  extra:
    description: Further keys of C(.env) by name; they follow the flags.
    type: dict
"""
