"""Generates files from the settings and the documentation of the modules: ``make reference``.

The settings give the argument specifications of the roles, the modules' documentation gives the specifications of their
arguments, and ``docs/reference.md`` shows both.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from pprint import pformat
from textwrap import indent
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parent.parent
SETTINGS = "roles/settings/defaults/main.yml"
DERIVED = "roles/settings/vars/main.yml"
HEAD = """# Reference

Written by `make reference` out of `roles/settings` and the documentation of the modules; edit those. `make test` fails
if this page is not what they say.

## Settings

"""
Option = Mapping[str, Any]
# Ansible keeps their values out of the target's system log. The whole connection: the log gets a dictionary as its
# repr, where a quote in a password is escaped and the masker does not know it again.
SECRET = {
    "admin_password", "api_keys", "api_token", "connection", "extra", "index_urls", "password", "secrets"
}  # fmt: skip
# Their names look like secrets to Ansible.
PUBLIC = {"token", "token_known"}
FRAGMENT = '''"""The thresholds of ``health_check``. Written by `make reference` out of roles/settings; edit that."""

from __future__ import annotations


class ModuleDocFragment:
    """Documentation that a module extends."""

    DOCUMENTATION = r"""
{}"""
'''
ARGUMENTS = '''"""The arguments of {name}. Written by `make reference` out of its documentation; edit that."""

from __future__ import annotations

from typing import Any

# fmt: off
ARGUMENTS: dict[str, Any] = (
{specification}
)
'''


class Plain(yaml.SafeDumper):  # type: ignore[misc]
    """Writes YAML as yamllint wants it: lists indented, those of words in one line, and without anchors."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> Any:
        """Indent lists too."""
        return super().increase_indent(flow, False)

    def ignore_aliases(self, data: Any) -> bool:
        """Return True."""
        return True

    def list_of(self, data: list[Any]) -> Any:
        """Return the node of a list."""
        words = " " not in "".join(map(str, data))
        return self.represent_sequence("tag:yaml.org,2002:seq", data, flow_style=words)


Plain.add_representer(list, Plain.list_of)


class Undocumented(Exception):
    """Something public has no documentation; the message names it and the file to fix."""


def load(path: Path) -> Any:
    """Return the content of a YAML file."""
    return yaml.safe_load(path.read_text())


def dump(content: Any) -> str:
    """Return YAML."""
    text: str = yaml.dump(content, Dumper=Plain, sort_keys=False, width=104, allow_unicode=True)
    return text


def groups(root: Path = ROOT) -> dict[str, dict[str, dict[str, Any]]]:
    """Return the settings by group and name, as the comments and values of the role's defaults describe them."""
    text = (root / SETTINGS).read_text()
    defaults = yaml.safe_load(text)
    found: dict[str, dict[str, dict[str, Any]]] = {}
    comments: list[str] = []
    for line in text.splitlines():
        if line.startswith("# --- "):
            group = found[line[6:]] = {}
        elif line.startswith("# "):
            comments.append(line[2:])
            continue
        elif (name := line.partition(":")[0]) in defaults:
            stated = [each for each in comments if re.match("(type|elements|choices): ", each)]
            group[name] = {
                "description": " ".join(each for each in comments if each not in stated),
                "type": type(defaults[name]).__name__,
                "default": defaults[name],
                **(yaml.safe_load("\n".join(stated)) or {}),
            }
            if group[name]["type"] == "list":
                group[name].setdefault("elements", "str")
        comments = []
    return found


def files(root: Path = ROOT) -> Iterator[tuple[Path, str]]:
    """Yield all generated files with their text. ansible-doc reads the first one, so write each before the next.

    Raises:
        Undocumented: something public has no description.
    """
    grouped = groups(root)
    settings = {name: option for group in grouped.values() for name, option in group.items()}
    derived = load(root / DERIVED)
    yield root / "doc_fragments/limits.py", fragment(settings, derived["__health_limits"])
    for path in sorted(root.glob("roles/*/meta/argument_specs.yml")):
        role = path.parent.parent
        # A role with inputs of its own describes them itself.
        if not (role / "defaults").exists():
            yield path, specifications(role, settings, derived)
    modules = documentation(root)
    for name, documented in modules.items():
        options = specification(documented["doc"]["options"])
        text = indent(pformat(options, width=106, compact=True, sort_dicts=False), "    ")
        yield root / f"module_utils/arguments/{name}.py", ARGUMENTS.format(name=name, specification=text)
    yield root / "docs/reference.md", document(grouped, modules)


