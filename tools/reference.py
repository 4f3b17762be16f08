"""Generates files from the settings and the documentation of the modules: ``make reference``.

The settings give the defaults of the role ``settings`` and the argument specifications of the other roles, the modules'
documentation gives the specifications of their arguments, and ``docs/reference.md`` shows both.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parent.parent
SETTINGS = "roles/settings/settings.yml"
WRITTEN = f"---\n# Written by `make reference` out of {SETTINGS}; edit that.\n"
HEAD = f"""# Reference

Written by `make reference` out of `{SETTINGS}` and the documentation of the modules; edit those. `make test` fails if
this page is not what they say.

"""
Option = Mapping[str, Any]
# Ansible keeps their values out of the target's system log. The whole connection: the log gets a dictionary as its
# repr, where a quote in a password is escaped and the masker does not know it again.
SECRET = {"admin_password", "api_keys", "api_token", "connection"}
SECRET |= {"extra", "index_urls", "password", "secrets"}
# Their names look like secrets to Ansible.
PUBLIC = {"token", "token_known"}
FRAGMENT = '''"""The thresholds of ``health_check``. Written by `make reference` out of {settings}; edit that."""

from __future__ import annotations


class ModuleDocFragment:
    """Documentation that a module extends."""

    DOCUMENTATION = r"""
{documentation}"""
'''
ARGUMENTS = '''"""The arguments of {name}. Written by `make reference` out of its documentation; edit that."""

from __future__ import annotations

from typing import Any

# fmt: off
ARGUMENTS: dict[str, Any] = {specification}
'''


class Plain(yaml.SafeDumper):  # type: ignore[misc]
    """Writes YAML as yamllint wants it: lists indented, and without anchors."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> Any:
        """Indent lists too."""
        return super().increase_indent(flow, False)

    def ignore_aliases(self, data: Any) -> bool:
        """Return True."""
        return True


class Undocumented(Exception):
    """Something public has no documentation; the message names it and the file to fix."""


def load(path: Path) -> Any:
    """Return the content of a YAML file; an empty mapping if it is missing."""
    return yaml.safe_load(path.read_text()) or {} if path.exists() else {}


def sections(root: Path) -> dict[str, Mapping[str, Any]]:
    """Return the groups of settings by name, each with ``short_description`` and ``options``.

    Where no type is said, it is that of the default; elements are ``str``.
    """
    found: dict[str, Mapping[str, Any]] = load(root / SETTINGS)
    for section in found.values():
        for name, option in section["options"].items():
            known = {
                "description": option.get("description"),
                "type": type(option["default"]).__name__,
                **option,
            }
            if known["type"] == "list":
                known.setdefault("elements", "str")
            section["options"][name] = known
    return found


def files(root: Path = ROOT) -> Iterator[tuple[Path, str]]:
    """Yield all generated files with their text. ansible-doc reads the first one, so write each before the next.

    Raises:
        Undocumented: something public has no description.
    """
    yield root / "doc_fragments/limits.py", fragment(root)
    yield root / "roles/settings/defaults/main.yml", defaults(root)
    for path in sorted(root.glob("roles/*/meta/argument_specs.yml")):
        role = path.parent.parent
        # A role with inputs of its own describes them itself.
        if not (role / "defaults").exists():
            yield path, specifications(role, root)
    for name, documented in documentation(root).items():
        text = python(specification(documented["doc"]["options"]))
        yield root / f"module_utils/arguments/{name}.py", ARGUMENTS.format(name=name, specification=text)
    yield root / "docs/reference.md", document(root)


def limits(root: Path) -> dict[str, Option]:
    """Return the thresholds of the health check, by their names in the module."""
    options = sections(root).get("health_limits", {"options": {}})["options"]
    return {name.removeprefix("health_"): option for name, option in options.items()}


def fragment(root: Path) -> str:
    """Return the documentation of the module's option ``limits``."""
    suboptions = {
        name: {**option, "description": re.sub(r"\bhealth_(\w+)", r"O(limits.\1)", option["description"])}
        for name, option in limits(root).items()
    }
    option = {
        "description": "Thresholds for V(warn) and V(fail). A value of 0 switches a threshold off.",
        "type": "dict",
        "default": {},
        "suboptions": suboptions,
    }
    text = yaml.dump({"options": {"limits": option}}, Dumper=Plain, sort_keys=False, width=110)
    return FRAGMENT.format(settings=SETTINGS, documentation=text)


def defaults(root: Path) -> str:
    """Return the defaults of the role ``settings``."""
    text = WRITTEN
    for section in sections(root).values():
        text += f"\n# {section['short_description']}\n"
        text += "".join(
            f"{name}:{literal(option['default'])}\n" for name, option in section["options"].items()
        )
    given = {name: f"{{{{ health_{name} }}}}" for name in limits(root)}
    return text + f"__health_limits:{literal(given)}\n"


def literal(default: Any, margin: str = "") -> str:
    """Return a default as YAML to follow its name; a long dictionary has a line for each key."""
    text = json.dumps(default, ensure_ascii=False)
    if len(text) < 106 or not isinstance(default, Mapping):
        return f" {text}"
    margin += "  "
    return "".join(f"\n{margin}{key}:{literal(value, margin)}" for key, value in default.items())


