"""The syntax of ``.env``: parse its statements, encode and decode values.

The application reads the file with python-dotenv, so this module follows python-dotenv's grammar (``parser.py`` of
version 1.2). The target's own Python does not have that package.
"""

from __future__ import annotations

import re
from typing import NamedTuple, cast


class Statement(NamedTuple):
    """One statement of the file, as python-dotenv splits it."""

    line: int  # number of its first line, from 1
    blank: str  # the blank lines before it
    text: str  # the rest, with the line ending
    key: str | None = None
    value: str | None = None  # None if there is only a key; ``${…}`` is not resolved
    comment: str = ""  # the comment behind the value, from the ``#`` on
    valid: bool = True  # False if python-dotenv ignores it


# --- values ------------------------------------------------------------------------------------------------

_PLAIN = re.compile(r"[A-Za-z0-9_@%+=:,./-]*")


def encode(value: str) -> str:
    """Return a value as it is written behind ``KEY=``.

    python-dotenv expands ``${NAME}`` in both kinds of quotes. ``${:-$}``, an empty name with a default, yields a
    ``$`` that is not expanded again. python-dotenv up to 1.2.1 takes a quote behind a backslash for an escaped one,
    so ``${:-}``, which yields nothing, separates a backslash from the closing quote.

    A shell reads the same value, unless the value holds ``${``, ends in a backslash, or holds a single quote or a
    backslash together with ``$`` or a backtick. No text means the same to both then.
    """
    if _PLAIN.fullmatch(value):
        return value
    escaped = value.replace("\\", "\\\\")
    separator = "${:-}" if value.endswith("\\") else ""
    if re.search(r"['\\]", value) and not re.search("[$`]", value) and not separator:
        return '"' + escaped.replace('"', '\\"') + '"'
    return "'" + escaped.replace("'", "\\'").replace("${", "${:-$}{") + separator + "'"


_VARIABLE = re.compile(r"\$\{[^}:]*(?::-([^}]*))?\}")


def decode(value: str) -> str:
    """Return a parsed value with each ``${NAME:-default}`` replaced by its default."""
    return _VARIABLE.sub(lambda found: found[1] or "", value)


# --- grammar -----------------------------------------------------------------------------------------------

# The optional parts match in order, each as a whole. If anything is left before the end of the line, it is invalid.
_STATEMENT = re.compile(
    r"""
    (?: export[^\S\r\n]+ )?
    (?P<assignment>
        (?: (?=\#) | '(?P<quoted_key>[^']+)' | (?!') (?P<key>[^=\#\s]+) )
        [^\S\r\n]*
        (?P<value>
            = [^\S\r\n]* (?![^\S\r\n])
            (?: '(?P<single>(?:\\.|[^'\\])*)' | "(?P<double>(?:\\.|[^"\\])*)"
                | (?<=[^\S\r\n]) (?=\#) | (?!['"]) (?P<plain>[^\r\n]*) )
        )?
        (?: [^\S\r\n]* (?P<comment>\#[^\r\n]*) )?
    )?
    (?: [^\S\r\n]* (?:\r\n|\n|\r|\Z) | (?P<invalid>[^\r\n]*(?:\r\n|\r|\n)?) )
    """,
    re.VERBOSE | re.DOTALL,
)
_SPACE = re.compile(r"\s*")
_LINE_END = re.compile("\r\n|\r|\n")
_ESCAPES = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}


def parse(text: str) -> list[Statement]:
    """Return the statements of a file; joined, they are ``text`` again."""
    statements: list[Statement] = []
    at, line = 0, 1
    while at < len(text):
        space = cast("re.Match[str]", _SPACE.match(text, at))
        found = cast("re.Match[str]", _STATEMENT.match(text, space.end()))
        blank = re.sub(r"[^\r\n]*\Z", "", space[0])
        body = text[at + len(blank) : found.end()]
        line += len(_LINE_END.findall(blank))
        if space.end() == len(text):
            statements.append(Statement(line, blank, body))
        elif found["assignment"] is None or found["invalid"] is not None:
            statements.append(Statement(line, blank, body, valid=False))
        else:
            key = found["quoted_key"] or found["key"]
            statements.append(Statement(line, blank, body, key, *_value(found)))
        line += len(_LINE_END.findall(body))
        at = found.end()
    return statements


def _value(found: re.Match[str]) -> tuple[str | None, str]:
    """Return the value of an assignment, and the comment behind it."""
    comment = found["comment"] or ""
    if found["value"] is None:
        return None, comment
    if found["single"] is not None:
        return re.sub(r"\\([\\'])", r"\1", found["single"]), comment
    if found["double"] is not None:
        escaped = re.compile(r"\\([\\'\"abfnrtv])")
        return escaped.sub(lambda each: _ESCAPES.get(each[1], each[1]), found["double"]), comment
    plain = found["plain"] or ""
    behind = re.search(r"\s+(#.*)", plain)
    return (plain[: behind.start()].rstrip(), behind[1]) if behind else (plain.rstrip(), comment)
