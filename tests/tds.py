"""A listener that speaks just enough TDS for Microsoft's ODBC driver to meet it over loopback.

It is no database: it answers each batch as it was told to and notes what the driver sent, so that
the driver, pyodbc and `SqlServer` run for real up to the wire. It runs in a process of its own,
because pyodbc keeps Python's lock while it waits. Formats: [MS-TDS], sections 2.2.6 and 2.2.7.
"""

from __future__ import annotations

import multiprocessing
import socket
import struct
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from queue import Empty
from typing import Any

_COLLATION = bytes([0x09, 0x04, 0xD0, 0x00, 0x34])
_WIDTHS = {"int": 4, "bigint": 8, "smallint": 2}
_STAGED = {
    "ticker": "varchar", "ts": "bigint", "open": "float", "high": "float", "low": "float",
    "close": "float", "volume": "bigint", "known_from": "bigint", "feed": "smallint",
}  # fmt: skip
_WINDOWS = {"n": "int", "ticker": "varchar", "start": "bigint", "end": "bigint"}


@dataclass(frozen=True, slots=True)
class Listener:
    """Where it listens, and the messages that came since the last look."""

    port: int
    messages: Any
    process: BaseProcess

    def hang_up(self) -> None:
        """Break all connections and accept no more."""
        self.process.kill()
        self.process.join()

    def said(self) -> list[str | bytes]:
        """Batches as text, remote procedure calls (statements with parameters) as they came."""
        found = []
        while True:
            try:
                found.append(self.messages.get(timeout=0.1))
            except Empty:
                return found


@contextmanager
def listening(answers: Mapping[str, bytes], login: bytes = b"") -> Iterator[Listener]:
    """Answers a batch that contains a key with its tokens, any other one with nothing done.

    `login` refuses every login with these tokens.
    """
    fork = multiprocessing.get_context("fork")
    messages = fork.Queue()
    with socket.create_server(("127.0.0.1", 0)) as door:
        process = fork.Process(target=_serve, args=(door, answers, login, messages), daemon=True)
        process.start()
        listener = Listener(door.getsockname()[1], messages, process)
        try:
            yield listener
        finally:
            listener.hang_up()


def done(rows: int | None = None) -> bytes:
    """The end of an answer."""
    return struct.pack("<BHHQ", 0xFD, 0 if rows is None else 0x10, 0xC1, rows or 0)


def error(number: int, text: str) -> bytes:
    """An error of the server, and the end of its answer."""
    body = struct.pack("<iBB", number, 1, 16) + struct.pack("<H", len(text))
    body += text.encode("utf-16le") + _short("loopback") + _short("") + struct.pack("<i", 1)
    return b"\xaa" + struct.pack("<H", len(body)) + body + struct.pack("<BHHQ", 0xFD, 2, 0, 0)


def rows(columns: Mapping[str, str], values: Sequence[Sequence[Any]]) -> bytes:
    """A result: columns by name with their type, one of _WIDTHS, float or varchar."""
    kinds = list(columns.values())
    lines = (
        b"\xd1" + b"".join(_value(kind, value) for kind, value in zip(kinds, line, strict=True))
        for line in values
    )
    return _columns(columns) + b"".join(lines) + done(len(values))


def _serve(door: socket.socket, answers: Mapping[str, bytes], login: bytes, messages: Any) -> None:
    while True:
        client, _ = door.accept()
        try:
            _converse(client, answers, login, messages)
        except ConnectionError:
            continue


def _converse(
    client: socket.socket, answers: Mapping[str, bytes], login: bytes, messages: Any
) -> None:
    """One connection until it is closed; the next one waits for it."""
    for kind, body in _received(client):
        match kind:
            case 0x12:  # before the login
                _send(client, _prelogin())
            case 0x10:  # login
                _send(client, login or _welcome())
            case 0x01:  # a batch
                text = body[struct.unpack_from("<I", body)[0] :].decode("utf-16le")
                messages.put(text)
                found = (answer for key, answer in answers.items() if key in text)
                _send(client, next(found, done()))
            case 0x03:  # remote procedure calls, one or many
                messages.put(body)
                _send(client, _called(answers, body))
            case _:
                _send(client, done())


