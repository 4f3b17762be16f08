"""The keys of ``.env`` that a reset owns: they are set, everything else in the file stays byte for byte.

Rules of the plan:

- A key of ours is replaced where it stands, ``export KEY=`` and quoted keys too. Of several the first one
  stays and the others go, so that python-dotenv and a shell agree on it and ``${KEY}`` below it works.
- A heading that is missing is put above the first key of its section, or at the end of the file. A key that
  stands below another heading of ours moves up to its own; none moves down, away from a ``${KEY}`` below it.
- A comment behind a value of ours goes to a line of its own above it.
- Lines of ours end in LF, also among CRLF lines: a shell would take the CR for a part of the value.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ansible.module_utils.database.server import Server
from ansible.module_utils.project.dotenv import Statement, decode, encode, parse
from ansible.module_utils.project.guards import DOTENV
from ansible.module_utils.reporting import Problem

# The variables of the flags, whose names differ.
SETTINGS = {"ENVIRONMENT": "environment_name", "DEBUG": "debug"}
_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_FIELDS = {"HOST": "host", "PORT": "port", "USER": "user", "PASSWORD": "password", "DB": "database"}


# Our keys with their values, under their comment headings, in order.
Sections = Mapping[str, Mapping[str, str]]


@dataclass(frozen=True)
class Edit:
    """What the file becomes."""

    content: bytes  # all of it, secrets included
    added: tuple[str, ...]  # names of our keys, as the next two
    changed: tuple[str, ...]
    unchanged: tuple[str, ...]
    notes: tuple[str, ...]  # what a user should know of the lines that are not ours


def text_of(key: str, value: object, variable: str) -> str:
    """Return a value as text: true and false for a boolean, digits for a number.

    Problem names the key, or the ``variable`` where the user sets what cannot be written; never the value itself.
    """
    if not _KEY.fullmatch(key):
        raise Problem(
            f"{key!r} is no name for a key of .env: letters, digits and underscores only ({variable})."
        )
    if isinstance(value, bool):
        return str(value).lower()
    if not isinstance(value, (str, int, float)):
        raise Problem(f"{key} must be one text or number, not a {type(value).__name__} ({variable}).")
    text = str(value)
    if re.search("[\r\n\0]", text):
        raise Problem(
            f"{key} holds a line break or a NUL character, which no .env can carry."
            f" Set {variable} to one line; YAML's block style `|` appends a line break, `|-` does not."
        )
    try:
        text.encode()
    except UnicodeEncodeError:
        raise Problem(f"{key} holds a character that UTF-8 cannot carry. Set {variable} again.") from None
    return text


def sections(
    connection: Mapping[str, Any],
    api_keys: Mapping[str, object],
    flags: Mapping[str, object],
    extra: Mapping[str, object],
) -> Sections:
    """Return the keys that a reset owns, under their headings, with their values.

    ``DB_URL`` is made of the ``connection``; the keys of ``extra``, the user's ``project_env``, follow the flags.
    Raises Problem if a value cannot be written, or ``extra`` sets a key that another variable sets.
    """
    database = {
        f"POSTGRES_{name}": text_of(f"POSTGRES_{name}", connection[field], f"postgres_{name.lower()}")
        for name, field in _FIELDS.items()
    }
    keys = {key: text_of(key, value, key.lower()) for key, value in api_keys.items()}
    switches = {key: text_of(key, value, SETTINGS.get(key, key)) for key, value in flags.items()}
    taken = {"DB_URL", *database, *keys, *switches} & set(extra)
    if taken:
        raise Problem(
            f"project_env sets {', '.join(sorted(taken))}, which have variables of their own"
            ". Set those, and take the names out of project_env."
        )
    own = {key: text_of(key, value, "project_env") for key, value in extra.items()}
    return {
        "Database Configuration": {"DB_URL": Server(**connection).url(), **database},
        "API Keys": keys,
        "Environment Flags": {**switches, **own},
    }


def plan(old: bytes | None, sections: Sections) -> Edit:
    """Decide what a file becomes, None if there is none; see the rules at the top of this module.

    Problem names the line of a quote above our keys that is not closed, and would swallow them.
    """
    # Bytes that are no UTF-8 pass through as surrogates.
    before = (old or b"").decode("utf-8", "surrogateescape")
    mark = "\ufeff" if before.startswith("\ufeff") else ""
    statements = parse(before[len(mark) :])
    wanted = {key: value for values in sections.values() for key, value in values.items()}
    lines = {key: f"{key}={encode(value)}\n" for key, value in wanted.items()}

    text, placed = _lay_out(statements, sections, lines)
    _verify(statements, parse(text), wanted)

    texts: dict[str | None, list[str]] = {}
    for statement in statements:
        texts.setdefault(statement.key, []).append(statement.text)
    exact = {key for key in placed if texts[key] == [lines[key]]}
    return Edit(
        content=(mark + text).encode("utf-8", "surrogateescape"),
        added=tuple(key for key in wanted if key not in texts),
        changed=tuple(key for key in wanted if key in texts and key not in exact),
        unchanged=tuple(key for key in wanted if key in exact),
        notes=_notes(statements),
    )


def astray(text: str, sections: Sections) -> list[str]:
    """Return our keys that do not stand under the heading of their section in a file's text."""
    home = {key: heading for heading, values in sections.items() for key in values}
    current, settled = None, set()
    for statement in parse(text):
        current = _heading(statement.text, sections) or current
        if statement.key and home.get(statement.key) == current:
            settled.add(statement.key)
    return [key for key in home if key not in settled]


