"""The language of a ``.env``: its statements, and a value as it is written and read.

The application reads the file with python-dotenv, so its grammar decides what a statement is (its
``parser.py``, 1.2). It is repeated here because the target's own Python does not have that package.
"""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Statement:
    """One statement of the file, as python-dotenv separates them.

    Attributes:
        line: number of its first line, from 1.
        blank: the blank lines before it.
        text: all the rest, its end of line included.
        key, value: of an assignment; the value is None for a key alone, and ``${…}`` is not resolved.
        comment: what follows on the line, from the ``#`` on.
        valid: False if python-dotenv drops it.
    """

    line: int
    blank: str
    text: str
    key: str | None = None
    value: str | None = None
    comment: str = ""
    valid: bool = True


# --- values ------------------------------------------------------------------------------------------------

_PLAIN = re.compile(r"[A-Za-z0-9_@%+=:,./-]*")


def encode(value: str) -> str:
    """Return a value as it is written behind ``KEY=``.

    python-dotenv expands ``${NAME}`` in every kind of quotes. ``${:-$}``, an empty name with a default,
    yields a ``$`` that is not looked at again. A backslash does not stand before the closing quote, for
    python-dotenv up to 1.2.1 takes the quote for an escaped one; ``${:-}``, nothing, parts them.

    A shell reads the same, except for a value that holds ``${``, ends in a backslash, or holds a single
    quote or a backslash together with ``$`` or a backtick: no text means the same to both.
    """
    if _PLAIN.fullmatch(value):
        return value
    escaped = value.replace("\\", "\\\\")
    apart = "${:-}" if value.endswith("\\") else ""
    if re.search(r"['\\]", value) and not re.search("[$`]", value) and not apart:
        return '"' + escaped.replace('"', '\\"') + '"'
    return "'" + escaped.replace("'", "\\'").replace("${", "${:-$}{") + apart + "'"


_VARIABLE = re.compile(r"\$\{[^}:]*(?::-([^}]*))?\}")


def decode(value: str) -> str:
    """Return a parsed value with ``${NAME:-default}`` resolved if no name is defined."""
    return _VARIABLE.sub(lambda found: found[1] or "", value)


# --- grammar -----------------------------------------------------------------------------------------------

_BLANK = re.compile(r"\s*")
_SPACE = re.compile(r"[^\S\r\n]*")
_EXPORT = re.compile(r"(?:export[^\S\r\n]+)?")
_QUOTED_KEY = re.compile(r"'([^']+)'")
_UNQUOTED_KEY = re.compile(r"([^=\#\s]+)")
_EQUALS = re.compile(r"=[^\S\r\n]*")
_SINGLE = re.compile(r"'((?:\\.|[^'\\])*)'", re.DOTALL)
_DOUBLE = re.compile(r'"((?:\\.|[^"\\])*)"', re.DOTALL)
_UNQUOTED = re.compile(r"[^\r\n]*")
_COMMENT = re.compile(r"(?:[^\S\r\n]*(#[^\r\n]*))?")
_END = re.compile(r"[^\S\r\n]*(?:\r\n|\n|\r|\Z)")
_REST = re.compile(r"[^\r\n]*(?:\r\n|\r|\n)?")
_ESCAPES = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}


class _Unparsable(Exception):
    pass


class _Cursor:
    def __init__(self, text: str, at: int) -> None:
        self.text = text
        self.at = at

    def take(self, pattern: re.Pattern[str]) -> re.Match[str]:
        match = pattern.match(self.text, self.at)
        if match is None:
            raise _Unparsable
        self.at = match.end()
        return match

    def next(self) -> str:
        return self.text[self.at : self.at + 1]


def parse(text: str) -> list[Statement]:
    """Return the statements of a file; put together again they are ``text``."""
    statements: list[Statement] = []
    cursor, line = _Cursor(text, 0), 1
    while cursor.at < len(text):
        start = cursor.at
        blank = re.sub(r"[^\r\n]*\Z", "", cursor.take(_BLANK)[0])
        key, value, comment, valid = _assignment(cursor)
        body = text[start + len(blank) : cursor.at]
        line += len(re.findall("\r\n|\r|\n", blank))
        statements.append(Statement(line, blank, body, key, value, comment, valid))
        line += len(re.findall("\r\n|\r|\n", body))
    return statements


def _assignment(cursor: _Cursor) -> tuple[str | None, str | None, str, bool]:
    if not cursor.next():
        return None, None, "", True
    try:
        cursor.take(_EXPORT)
        key = None
        if cursor.next() != "#":
            key = cursor.take(_QUOTED_KEY if cursor.next() == "'" else _UNQUOTED_KEY)[1]
        cursor.take(_SPACE)
        value, comment = None, ""
        if cursor.next() == "=":
            spaced = len(cursor.take(_EQUALS)[0]) > 1
            value, comment = ("", "") if spaced and cursor.next() == "#" else _value(cursor)
        comment = cursor.take(_COMMENT)[1] or comment
        cursor.take(_END)
    except _Unparsable:
        cursor.take(_REST)
        return None, None, "", False
    return key, value, comment, True


def _value(cursor: _Cursor) -> tuple[str, str]:
    """Take a value, and the comment behind it if it is not quoted."""
    quote = cursor.next()
    if quote == "'":
        return re.sub(r"\\([\\'])", r"\1", cursor.take(_SINGLE)[1]), ""
    if quote == '"':
        quoted = cursor.take(_DOUBLE)[1]
        return re.sub(r"\\([\\'\"abfnrtv])", lambda found: _ESCAPES.get(found[1], found[1]), quoted), ""
    part = cursor.take(_UNQUOTED)[0]
    found = re.search(r"\s+(#.*)", part)
    return (part[: found.start()].rstrip(), found[1]) if found else (part.rstrip(), "")