def specifications(role: Path, root: Path) -> str:
    """Return the argument specs of a role, with the settings that each entry point uses."""
    settings = {
        name: option for section in sections(root).values() for name, option in section["options"].items()
    }
    derived = {name: json.dumps(value) for name, value in load(root / "roles/settings/vars/main.yml").items()}
    derived["__health_limits"] = " ".join(f"health_{name}" for name in limits(root))
    entries = load(role / "meta/argument_specs.yml")["argument_specs"]
    for name, entry in entries.items():
        text = tasks(role / f"tasks/{name}.yml")
        text += "".join(value for key, value in derived.items() if key in text)
        named = set(re.findall(r"\w+", text))
        # A default is the role settings' alone, for Ansible never applies one from here.
        entry["options"] = {
            key: {part: value for part, value in option.items() if part != "default"}
            for key, option in settings.items()
            if key in named
        }
    text = yaml.dump(
        {"argument_specs": entries}, Dumper=Plain, sort_keys=False, width=110, allow_unicode=True
    )
    return f"{WRITTEN}{text}"


def tasks(path: Path) -> str:
    """Return the text of a task file and of the files that it includes or imports."""
    text = path.read_text()
    return text + "".join(
        tasks(path.parent / name) for name in re.findall(r"(?:im|in)\w+_tasks: (\w+\.yml)", text)
    )


def variables(root: Path = ROOT) -> str:
    """Return a table for each group of settings."""
    text = ""
    for section in sections(root).values():
        text += (
            f"### {section['short_description']}\n\n| Name | Type | Default | Meaning |\n|---|---|---|---|\n"
        )
        text += "".join(
            f"| `{name}` | {kind(option)} | {shown(option['default'])} | {meaning(option)} |\n"
            for name, option in section["options"].items()
        )
        text += "\n"
    return text


def kind(option: Mapping[str, Any]) -> str:
    """Return an option's type, such as ``list of str``."""
    name = option.get("type", "str")
    return f"{name} of {option['elements']}" if "elements" in option else str(name)


def shown(default: Any) -> str:
    """Return a default as inline YAML."""
    if isinstance(default, str):
        return f"`{default}`" if default else '`""`'
    return f"`{json.dumps(default)}`" if default is not None else "none"


def meaning(option: Mapping[str, Any]) -> str:
    """Return an option's description as a table cell.

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
    """Convert Ansible's markup to Markdown."""
    return re.sub(r"\b[CVOIBPM]\(([^)]*)\)|\bRV\(([^)]*)\)", lambda found: f"`{found[1] or found[2]}`", text)


@lru_cache
def documentation(root: Path) -> Mapping[str, Any]:
    """Return the output of ansible-doc for each module in ``library/``."""
    names = sorted(path.stem for path in (root / "library").glob("*.py"))
    command = ["ansible-doc", "-t", "module", "-M", str(root / "library"), "-j", *names]
    found = json.loads(subprocess.run(command, capture_output=True, text=True, check=True, cwd=root).stdout)
    return {name: found[name] for name in names}


def python(value: Any, margin: str = "") -> str:
    """Return a value as Python source; a long dictionary has a line for each key."""
    if len(repr(value)) < 90 or not isinstance(value, Mapping):
        return repr(value)
    inner = margin + "    "
    lines = "".join(f"{inner}{key!r}: {python(below, inner)},\n" for key, below in value.items())
    return f"{{\n{lines}{margin}}}"


def specification(options: Mapping[str, Option]) -> dict[str, Any]:
    """Return the options of a module or of a dictionary as an Ansible ``argument_spec``.

    Raises:
        Undocumented: it is not declared whether an option is secret.
    """
    found = {}
    for name, option in options.items():
        known = ("type", "elements", "choices", "required", "default")
        found[name] = {key: option[key] for key in known if option.get(key) is not None}
        if name in SECRET | PUBLIC:
            found[name]["no_log"] = name in SECRET
        elif re.search("pass|secret|token|key", name):
            raise Undocumented(f"say in tools/reference.py whether the option {name} is SECRET or PUBLIC")
        if "suboptions" in option:
            found[name]["options"] = specification(option["suboptions"])
    return found


def modules(root: Path = ROOT) -> str:
    """Return a section for each module in ``library/``."""
    return "\n".join(module(name, documented) for name, documented in documentation(root).items())


def module(name: str, documented: Mapping[str, Any]) -> str:
    """Return the section of one module: description, options, results."""
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
    """Yield table rows of options; suboptions follow their dictionary."""
    for name, option in options.items():
        default = "required" if option.get("required") else shown(option.get("default"))
        yield f"| `{above}{name}` | {kind(option)} | {default} | {meaning(option)} |\n"
        yield from rows(option.get("suboptions") or option.get("options") or {}, f"{above}{name}.")


def document(root: Path = ROOT) -> str:
    """Return the whole page."""
    return f"{HEAD}## Settings\n\n{variables(root)}## Modules\n\n{modules(root)}"


if __name__ == "__main__":
    try:
        for path, text in files():
            path.write_text(text)
    except Undocumented as error:
        sys.exit(f"reference: {error}")
