"""Find a secret in a text, in any form."""

from __future__ import annotations

import base64
import html
import json
import shlex
from collections.abc import Mapping
from urllib.parse import quote, quote_plus

import yaml

FORMS = ("raw", "part", "percent", "base64", "shell", "json", "yaml", "repr")


def forms(secret: str) -> dict[str, set[str]]:
    """Return the texts of each form of a secret."""
    percent = {quote(secret, safe=""), quote_plus(secret), quote(secret)}
    return {
        "raw": {secret},
        # The unique word, which is in every piece of an invented secret and at its end.
        "part": {secret.rpartition("-")[2]},
        "percent": percent | {text.lower() for text in percent},
        "base64": _base64(secret.encode()),
        "shell": {shlex.quote(secret), "'" + secret.replace("'", "'\\''") + "'"},
        "json": {json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1]},
        "yaml": {
            yaml.safe_dump(secret, allow_unicode=wide, width=10**6).removesuffix("...\n").rstrip("\n")
            for wide in (True, False)
        },
        "repr": {repr(secret)[1:-1], ascii(secret)[1:-1]},
    }


def traces(secrets: Mapping[str, str]) -> list[bytes]:
    """Return texts, one of which is in every text that has a secret in any form."""
    kept = (texts[form] for texts in map(forms, secrets.values()) for form in ("part", "base64"))
    return [text.encode() for texts in kept for text in texts]


def _base64(secret: bytes) -> set[str]:
    """Return the part that depends on the secret alone, at each offset, because ``user:secret`` is encoded as one."""
    found = set()
    for ahead, skip in ((0, 0), (1, 2), (2, 3)):
        text = base64.b64encode(b"\0" * ahead + secret).decode()
        part = text[skip : (ahead + len(secret)) * 8 // 6]
        found |= {part, part.replace("+", "-").replace("/", "_")}
    return found


def hits(channels: Mapping[str, str], secrets: Mapping[str, str]) -> list[str]:
    """Return each hit as ``channel: name (form)``, without the secret itself."""
    words = [trace.decode() for trace in traces(secrets)]
    needles = [
        (f"{name} ({form})", {text, " ".join(text.split())})
        for name, secret in secrets.items()
        for form, texts in forms(secret).items()
        for text in texts
    ]
    found = set()
    for channel, text in channels.items():
        if not any(word in text for word in words):
            continue
        # YAML and terminals fold lines, and JUnit is XML.
        seen = {text, " ".join(text.split()), html.unescape(text)}
        found |= {f"{channel}: {label}" for label, texts in needles for t in texts for s in seen if t in s}
    return sorted(found)
