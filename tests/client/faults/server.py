"""A server on loopback that does to each connection what a test asks for, byte by byte."""

from __future__ import annotations

import os
import re
import socket
import stat
import struct
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

END_OF_HEAD = b"\r\n\r\n"
PATIENCE_SECONDS = 15.0
"""A connection of which the client neither sends nor closes anything for this long is given up."""


@dataclass
class Request:
    """One request as it arrived."""

    head: bytes
    body: bytes

    @property
    def streams(self) -> bool:
        """True if it asks for a stream."""
        return b'"stream":true' in self.body.replace(b" ", b"")

    @property
    def path(self) -> str:
        """Its path."""
        return self.head.split(b" ", 2)[1].decode()

    def header(self, name: str) -> str | None:
        """Return the value of a header."""
        found = re.search(rb"\r\n" + name.encode() + rb": *([^\r\n]*)", self.head, re.IGNORECASE)
        return found[1].decode() if found else None


@dataclass
class Connection:
    """One connection of a client."""

    sock: socket.socket
    server: FaultServer
    number: int
    _received: bytearray = field(default_factory=bytearray)

    def request(self) -> Request | None:
        """Return the next request; None when the client closed the connection."""
        while (end := self._received.find(END_OF_HEAD)) < 0:
            if not self._receive():
                return None
        head = bytes(self._received[:end])
        length = re.search(rb"\r\ncontent-length: *(\d+)", head, re.IGNORECASE)
        total = end + len(END_OF_HEAD) + (int(length[1]) if length else 0)
        while len(self._received) < total:
            if not self._receive():
                return None
        request = Request(head, bytes(self._received[end + len(END_OF_HEAD) : total]))
        del self._received[:total]
        self.server.requests.append(request)
        return request

    def _receive(self) -> bool:
        try:
            data = self.sock.recv(65536)
        except OSError:
            return False
        self._received += data
        return bool(data)

    def send(self, *parts: bytes) -> None:
        """Send parts, each in its own segment."""
        for part in parts:
            self.sock.sendall(part)

    def trickle(self, data: Iterable[int], seconds: float = 0.01) -> None:
        """Send single bytes until there are none left, the client leaves, or the server stops."""
        for byte in data:
            self.sock.sendall(bytes([byte]))
            if self.server.stopping.wait(seconds):
                return

    def flood(self, part: bytes, most: int = 64 * 1024 * 1024) -> None:
        """Send the same bytes again and again, as fast as the client takes them, up to a number of bytes."""
        sent = 0
        while sent < most and not self.server.stopping.is_set():
            self.sock.sendall(part)
            sent += len(part)
        self.server.flooded = sent

    def wait_for_close(self) -> None:
        """Return once the client has closed the connection."""
        while not self.server.stopping.is_set():
            if not self._receive():
                return

    def finish(self) -> None:
        """Close the sending side only: the socket is half-closed."""
        self.sock.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """Close the connection with RST instead of FIN."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()


Behaviour = Callable[[Connection], None]


def open_sockets() -> dict[int, int]:
    """Return the descriptor of each open socket of this process by its inode."""
    found: dict[int, int] = {}
    for name in os.listdir("/proc/self/fd"):
        # A descriptor may be gone by now.
        with suppress(OSError):
            status = os.fstat(int(name))
            if stat.S_ISSOCK(status.st_mode):
                found[status.st_ino] = int(name)
    return found


class FaultServer:
    """Listens on loopback and runs a behaviour for each connection, in a thread.

    Attributes:
        behaviour: applies to connections that are opened from now on.
        requests: what arrived.
        accepted: number of connections.
        flooded: bytes that the last flood sent to its end; 0 when the client ended it.
        failures: errors of behaviours, which are mistakes of a test.
        stopping: set when the server stops.
    """

    def __init__(self, behaviour: Behaviour) -> None:
        self.behaviour = behaviour
        self.requests: list[Request] = []
        self.accepted = 0
        self.flooded = 0
        self.failures: list[Exception] = []
        self.port = 0
        self.stopping = threading.Event()
        self._listener: socket.socket | None = None
        self._open: set[socket.socket] = set()
        # Sockets that other tests of this process left behind, such as listening ones.
        self._former = open_sockets()
        self._threads: list[threading.Thread] = []

    @property
    def url(self) -> str:
        """Base URL."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def open(self) -> int:
        """Number of connections that no side has closed."""
        return len(self._open)

    def start(self) -> None:
        """Listen, on the same port as before if there was one."""
        self.stopping = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", self.port), backlog=256)
        self.port = self._listener.getsockname()[1]
        self._threads.append(threading.Thread(target=self._accept, args=(self._listener,), daemon=True))
        self._threads[-1].start()

    def stop(self) -> None:
        """Refuse connections from now on, and close those that are open."""
        self.stopping.set()
        if self._listener is not None:
            with suppress(OSError):
                self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
            self._listener = None
        for sock in list(self._open):
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(1)
        self._threads.clear()

    def client_sockets(self) -> int:
        """Return the number of connections to this server that a client in this process holds open."""
        held = 0
        for inode, descriptor in open_sockets().items():
            # A descriptor may be gone by now.
            with suppress(OSError):
                if inode not in self._former:
                    with socket.socket(fileno=os.dup(descriptor)) as sock:
                        held += self._is_of_a_client(sock)
        return held

    def _is_of_a_client(self, sock: socket.socket) -> bool:
        if sock.family != socket.AF_INET or sock.getsockname()[1] == self.port:
            return False
        try:
            return bool(sock.getpeername()[1] == self.port)
        except OSError:  # It was reset, and is still open.
            return True

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            sock.settimeout(PATIENCE_SECONDS)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.accepted += 1
            self._open.add(sock)
            connection = Connection(sock, self, self.accepted)
            thread = threading.Thread(target=self._run, args=(connection,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _run(self, connection: Connection) -> None:
        # The client may leave at any moment.
        try:
            self.behaviour(connection)
        except OSError:
            pass
        except Exception as error:
            self.failures.append(error)
        self._open.discard(connection.sock)
        with suppress(OSError):
            connection.sock.close()


@contextmanager
def fault_server(behaviour: Behaviour) -> Iterator[FaultServer]:
    """Yield a server that stops with the block."""
    server = FaultServer(behaviour)
    server.start()
    try:
        yield server
    finally:
        server.stop()
    assert server.failures == []


def eventually(holds: Callable[[], bool], seconds: float = 5.0) -> bool:
    """Return whether a condition holds within a time."""
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True