def fragment(settings: Mapping[str, Option], limits: Mapping[str, str]) -> str:
    """Return the documentation of the option ``limits`` of ``health_check``."""
    suboptions = {}
    for name in limits:
        option = settings[f"health_{name}"]
        text = re.sub(r"\bhealth_(\w+)", r"O(limits.\1)", option["description"])
        suboptions[name] = {**option, "description": text}
    option = {
        "description": "Thresholds for V(warn) and V(fail). A value of 0 switches a threshold off.",
        "type": "dict",
        "default": {},
        "suboptions": suboptions,
    }
    return FRAGMENT.format(dump({"options": {"limits": option}}))


def specifications(role: Path, settings: Mapping[str, Option], derived: Mapping[str, Any]) -> str:
    """Return the argument specs of a role, with the settings that each entry point uses."""
    path = role / "meta/argument_specs.yml"
    entries = load(path)["argument_specs"]
    for name, entry in entries.items():
        text = tasks(role / f"tasks/{name}.yml")
        text += "".join(json.dumps(value) for key, value in derived.items() if key in text)
        named = set(re.findall(r"\w+", text))
        # A default is the role settings' alone, for Ansible never applies one from here.
        entry["options"] = {
            key: {part: value for part, value in option.items() if part != "default"}
            for key, option in settings.items()
            if key in named
        }
    head = f"---\n# Written by `make reference` out of {SETTINGS}; edit that.\n"
    return head + dump({"argument_specs": entries})


def tasks(path: Path) -> str:
    """Return the text of a task file and of the files that it includes or imports."""
    text = path.read_text()
    return text + "".join(
        tasks(path.parent / name) for name in re.findall(r"(?:im|in)\w+_tasks: (\w+\.yml)", text)
    )


def documentation(root: Path) -> dict[str, Any]:
    """Return the output of ansible-doc for each module in ``library/``."""
    names = sorted(path.stem for path in (root / "library").glob("*.py"))
    command = ["ansible-doc", "-t", "module", "-M", str(root / "library"), "-j", *names]
    found = json.loads(subprocess.run(command, capture_output=True, text=True, check=True, cwd=root).stdout)
    return {name: found[name] for name in names}


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


def document(grouped: Mapping[str, Mapping[str, Option]], modules: Mapping[str, Any]) -> str:
    """Return the page: a table for each group of settings, and a section for each module."""
    text = HEAD
    for title, options in grouped.items():
        text += f"### {title}\n\n| Name | Type | Default | Meaning |\n|---|---|---|---|\n"
        text += "".join(rows(options)) + "\n"
    return f"{text}## Modules\n\n" + "\n".join(module(*each) for each in modules.items())


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


def rows(options: Mapping[str, Option], above: str = "") -> Iterator[str]:
    """Yield table rows of options; suboptions follow their dictionary."""
    for name, option in options.items():
        default = "required" if option.get("required") else shown(option.get("default"))
        yield f"| `{above}{name}` | {kind(option)} | {default} | {meaning(option)} |\n"
        yield from rows(option.get("suboptions") or option.get("options") or {}, f"{above}{name}.")


def kind(option: Option) -> str:
    """Return an option's type, such as ``list of str``."""
    name = option.get("type", "str")
    return f"{name} of {option['elements']}" if "elements" in option else str(name)


def shown(default: Any) -> str:
    """Return a default as inline YAML."""
    if isinstance(default, str):
        return f"`{default}`" if default else '`""`'
    return f"`{json.dumps(default)}`" if default is not None else "none"


def meaning(option: Option) -> str:
    """Return an option's description as a table cell.

    Raises:
        Undocumented: there is none.
    """
    lines = option.get("description") or []
    lines = [lines] if isinstance(lines, str) else lines
    if not any(lines):
        raise Undocumented(f"an option has no description: {dict(option)}")
    text = prose(" ".join(lines))
    choices = option.get("choices")
    if choices:
        text += f" One of {', '.join(f'`{json.dumps(choice).strip(chr(34))}`' for choice in choices)}."
    return text.replace("|", "\\|")


def prose(text: str) -> str:
    """Convert Ansible's markup to Markdown."""
    return re.sub(r"\b[CVOIBPM]\(([^)]*)\)|\bRV\(([^)]*)\)", lambda found: f"`{found[1] or found[2]}`", text)


if __name__ == "__main__":
    try:
        for path, text in files():
            path.write_text(text)
    except Undocumented as error:
        sys.exit(f"reference: {error}")
