"""Writes docs/reference.md out of the sources of truth: ``make reference``.

Variables: ``group_vars/all/`` (names, defaults), the roles' ``defaults/main.yml`` (which input takes which variable)
and ``meta/argument_specs.yml`` (type and meaning). Modules: their documentation, as ansible-doc reads it.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parent.parent
DOCUMENT = ROOT / "docs/reference.md"
# Where a variable goes into several roles, the first one's words are taken.
ROLES = ["reset", "database", "health", "backfill", "audit", "sandbox"]
HEAD = """# Reference

Written by `make reference` from the argument specifications of the roles and the documentation of the modules; edit
those. `make test` fails where this page is not what they say.

"""


class Undocumented(Exception):
    """Something public has no word of documentation; the message names it and the file to mend."""


def load(path: Path) -> Any:
    """A YAML file, an empty mapping where there is none."""
    return yaml.safe_load(path.read_text()) or {} if path.exists() else {}


def bindings(value: Any, option: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The users' variables in a role's default, each with the specification that describes it."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from bindings(inner, option.get("options", {}).get(key, option))
    elif isinstance(value, str):
        found = re.fullmatch(r"\{\{ *(\w+) *\}\}", value)
        if found:
            yield found[1], option


def described(root: Path = ROOT) -> dict[str, Mapping[str, Any]]:
    """Variables of users by name, each with the specification that describes it.

    Raises:
        Undocumented: a role's input is in no specification.
    """
    found: dict[str, Mapping[str, Any]] = {}
    for role in ROLES:
        folder = root / "roles" / role
        options = (
            load(folder / "meta/argument_specs.yml")
            .get("argument_specs", {})
            .get("main", {})
            .get("options", {})
        )
        defaults = load(folder / "defaults/main.yml")
        for name, value in defaults.items():
            if name not in options:
                raise Undocumented(f"{name} is not described in roles/{role}/meta/argument_specs.yml.")
            for variable, option in bindings(value, options[name]):
                found.setdefault(variable, option)
        # An input that no variable is bound to is itself what users set.
        for name in options:
            if not any(bindings(defaults.get(name), options[name])):
                found.setdefault(name, options[name])
    return found


def variables(root: Path = ROOT) -> str:
    """The tables of variables, one for each file of ``group_vars/all/``.

    Raises:
        Undocumented: a variable is taken by no role.
    """
    specs = described(root)
    text = ""
    for path in sorted((root / "group_vars/all").glob("*.yml")):
        text += f"### {path.name}\n\n| Name | Type | Default | Meaning |\n|---|---|---|---|\n"
        for name, default in load(path).items():
            if name not in specs:
                raise Undocumented(
                    f"{name} ({path.relative_to(root)}) is described by no role's argument_specs.yml."
                )
            option = specs[name]
            text += f"| `{name}` | {kind(option)} | {shown(default)} | {meaning(option)} |\n"
        text += "\n"
    return text


def kind(option: Mapping[str, Any]) -> str:
    """An option's type, ``list of str``."""
    name = option.get("type", "str")
    return f"{name} of {option['elements']}" if "elements" in option else str(name)


def shown(default: Any) -> str:
    """A default as YAML writes it."""
    if isinstance(default, str):
        return f"`{default}`" if default else '`""`'
    return f"`{json.dumps(default)}`" if default is not None else "none"


def meaning(option: Mapping[str, Any]) -> str:
    """An option's description in one cell.

    Raises:
        Undocumented: there is none.
    """
    lines = option.get("description") or []
    lines = [lines] if isinstance(lines, str) else lines
    if not lines:
        raise Undocumented(f"an option has no description: {dict(option)}")
    text = prose(" ".join(lines))
    choices = option.get("choices")
    if choices:
        text += f" One of {', '.join(f'`{json.dumps(choice).strip(chr(34))}`' for choice in choices)}."
    return text.replace("|", "\\|")


def prose(text: str) -> str:
    """Ansible's markup as Markdown."""
    return re.sub(r"\b[CVOIBPM]\(([^)]*)\)|\bRV\(([^)]*)\)", lambda found: f"`{found[1] or found[2]}`", text)


def modules(root: Path = ROOT) -> str:
    """A section for each module of ``library/``."""
    names = sorted(path.stem for path in (root / "library").glob("*.py"))
    command = ["ansible-doc", "-t", "module", "-M", str(root / "library"), "-j", *names]
    found = json.loads(subprocess.run(command, capture_output=True, text=True, check=True, cwd=root).stdout)
    return "\n".join(module(name, found[name]) for name in names)


def module(name: str, documented: Mapping[str, Any]) -> str:
    """One module: what it does, its options, what it returns."""
    doc = documented["doc"]
    text = f"### {name}\n\n{prose(doc['short_description'])}.\n\n"
    text += "".join(f"- {prose(line)}\n" for line in doc["description"])
    text += "\n| Option | Type | Default | Meaning |\n|---|---|---|---|\n"
    text += "".join(rows(doc["options"]))
    text += "\n| Result | Type | Returned | Meaning |\n|---|---|---|---|\n"
    for key, value in (documented["return"] or {}).items():
        text += f"| `{key}` | {kind(value)} | {prose(str(value['returned']))} | {meaning(value)} |\n"
    return text


def rows(options: Mapping[str, Any], above: str = "") -> Iterator[str]:
    """Rows of a table of options, those of dictionaries below their own."""
    for name, option in options.items():
        default = "required" if option.get("required") else shown(option.get("default"))
        yield f"| `{above}{name}` | {kind(option)} | {default} | {meaning(option)} |\n"
        yield from rows(option.get("suboptions") or option.get("options") or {}, f"{above}{name}.")


def document() -> str:
    """The whole page."""
    return f"{HEAD}## Variables\n\n{variables()}## Modules\n\n{modules()}"


if __name__ == "__main__":
    try:
        DOCUMENT.write_text(document())
    except Undocumented as error:
        sys.exit(f"reference: {error}")