def _called(answers: Mapping[str, bytes], body: bytes) -> bytes:
    """A remote procedure call: an answer by its statement, else a handle and nothing done."""
    for key, answer in answers.items():
        if key.encode("utf-16le") in body:
            return answer
    handle = b"\xac" + struct.pack("<H", 0) + _short("") + b"\x01" + struct.pack("<IH", 0, 0)
    handle += _type("int") + _value("int", 1)
    return b"\x79" + bytes(4) + handle + struct.pack("<BHHQ", 0xFE, 0, 0, 0)


def _received(client: socket.socket) -> Iterator[tuple[int, bytes]]:
    body = b""
    with client, client.makefile("rb") as stream:
        while header := stream.read(8):
            kind, status, length = struct.unpack(">BBH", header[:4])
            body += stream.read(length - 8)
            if status & 1:
                yield kind, body
                body = b""


def _send(client: socket.socket, body: bytes) -> None:
    """One packet; no answer here is longer than the 4,096 bytes it may have."""
    client.sendall(struct.pack(">BBHHBB", 4, 1, len(body) + 8, 0, 1, 0) + body)


def _prelogin() -> bytes:
    """SQL Server 2022, without encryption."""
    options = [(0, bytes([16, 0, 16, 39, 0, 0])), (1, b"\x02")]
    place, head, tail = 5 * len(options) + 1, b"", b""
    for token, value in options:
        head += struct.pack(">BHH", token, place + len(tail), len(value))
        tail += value
    return head + b"\xff" + tail


def _welcome() -> bytes:
    database = b"\x01" + _short("astra") + _short("master")
    collation = b"\x07\x05" + _COLLATION + b"\x00"
    server = b"\x01\x74\x00\x00\x04" + _short("Microsoft SQL Server") + bytes([16, 0, 16, 39])
    tokens = ((b"\xe3", database), (b"\xe3", collation), (b"\xad", server))
    return b"".join(t + struct.pack("<H", len(body)) + body for t, body in tokens) + done()


def _columns(columns: Mapping[str, str]) -> bytes:
    described = (
        struct.pack("<IH", 0, 9) + _type(kind) + _short(name) for name, kind in columns.items()
    )
    return b"\x81" + struct.pack("<H", len(columns)) + b"".join(described)


def _type(kind: str) -> bytes:
    if kind in _WIDTHS:
        return bytes([0x26, _WIDTHS[kind]])
    if kind == "float":
        return b"\x6d\x08"
    return b"\xa7" + struct.pack("<H", 200) + _COLLATION


def _value(kind: str, value: Any) -> bytes:
    if kind in _WIDTHS:
        return bytes([_WIDTHS[kind]]) + int(value).to_bytes(_WIDTHS[kind], "little", signed=True)
    if kind == "float":
        return b"\x08" + struct.pack("<d", value)
    return struct.pack("<H", len(value)) + str(value).encode("latin-1")


def _short(text: str) -> bytes:
    return bytes([len(text)]) + text.encode("utf-16le")


# What SQLAlchemy asks of a new server, how the driver learns a table's types, and the store's lock.
GREETINGS = {
    "ProductVersion": rows({"v": "varchar"}, [["16.0.4135.4"]]),
    "schema_name()": rows({"s": "varchar"}, [["dbo"]]),
    "sys.system_views": rows({"name": "varchar"}, []),
    "test max support": rows({"t": "varchar"}, [["test max support"]]),
    "fn_listextendedproperty": rows({"n": "int"}, []),
    "fmtonly on select * from #windows": rows(_WINDOWS, []),
    "fmtonly on": rows(_STAGED, []),
    "sp_getapplock": rows({"granted": "int"}, [[0]]),
    "SELECT 1": rows({"n": "int"}, [[1]]),
}