def _notes(statements: Sequence[Statement]) -> tuple[str, ...]:
    undecodable = [s.line for s in statements if re.search("[\udc80-\udcff]", s.text)]
    invalid = [s.line for s in statements if not s.valid]
    notes = []
    if undecodable:
        notes.append(
            f"{DOTENV} is not UTF-8 (line {_list(undecodable)}), so python-dotenv cannot read any of it."
            " Save it as UTF-8."
        )
    if invalid:
        notes.append(f"{DOTENV}: python-dotenv ignores line {_list(invalid)}, which is no KEY=value. Fix it.")
    return tuple(notes)


def _list(numbers: Sequence[int]) -> str:
    return ", ".join(str(number) for number in numbers)


def _lay_out(
    statements: Sequence[Statement], sections: Sections, lines: Mapping[str, str]
) -> tuple[str, set[str]]:
    """Return the new text, and our keys that stand where they stood."""
    home = {key: heading for heading, values in sections.items() for key in values}
    in_file = {_heading(statement.text, sections) for statement in statements}
    pieces: list[list[str]] = []
    ends: dict[str, list[str]] = {}  # of each section met so far: the piece that its next key follows
    comments: dict[str, str] = {}
    met: set[str] = set()
    placed: set[str] = set()
    current = None

    for statement in statements:
        heading, key = _heading(statement.text, sections), statement.key
        if key is None or key not in home:
            pieces.append([statement.blank + statement.text])
            if heading is not None:
                current = heading
                ends.setdefault(heading, pieces[-1])
            continue
        pieces.append([statement.blank])
        comment = statement.comment + "\n"
        if not comment.strip() or _heading(comment, sections):
            comment = ""
        section = home[key]
        if key in met:
            pieces.append([comment])
            continue
        met.add(key)
        if section not in in_file and section not in ends:
            current = section
            pieces.append([f"# {section}\n"])
            ends[section] = pieces[-1]
        if section in ends and current != section:
            comments[key] = comment  # it moves up
            continue
        pieces.append([comment + lines[key]])
        placed.add(key)
        if section in ends:
            ends[section] = pieces[-1]

    for heading, values in sections.items():
        missing = "".join(comments.get(key, "") + lines[key] for key in values if key not in placed)
        if heading in ends:
            ends[heading].append(missing)
        elif missing:
            blank = "\n" if any(any(piece) for piece in pieces) else ""
            pieces.append([f"{blank}# {heading}\n{missing}"])
    return _join([part for piece in pieces for part in piece]), placed


def _heading(text: str, sections: Sections) -> str | None:
    mark, _, heading = text.strip().partition(" ")
    return heading if mark == "#" and heading in sections else None


def _join(parts: Sequence[str]) -> str:
    """Put the parts together, each on lines of its own."""
    text = ""
    for part in parts:
        if part and text and not text.endswith("\n"):
            text += "\n"
        text += part
    return text


def _verify(before: Sequence[Statement], after: Sequence[Statement], wanted: Mapping[str, str]) -> None:
    """Compare what was meant with what python-dotenv will make of it."""
    found = [(s.key, decode(s.value or "")) for s in after if s.key and s.key in wanted]
    foreign = [
        [s.text.rstrip("\r\n") for s in statements if s.key not in wanted and (s.key or not s.valid)]
        for statements in (before, after)
    ]
    if sorted(found) == sorted(wanted.items()) and foreign[0] == foreign[1]:
        return
    lines = _list([s.line for s in before if not s.valid])
    raise Problem(
        f"{DOTENV} cannot be completed: a quote that is not closed would swallow what follows it."
        f" Fix or remove what cannot be read{f' (line {lines})' if lines else ''}, then run again."
    )
