"""Archives for the tests: kits and wheels of a few bytes."""

from __future__ import annotations

import io
import tarfile
import zipfile
from pathlib import Path


def pack(path: Path, contents: dict[str, bytes]) -> str:
    """Write an archive of these files; return its path."""
    with tarfile.open(path, "w") as archive:
        for name, content in contents.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return str(path)


def wheel(sources: dict[str, bytes]) -> bytes:
    """Return a wheel of these sources, without metadata."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as made:
        for name, source in sources.items():
            made.writestr(name, source)
    return content.getvalue()
