"""The control node's wheels, taken in on the host; how they are fetched is in ``wheels``."""

from __future__ import annotations

import contextlib
import os
import shutil
import tarfile

from ansible.module_utils.project.root import NEW, Directory
from ansible.module_utils.reporting import Problem

UV = "uv"  # the program, beside the wheels


def unpack(path: str, into: Directory) -> None:
    """Take a kit in on the host: the flat files of an archive that came over SSH, given to the owner.

    It is taken from the end and shortened on the way, if the user may do that: a host needs no room for it twice.
    """
    with tarfile.open(path) as archive:
        for member in reversed(archive.getmembers()):
            content = archive.extractfile(member)
            if content is None or "/" in member.name:
                raise Problem(f"The wheels from the control node hold {member.name!r}, which is no wheel.")
            fd = os.open(member.name, NEW, 0o700 if member.name == UV else 0o600, dir_fd=into.fd)
            into.give(fd)
            with open(fd, "wb") as file:
                shutil.copyfileobj(content, file, 1 << 20)
            with contextlib.suppress(OSError):
                os.truncate(path, member.offset)
