"""Write ``.env`` in a root: set the keys that a reset manages; everything else in the file stays byte for byte.

Rules:

- A managed key is replaced in place, ``export KEY=`` and quoted keys too. If it occurs several times, only the first
  one stays, so that python-dotenv and a shell read the same value and ``${KEY}`` below it works.
- A heading that is missing above the first key of its section is added there; without such a key, at the end of the
  file. A key under another managed heading moves up to its own. No key moves down, because a ``${KEY}`` above it would
  no longer work.
- A comment behind a managed value moves to a line of its own above it.
- Managed lines end in LF, even among CRLF lines: a shell would read the CR as a part of the value.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from ansible.module_utils.database.server import KEYS, Server
from ansible.module_utils.project.dotenv import Statement, decode, encode, parse
from ansible.module_utils.project.guards import DOTENV
from ansible.module_utils.project.opening import OpenRoot
from ansible.module_utils.project.quarantine import BUILD, Manifest, Quarantine
from ansible.module_utils.project.root import Directory
from ansible.module_utils.project.stages import Proof, Stage, difference
from ansible.module_utils.reporting import Problem

# The settings whose names differ from those of their keys.
SETTINGS = {"ENVIRONMENT": "environment_name", "DEBUG": "debug"}
_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_MODE = 0o600

# The managed keys with their values, by comment heading, in order.
Sections = Mapping[str, Mapping[str, str]]


class Edit(NamedTuple):
    """The new content of the file, and what changed."""

    content: bytes  # the whole file, with secrets
    added: list[str]  # names of managed keys, like the next two
    changed: list[str]
    unchanged: list[str]
    notes: list[str]  # what the user should know about the other lines


def text_of(key: str, value: object, variable: str) -> str:
    """Return a value as text: true or false for a boolean, digits for a number.

    Raises Problem if it cannot be written. The message names the key and the ``variable``, but never the value.
    """
    if not _KEY.fullmatch(key):
        raise Problem(
            f"{key!r} is not a valid key for .env. Use only letters, digits and underscores in {variable},"
            " and do not begin with a digit."
        )
    if isinstance(value, bool):
        return str(value).lower()
    if not isinstance(value, (str, int, float)):
        raise Problem(f"{key} is a {type(value).__name__}. Set {variable} to a text or a number.")
    text = str(value)
    if re.search("[\r\n\0]", text):
        raise Problem(
            f"{key} has a line break or a NUL character, which .env cannot hold. Set {variable} to one line;"
            " YAML's block style `|` adds a line break, `|-` does not."
        )
    try:
        text.encode()
    except UnicodeEncodeError:
        raise Problem(f"{key} has a character that UTF-8 cannot encode. Set {variable} again.") from None
    return text


def sections(
    connection: Mapping[str, Any],
    api_keys: Mapping[str, object],
    flags: Mapping[str, object],
    extra: Mapping[str, object],
) -> Sections:
    """Return the managed keys with their values, by heading.

    ``DB_URL`` is built from the ``connection``. The keys of ``extra``, the user's ``project_env``, follow the flags.
    Raises Problem if a value cannot be written, or if ``extra`` sets a key that another variable sets.
    """
    database = {key: text_of(key, connection[field], key.lower()) for key, field in KEYS.items()}
    keys = {key: text_of(key, value, key.lower()) for key, value in api_keys.items()}
    switches = {key: text_of(key, value, SETTINGS.get(key, key)) for key, value in flags.items()}
    taken = {"DB_URL", *database, *keys, *switches} & set(extra)
    if taken:
        raise Problem(
            f"project_env sets {', '.join(sorted(taken))}, but these keys have variables of their own."
            " Set those, and remove the keys from project_env."
        )
    own = {key: text_of(key, value, "project_env") for key, value in extra.items()}
    return {
        "Database Configuration": {"DB_URL": Server(**connection).url(), **database},
        "API Keys": keys,
        "Environment Flags": {**switches, **own},
    }


def edited(old: bytes | None, sections: Sections) -> Edit:
    """Return the new content of a file, by the rules at the top of this module; ``old`` is None if it is missing.

    Raises Problem if an unclosed quote would make the managed keys part of a value; the message names its line.
    """
    # Bytes that are not UTF-8 are kept as surrogates.
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
        added=[key for key in wanted if key not in texts],
        changed=[key for key in wanted if key in texts and key not in exact],
        unchanged=[key for key in wanted if key in exact],
        notes=_notes(statements),
    )


def astray(text: str, sections: Sections) -> list[str]:
    """Return the managed keys that are not under the heading of their section."""
    home = {key: heading for heading, values in sections.items() for key in values}
    current, settled = None, set()
    for statement in parse(text):
        current = _heading(statement.text, sections) or current
        if statement.key and home.get(statement.key) == current:
            settled.add(statement.key)
    return [key for key in home if key not in settled]


def _notes(statements: Sequence[Statement]) -> list[str]:
    undecodable = [s.line for s in statements if re.search("[\udc80-\udcff]", s.text)]
    invalid = [s.line for s in statements if not s.valid]
    notes = []
    if undecodable:
        notes.append(
            f"{DOTENV} is not UTF-8 (line {_list(undecodable)}), so python-dotenv cannot read any of it."
            " Save it as UTF-8."
        )
    if invalid:
        notes.append(
            f"{DOTENV}: python-dotenv ignores line {_list(invalid)}, which is not KEY=value. Fix it."
        )
    return notes


def _list(numbers: Sequence[int]) -> str:
    return ", ".join(str(number) for number in numbers)


def _lay_out(
    statements: Sequence[Statement], sections: Sections, lines: Mapping[str, str]
) -> tuple[str, set[str]]:
    """Return the new text, and the managed keys that kept their place."""
    home = {key: heading for heading, values in sections.items() for key in values}
    pieces: list[list[str]] = []
    ends: dict[str, list[str]] = {}  # by section: the piece after which its next key goes
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
        if section not in ends:
            current = section
            pieces.append([f"# {section}\n"])
            ends[section] = pieces[-1]
        if current != section:
            comments[key] = comment  # it moves up
            continue
        pieces.append([comment + lines[key]])
        placed.add(key)
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
    """Join the parts, each on lines of its own."""
    text = ""
    for part in parts:
        if part and text and not text.endswith("\n"):
            text += "\n"
        text += part
    return text


def _verify(before: Sequence[Statement], after: Sequence[Statement], wanted: Mapping[str, str]) -> None:
    """Raise Problem unless python-dotenv will read the managed keys as wanted and the others as before."""
    found = [(s.key, decode(s.value or "")) for s in after if s.key and s.key in wanted]
    foreign = [
        [s.text.rstrip("\r\n") for s in statements if s.key not in wanted and (s.key or not s.valid)]
        for statements in (before, after)
    ]
    if sorted(found) == sorted(wanted.items()) and foreign[0] == foreign[1]:
        return
    lines = _list([s.line for s in before if not s.valid])
    raise Problem(
        f"{DOTENV} cannot be completed, because what follows an unclosed quote would become part of its value."
        f" Fix or remove the invalid lines{f' (line {lines})' if lines else ''}, then run again."
    )


def plan(root: OpenRoot, params: dict[str, Any]) -> Stage:
    """Plan what would change; raises Problem. The module's documentation explains ``params``."""
    folder, sections = root.folder, wanted(params)
    old = _read(folder)
    new = edited(old, sections)
    settled = old is None or _settled(folder)
    header = f"{params['root']}/{DOTENV} (managed keys)"
    same = [f"{key}=***\n" for key in new.unchanged]
    before = [*same, *(f"{key}=*** (old)\n" for key in new.changed)]
    after = [*same, *(f"{key}=*** (new)\n" for key in new.changed + new.added)]
    if not settled:
        before.insert(0, "(mode or owner other than wanted)\n")
    result = {
        "changed": old != new.content or not settled,
        "managed": {"added": new.added, "changed": new.changed, "unchanged": new.unchanged},
        "notes": new.notes,
        "diff": difference(before, after, header, header),
    }

    def apply(quarantine: Quarantine, run: Manifest) -> Manifest:
        # Read again: somebody may have changed the file while an earlier stage ran.
        content = edited(_read(folder), sections).content
        with quarantine.state.enter(BUILD) as build:
            try:
                build.write_new(DOTENV, content, _MODE)
                if build.read(DOTENV) != content:
                    raise OSError(errno.EIO, "the file does not read back as written", DOTENV)
                return quarantine.displace(run, [DOTENV], put=build)
            finally:
                build.remove(DOTENV)  # still there only after an error

    keys = [key for values in sections.values() for key in values]
    return Stage(result, apply, lambda: proofs(folder, keys))


