"""A minimal blocking DAP client and the debuggee it talks to.

One thread reads and writes; events that arrive while a response is awaited
queue up in order. Every message carries the moment its last byte arrived, so
latencies are measured where the bytes are, not where somebody looks at them.
"""

from __future__ import annotations

import collections
import contextlib
import json
import queue
import re
import socket
import subprocess
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

TIMEOUT = 60.0  # seconds without a byte from the debuggee before we give up
LISTENING = re.compile(r"dap: listening on ([0-9.]+):(\d+)")


class DapError(Exception):
    """The debugger refused a request, broke the protocol or went away."""


class Silent(DapError):
    """Nothing has come from the debugger for as long as we were ready to wait."""


@dataclass
class Message:
    """One message from the debugger, and when it was complete."""

    body: dict
    arrived: float


class DapClient:
    """Speaks DAP over one TCP connection."""

    def __init__(self, host: str, port: int, timeout: float = TIMEOUT):
        self._socket = socket.create_connection((host, port), timeout=timeout)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._buffer = bytearray()
        self._seq = 0
        self._events: collections.deque[Message] = collections.deque()
        self._responses: dict[int, Message] = {}
        self.breakpoints: dict[int, dict] = {}  # by id, as last reported

    def close(self) -> None:
        """Closes the connection; the debuggee is left to itself."""
        self._socket.close()

    def wait_at_most(self, seconds: float) -> None:
        """From now on, silence of this length is an error."""
        self._socket.settimeout(seconds)

    def leave(self) -> None:
        """Says goodbye after the end of the program; nobody may be there to hear."""
        with contextlib.suppress(OSError, DapError):
            self.request("disconnect", {})
        self.close()

    def send(self, command: str, arguments: dict | None = None) -> int:
        """Sends a request and returns its number without waiting."""
        self._seq += 1
        message: dict = {"seq": self._seq, "type": "request", "command": command}
        if arguments is not None:
            message["arguments"] = arguments
        body = json.dumps(message).encode()
        self._socket.sendall(b"Content-Length: %d\r\n\r\n%s" % (len(body), body))
        return self._seq

    def response(self, seq: int) -> Message:
        """Waits for the response to request `seq`; a failed one raises."""
        while seq not in self._responses:
            self._receive()
        message = self._responses.pop(seq)
        if not message.body.get("success"):
            command, why = message.body.get("command"), message.body.get("message")
            raise DapError(f"{command} failed: {why}")
        return message

    def request(self, command: str, arguments: dict | None = None) -> dict:
        """Sends a request and returns the body of its response."""
        return self.response(self.send(command, arguments)).body.get("body") or {}

    def timed_request(self, command: str, arguments: dict) -> tuple[dict, float]:
        """Like `request`, with the seconds from sending to the whole response."""
        start = time.perf_counter()
        message = self.response(self.send(command, arguments))
        return message.body.get("body") or {}, message.arrived - start

    def event(self, *names: str) -> Message:
        """Waits for the next event with one of these names; others are dropped."""
        while True:
            while self._events:
                message = self._events.popleft()
                if message.body["event"] in names:
                    return message
            self._receive()

    def stopped(self, reason: str | None = None) -> Message:
        """Waits for `stopped`; the end of the program or another reason raises."""
        message = self.event("stopped", "terminated", "exited")
        got = message.body.get("body", {}).get("reason", message.body["event"])
        if message.body["event"] != "stopped" or reason not in (None, got):
            raise DapError(f"expected a stop ({reason}), got {got}: {message.body}")
        return message

    def _receive(self) -> None:
        """Reads one message and files it."""
        message = Message(self._read(), time.perf_counter())
        body = message.body
        if body["type"] == "response":
            self._responses[body["request_seq"]] = message
        elif body["type"] == "event":
            if body["event"] == "breakpoint":
                self.note_breakpoints([body["body"]["breakpoint"]])
            self._events.append(message)

    def note_breakpoints(self, breakpoints: list[dict]) -> None:
        """Remembers what the debugger last said of each breakpoint."""
        for number, breakpoint_ in enumerate(breakpoints):
            known = self.breakpoints.setdefault(breakpoint_.get("id", -number), {})
            known.update(breakpoint_)

    def _read(self) -> dict:
        """Reads one message from the wire."""
        while (end := self._buffer.find(b"\r\n\r\n")) < 0:
            self._fill()
        header = bytes(self._buffer[:end]).lower()
        length = re.search(rb"content-length:\s*(\d+)", header)
        if not length:
            raise DapError(f"no Content-Length in {header!r}")
        size, start = int(length[1]), end + 4
        while len(self._buffer) < start + size:
            self._fill()
        body = bytes(self._buffer[start : start + size])
        del self._buffer[: start + size]
        return json.loads(body)

    def _fill(self) -> None:
        try:
            data = self._socket.recv(1 << 18)
        except TimeoutError as error:
            raise Silent(f"silent for {self._socket.gettimeout()} s") from error
        if not data:
            raise DapError("the debugger closed the connection")
        self._buffer += data


