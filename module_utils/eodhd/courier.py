"""A process that does the asking, so that a kill of the run loses no answer that is under way.

It is a fork that knows nothing but the service and the spool. Where the run ends, in whatever way, its channels close:
the courier brings what is under way into the spool and ends too.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import socket
import struct
import threading
import time
from collections.abc import Mapping
from typing import Any

from ansible.module_utils.eodhd.spool import Spool
from ansible.module_utils.eodhd.transport import Policy, Reply, Transport
from ansible.module_utils.reporting import Problem

_SIZES = struct.Struct(">IQ")
# Seconds that a courier without work is waited for at the end.
_FAREWELL = 5.0


class Courier:
    """Sends requests from a process of its own; to be made before any thread is.

    Args:
        transport: sends one request.
        spool: where each answer is kept before the run gets it.
        places: how many may be under way at once.
        policy: the transport's.
    """

    def __init__(
        self,
        transport: Transport,
        spool: Spool,
        places: int,
        policy: Policy = Policy(),  # noqa: B008 - frozen
    ) -> None:
        pairs = [socket.socketpair() for _ in range(max(1, places))]
        self._pid = os.fork()
        if self._pid == 0:
            try:
                for ours, _ in pairs:
                    ours.close()
                _serve(transport, spool, [theirs for _, theirs in pairs])
            finally:
                os._exit(0)
        self._channels: queue.SimpleQueue[socket.socket] = queue.SimpleQueue()
        self._open = [ours for ours, _ in pairs]
        for ours, theirs in pairs:
            theirs.close()
            # Every request ends by itself within the policy; this is for a courier that was stopped.
            ours.settimeout(policy.connect + policy.total + policy.read + 10)
            self._channels.put(ours)

    def send(self, path: str, query: Mapping[str, Any], name: str | None = None) -> Reply:
        """Make one request, its answer kept under ``name``.

        Raises:
            Problem: the courier is gone.
        """
        asked = {
            "path": path,
            "query": {key: value and str(value) for key, value in query.items()},
            "name": name,
        }
        channel = self._channels.get()
        try:
            _put(channel, asked)
            facts, body = _get(channel)
            return Reply(body=body, **facts)
        except OSError:
            raise Problem(
                "The process that asks EODHD was ended from outside. Run the same command again;"
                " the rest follows without paying twice."
            ) from None
        finally:
            self._channels.put(channel)

    def close(self) -> None:
        """Let the courier end; what is still under way it finishes alone."""
        for channel in self._open:
            channel.close()
        deadline = time.monotonic() + _FAREWELL
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(self._pid, os.WNOHANG) == (0, 0) and time.monotonic() < deadline:
                time.sleep(0.005)


def _serve(transport: Transport, spool: Spool, channels: list[socket.socket]) -> None:
    """The courier's whole life."""
    # Signals to the run's group are the run's affair, and its output must not be kept open.
    os.setsid()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    nowhere = os.open(os.devnull, os.O_RDWR)
    for standard in range(3):
        os.dup2(nowhere, standard)
    threads = [threading.Thread(target=_answer, args=(transport, spool, channel)) for channel in channels]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _answer(transport: Transport, spool: Spool, channel: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while True:
            asked, _ = _get(channel)
            with spool.under_way(asked["name"]) as keep:
                reply = transport.send(asked["path"], asked["query"])
                keep(reply)
            _put(
                channel,
                {"status": reply.status, "headers": dict(reply.headers), "fault": reply.fault},
                reply.body,
            )


def _put(channel: socket.socket, facts: Mapping[str, Any], body: bytes = b"") -> None:
    head = json.dumps(facts).encode()
    channel.sendall(_SIZES.pack(len(head), len(body)) + head)
    if body:
        channel.sendall(body)


def _get(channel: socket.socket) -> tuple[dict[str, Any], bytes]:
    """One message; OSError where the other side is gone."""
    head, body = _SIZES.unpack(_exactly(channel, _SIZES.size))
    facts: dict[str, Any] = json.loads(_exactly(channel, head))
    return facts, bytes(_exactly(channel, body))


def _exactly(channel: socket.socket, size: int) -> bytearray:
    content = bytearray(size)
    view, filled = memoryview(content), 0
    while filled < size:
        count = channel.recv_into(view[filled:])
        if not count:
            raise ConnectionResetError
        filled += count
    return content