def wanted(params: dict[str, Any]) -> Sections:
    """Return what ``.env`` has to hold, from a module's parameters."""
    return sections(params["connection"], params["api_keys"] or {}, params["flags"], params["extra"] or {})


def _read(root: Directory) -> bytes | None:
    found = root.stat(DOTENV)
    if found is not None and not stat.S_ISREG(found.st_mode):
        kind = "a link" if stat.S_ISLNK(found.st_mode) else "not a file"
        raise Problem(
            f"{root.path}/{DOTENV} is {kind}. A reset follows no link and writes only regular files. Replace it by a"
            " regular file, or move it away."
        )
    return root.read(DOTENV)


def _settled(root: Directory) -> bool:
    found = root.stat(DOTENV)
    if found is None or stat.S_IMODE(found.st_mode) != _MODE:
        return False
    owner = os.fstat(root.fd)
    return os.geteuid() != 0 or (found.st_uid, found.st_gid) == (owner.st_uid, owner.st_gid)


def proofs(folder: Directory, names: Sequence[str]) -> Iterator[Proof]:
    """Check that ``.env`` is private and holds each key once."""
    found = folder.stat(DOTENV)
    mode = f"{stat.S_IMODE(found.st_mode):04o}" if found else "missing"
    yield Proof(f"{DOTENV} mode", f"{_MODE:04o}", mode)
    text = (folder.read(DOTENV) or b"").decode("utf-8", "surrogateescape")
    seen = [statement.key for statement in parse(text)]
    wrong = [name for name in names if seen.count(name) != 1]
    counts = f"not once: {', '.join(wrong)}" if wrong else "each once"
    yield Proof(f"{DOTENV} keys", "each once", counts)