@dataclass
class Breakpoint:
    """A line breakpoint to set before the program starts."""

    line: int
    condition: str | None = None

    def to_dap(self) -> dict:
        """The `SourceBreakpoint` of the protocol."""
        plain = {"line": self.line}
        return plain if self.condition is None else {**plain, "condition": self.condition}


@dataclass
class Debuggee:
    """`llmspell run --dap 0 --wait SCRIPT`, started and waiting for us.

    A context manager: leaving it ends the process, whatever happened.
    """

    llmspell: str
    script: Path
    args: list[str] = field(default_factory=list)
    wait: bool = True

    def __enter__(self) -> Debuggee:
        self._stdout = tempfile.TemporaryFile()
        self._stderr_lines: list[str] = []
        self._port: queue.Queue[tuple[str, int] | None] = queue.Queue()
        flags = ["--dap", "0", *(["--wait"] if self.wait else [])]
        command = [self.llmspell, "run", *flags, str(self.script), *self.args]
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=self._stdout,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._drain = threading.Thread(target=self._read_stderr, daemon=True)
        self._drain.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self._drain.join()
        self._stdout.close()

    def _read_stderr(self) -> None:
        """Empties standard error for as long as it lives; finds the port in it."""
        for line in self.process.stderr:
            self._stderr_lines.append(line)
            if match := LISTENING.search(line):
                self._port.put((match[1], int(match[2])))
        self.process.stderr.close()
        self._port.put(None)

    def connect(self, breakpoints: list[Breakpoint], filters: list[str]) -> DapClient:
        """Attaches, sets everything up and lets the program start."""
        try:
            address = self._port.get(timeout=60)
        except queue.Empty:
            address = None
        if address is None:
            raise DapError(f"no DAP port: {''.join(self._stderr_lines)}")
        client = DapClient(*address)
        client.request("initialize", {
            "adapterID": "lua", "clientID": "overhead", "linesStartAt1": True,
            "columnsStartAt1": True, "pathFormat": "path", "supportsVariableType": True,
            "supportsVariablePaging": True,
        })
        attached = client.send("attach", {})
        client.event("initialized")
        if breakpoints:
            client.note_breakpoints(client.request("setBreakpoints", {
                "source": {"path": str(self.script), "name": self.script.name},
                "breakpoints": [breakpoint_.to_dap() for breakpoint_ in breakpoints],
            })["breakpoints"])
        client.request("setExceptionBreakpoints", {"filters": filters})
        client.request("configurationDone")
        client.response(attached)
        return client

    def finish(self) -> str:
        """Waits for the end of the process and returns its standard output."""
        try:
            status = self.process.wait(timeout=TIMEOUT)
        except subprocess.TimeoutExpired as error:
            raise DapError("the process outlived its script") from error
        self._stdout.seek(0)
        output = self._stdout.read().decode(errors="replace")
        if status != 0:
            self._drain.join()
            raise DapError(f"exit code {status}: {''.join(self._stderr_lines)}{output}")
        return output
