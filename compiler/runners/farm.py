"""A farm of devices: TVM's RPC tracker says which of them is free, and `emission/runtime/server.c` runs on each.

Of TVM's protocol the tracker's part is spoken: JSON behind a magic number. A session with a device begins as TVM's do;
what follows is our own, and stands in server.c.
"""

from __future__ import annotations

import json
import re
import select
import socket
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...errors import DeviceLostError, ToolError, UsageError
from ..library.signature import Signature
from .device import Ended

_TRACKER_MAGIC, _MAGIC = 0x2F271, 0xFF271
_REQUEST, _SUMMARY = 4, 6  # codes of the tracker
_USER, _PRIORITY = "tilewright", 1
_NAME = re.compile(r"(?P<host>[^/]+):(?P<port>\d{1,5})/(?P<key>[A-Za-z0-9_.-]{1,100})")
_CONNECT_SECONDS = 10.0
_LOOK_SECONDS = 5.0  # how often to look whether there is a device at all, while one is waited for
_MORE_SECONDS = 60.0  # how much longer than a program may take its answer may


@dataclass(frozen=True)
class Farm:
    """Devices of a kind; each program is executed by one that is free."""

    host: str
    port: int
    key: str

    def execute(self, signature: Signature, folder: Path, command: list[str], seconds: float = 3600.0) -> Ended:
        """Sends the folder to a device, executes there, and fetches what was written."""
        sent = sorted(folder.iterdir())
        with self._session() as session:
            for path in sent:
                session.ask(b"put", path.name.encode(), path.read_bytes())
            session.wait(seconds + _MORE_SECONDS)
            code, printed, errors = session.ask(b"run", str(seconds).encode(), *(word.encode() for word in command))
            session.wait(_MORE_SECONDS)
            for name in command:
                if name.endswith(".bin") and folder / name not in sent:
                    found = session.asked(b"get", name.encode())
                    if found is not None:
                        (folder / name).write_bytes(found[0])
        ended = None if code == b"late" else int(code)
        return Ended(ended, printed.decode(errors="replace"), errors.decode(errors="replace"))

    def count(self) -> int:
        """How many devices of its kind are there, busy or not.

        Raises:
            DeviceLostError: there is none, or no tracker.
        """
        with self._lost(), self._tracker() as tracker:
            _send(tracker, [_SUMMARY])
            _, found = _read(tracker)
        count = sum(1 for each in found["server_info"] if each.get("key") == f"server:{self.key}")
        if not count:
            raise DeviceLostError(
                f"the farm has no device {self.key!r}",
                where=str(self),
                hint=f"tilewright serve --tracker {self.host}:{self.port} --key {self.key} lends one",
            )
        return count

    def __str__(self) -> str:
        return f"rpc:{self.host}:{self.port}/{self.key}"

    @contextmanager
    def _session(self) -> Iterator[_Session]:
        """A device for as long as the block lasts."""
        self.count()  # a request for a device that nobody has is never answered
        with self._lost():
            with self._tracker() as tracker:
                _send(tracker, [_REQUEST, self.key, _USER, _PRIORITY])
                while not select.select([tracker], [], [], _LOOK_SECONDS)[0]:
                    self.count()  # all are busy; if they are gone, there will be no answer
                _, (host, port, match) = _read(tracker)
            with socket.create_connection((host, port), _CONNECT_SECONDS) as device:
                device.settimeout(_MORE_SECONDS)
                greeting = f"client:{match}".encode()
                device.sendall(struct.pack("<ii", _MAGIC, len(greeting)) + greeting)
                if _number(device) != _MAGIC:
                    raise ConnectionError("it was given to somebody else")
                name = _received(device, _number(device)).decode()
                if not name.startswith("tilewright:"):
                    raise ToolError(
                        f"the device runs another server: {name}",
                        where=str(self),
                        hint="start the one that tilewright serve makes",
                    )
                yield _Session(device, str(self))

    @contextmanager
    def _tracker(self) -> Iterator[socket.socket]:
        with socket.create_connection((self.host, self.port), _CONNECT_SECONDS) as tracker:
            tracker.sendall(struct.pack("<i", _TRACKER_MAGIC))
            if _number(tracker) != _TRACKER_MAGIC:
                raise ConnectionError("it is no RPC tracker")
            yield tracker

    @contextmanager
    def _lost(self) -> Iterator[None]:
        try:
            yield
        except (OSError, ValueError, TypeError, struct.error) as error:
            raise DeviceLostError(
                f"the farm does not answer: {error}",
                where=str(self),
                hint=f"start a tracker there, python -m tvm.exec.rpc_tracker --host 0.0.0.0 --port {self.port}, and "
                f"lend devices: tilewright serve --tracker {self.host}:{self.port} --key {self.key}",
            ) from error


class _Session:
    """Requests of one device."""

    def __init__(self, device: socket.socket, where: str) -> None:
        self._device = device
        self._where = where
        self._why = ""

    def wait(self, seconds: float) -> None:
        """How long the next answer may take."""
        self._device.settimeout(seconds)

    def asked(self, *fields: bytes) -> list[bytes] | None:
        """What a request is answered by, without its first word; None: it failed."""
        self._device.sendall(_framed(fields))
        count = _number(self._device)
        answer = [_received(self._device, struct.unpack("<Q", _received(self._device, 8))[0]) for _ in range(count)]
        if answer[0] != b"ok":
            self._why = answer[-1].decode(errors="replace")
            return None
        return answer[1:]

    def ask(self, *fields: bytes) -> list[bytes]:
        """The same of a request that must not fail."""
        found = self.asked(*fields)
        if found is None:
            raise DeviceLostError(f"the device cannot do its work: {self._why}", where=self._where)
        return found


def _framed(fields: Sequence[bytes]) -> bytes:
    parts = [struct.pack("<I", len(fields))]
    for field in fields:
        parts += [struct.pack("<Q", len(field)), field]
    return b"".join(parts)


def _send(tracker: socket.socket, request: Sequence[object]) -> None:
    text = json.dumps(request).encode()
    tracker.sendall(struct.pack("<i", len(text)) + text)


def _read(tracker: socket.socket) -> Any:
    return json.loads(_received(tracker, _number(tracker)))


def _number(sender: socket.socket) -> int:
    number: int = struct.unpack("<i", _received(sender, 4))[0]
    return number


def _received(sender: socket.socket, count: int) -> bytes:
    data = bytearray()
    while len(data) < count:
        part = sender.recv(min(count - len(data), 1 << 20))
        if not part:
            raise ConnectionError("it hung up")
        data += part
    return bytes(data)


def farm_of(text: str) -> Farm:
    """The farm that ``HOST:PORT/KEY`` names.

    Raises:
        UsageError: it names none.
    """
    found = _NAME.fullmatch(text)
    if found is None:
        raise UsageError(f"{text!r} is no farm of devices", where="--device", hint="write rpc:HOST:PORT/KEY")
    return Farm(found["host"], int(found["port"]), found["key"])
