"""What st8d logs: one line an event on standard error, text or JSON, no secrets.

Every module logs through the standard library, with facts as ``extra``; structlog
makes the lines. Requests take a way of their own (:class:`AccessLog`), since one
line each at full speed is most of what a daemon logs.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import re
import threading
import time
from typing import TYPE_CHECKING, Any, Final

import msgspec
import structlog

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, MutableMapping
    from io import BytesIO, RawIOBase

    from st8.core.errors import St8Error
    from st8.core.ports import Clock

__all__ = ["AccessLog", "LineWriter", "Redactor", "open_logs"]

_REDACTED: Final = "[redacted]"
_CREDENTIALS: Final = re.compile(r"(?i)\b(bearer|basic)(\s+|%20|\+)[^\s\"',\\]+")
_SECRET_NAMES: Final = frozenset(
    ("authorization", "password", "private_key", "secret", "token")
)
_SECRET_CHARACTERS_MIN: Final = 4  # a shorter one would black out half of the words
_NS: Final = 1_000_000_000
_PIPE_BYTES: Final = 4_096
"""What Linux writes into a pipe in one piece, whoever else writes to it."""


class LineWriter:
    """Writes whole lines to a byte stream; may be called from any thread.

    A stream that fails (a closed pipe, a full disk) loses the line and nothing else:
    a daemon does not stop because nobody reads its log.
    """

    def __init__(self, stream: RawIOBase | BytesIO, *, shared: bool = False) -> None:
        """Write to ``stream``, which has no buffer of its own and is not closed.

        Where it is ``shared`` with other processes, no write is so long that a pipe
        would tear it, but for a line that is.
        """
        self._stream = stream
        self._shared = shared
        self._lock = threading.Lock()
        self._later: list[bytes] = []

    def write(self, line: bytes) -> None:
        """Write ``line`` now, and before it what was to be written later."""
        self._later.append(line)
        self.flush()

    def write_later(self, line: bytes) -> None:
        """Write ``line`` once the event loop has done what is ready.

        So many answers of one turn of the loop cost one write. Needs a running loop.
        """
        if not self._later:
            asyncio.get_running_loop().call_soon(self.flush)
        self._later.append(line)

    def flush(self) -> None:
        """Write what waits."""
        with self._lock:
            lines, self._later = self._later, []
            with contextlib.suppress(OSError, ValueError):
                for piece in _pieces(lines) if self._shared else (lines,):
                    data = memoryview(b"".join(piece))
                    while data:
                        # None: the stream does not block and is full.
                        data = data[self._stream.write(data) or len(data) :]


def _pieces(lines: list[bytes]) -> Iterator[list[bytes]]:
    """Yield ``lines`` by as many as a pipe takes at once."""
    piece: list[bytes] = []
    size = 0
    for line in lines:
        size += len(line)
        if piece and size > _PIPE_BYTES:
            yield piece
            piece, size = [], len(line)
        piece.append(line)
    yield piece


class _Stamp:
    """Renders moments as ``2026-11-23T15:35:34.123Z``."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._second = -1
        self._text = ""

    def now(self) -> str:
        """Return the present moment."""
        second, rest = divmod(self._clock.now_ns(), _NS)
        if second != self._second:
            text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
            self._second, self._text = second, text
        return f"{self._text}.{rest // 1_000_000:03d}Z"


class Redactor:
    """Blacks out secrets in lines that are about to be written."""

    def __init__(self, secrets: Iterable[str]) -> None:
        """Black out each of ``secrets``, and whatever follows ``Bearer``."""
        self._forms: tuple[str, ...] = ()
        self._bytes: tuple[bytes, ...] = ()
        for secret in secrets:
            self.add(secret)

    def add(self, secret: str) -> None:
        """Black out ``secret`` too; may be called from any thread."""
        if len(secret) < _SECRET_CHARACTERS_MIN:
            return
        forms = {*self._forms, secret, json.dumps(secret)[1:-1]}
        self._forms = tuple(sorted(forms, key=len, reverse=True))
        self._bytes = tuple(form.encode() for form in self._forms)

    def text(self, line: str) -> str:
        """Return ``line`` without secrets."""
        for form in self._forms:
            line = line.replace(form, _REDACTED)
        return _CREDENTIALS.sub(rf"\1 {_REDACTED}", line)

    def path(self, line: bytes) -> bytes:
        """Return ``line``, which holds no header, without secrets."""
        for form in self._bytes:
            if form in line:
                line = line.replace(form, _REDACTED.encode())
        return line


class _Formatter(structlog.stdlib.ProcessorFormatter):
    """Makes the line of a record of the standard library."""

    def __init__(
        self, stamp: _Stamp, renderer: Any, redactor: Redactor, worker: int | None
    ) -> None:
        whose = {} if worker is None else {"worker": worker}

        def add_time(
            _logger: object, _name: str, event: MutableMapping[str, Any]
        ) -> MutableMapping[str, Any]:
            return {
                "time": stamp.now(),
                "level": event.pop("level", "info"),
                "event": event.pop("event", ""),
                **whose,
                **{
                    name: _REDACTED if name.lower() in _SECRET_NAMES else value
                    for name, value in event.items()
                },
            }

        super().__init__(
            processors=[self.remove_processors_meta, add_time, *renderer],
            foreign_pre_chain=[
                structlog.stdlib.add_log_level,
                structlog.stdlib.add_logger_name,
                structlog.stdlib.ExtraAdder(),
            ],
        )
        self._redactor = redactor

    def format(self, record: logging.LogRecord) -> str:
        """Return the line of ``record``."""
        return self._redactor.text(super().format(record))


class _Handler(logging.Handler):
    """Hands lines to a :class:`LineWriter`."""

    def __init__(self, writer: LineWriter, formatter: logging.Formatter) -> None:
        super().__init__()
        self._writer = writer
        self.setFormatter(formatter)

    def emit(self, record: logging.LogRecord) -> None:
        """Write ``record``."""
        try:
            self._writer.write(self.format(record).encode(errors="replace") + b"\n")
        except Exception:  # noqa: BLE001 - the standard way: a log never raises
            self.handleError(record)


class _AccessLine(msgspec.Struct):
    """The line of one request, in the order of its fields."""

    time: str
    level: str
    event: str
    method: str
    path: str
    status: int
    latency_ms: float
    bytes: int
    remote: str
    worker: int | msgspec.UnsetType = msgspec.UNSET
    route: str | msgspec.UnsetType = msgspec.UNSET
    namespace: str | msgspec.UnsetType = msgspec.UNSET
    branch: str | msgspec.UnsetType = msgspec.UNSET
    code: str | msgspec.UnsetType = msgspec.UNSET


class AccessLog:
    """Logs a line for every answer; :class:`st8.http.connections.AccessRecorder`.

    The path is as the client sent it, without its query, which may hold anything.
    What only the app knows it leaves in the ASGI scope: ``st8.route``,
    ``st8.namespace``, ``st8.branch`` and, for errors, ``st8.code``.
    """

    now = staticmethod(time.perf_counter)

    def __init__(
        self,
        writer: LineWriter,
        stamp: _Stamp,
        redactor: Redactor,
        *,
        as_json: bool,
        worker: int | None,
    ) -> None:
        """Write to ``writer``, JSON or text."""
        self._worker = msgspec.UNSET if worker is None else worker
        self._writer = writer
        self._stamp = stamp
        self._redactor = redactor
        # The hook takes the names of st8.core.ids, which are str of their own kind.
        encoder = msgspec.json.Encoder(enc_hook=str)
        self._encode: Callable[[_AccessLine], bytes] = (
            encoder.encode if as_json else _as_text
        )

    def answered(
        self, scope: Any, status: int, body_bytes: int, started: float
    ) -> None:
        """Log an answer of the app."""
        client = scope["client"]
        get = scope.get
        unset = msgspec.UNSET
        self._log(
            _AccessLine(
                self._stamp.now(),
                "info",
                "request",
                scope["method"],
                scope["raw_path"].decode("ascii"),
                status,
                round((time.perf_counter() - started) * 1000, 3),
                body_bytes,
                f"{client[0]}:{client[1]}" if client else "unix",
                self._worker,
                get("st8.route", unset),
                get("st8.namespace", unset),
                get("st8.branch", unset),
                get("st8.code", unset),
            )
        )

    def refused(self, client: tuple[str, int] | None, error: St8Error) -> None:
        """Log a refusal of the guards; the request was never whole."""
        self._log(
            _AccessLine(
                self._stamp.now(),
                "info",
                "request refused",
                "",
                "",
                error.http_status,
                0.0,
                0,
                f"{client[0]}:{client[1]}" if client else "unix",
                self._worker,
                code=error.code,
            )
        )

    def _log(self, line: _AccessLine) -> None:
        """Write ``line`` soon."""
        data = self._encode(line)
        self._writer.write_later(self._redactor.path(data) + b"\n")


def _as_text(line: _AccessLine) -> bytes:
    """Return ``line`` as structlog's console renderer would have it, but sooner."""
    text = f"{line.time} [info     ] {line.event}"
    if line.path:  # which no white space or control character can be in
        text += f" method={line.method} path={line.path}"
    text += (
        f" status={line.status} latency_ms={line.latency_ms} bytes={line.bytes}"
        f" remote={line.remote}"
    )
    if line.worker is not msgspec.UNSET:
        text += f" worker={line.worker}"
    for name in ("route", "namespace", "branch", "code"):
        value = getattr(line, name)
        if value is not msgspec.UNSET:
            plain = value.isascii() and value.isprintable() and " " not in value
            text += f" {name}={value if plain else repr(str(value))}"
    return text.encode()


def open_logs(
    stream: RawIOBase | BytesIO,
    clock: Clock,
    *,
    as_json: bool,
    level: str,
    colors: bool = False,
    secrets: Iterable[str] = (),
    redactor: Redactor | None = None,
    worker: int | None = None,
) -> AccessLog | None:
    """Send what every module logs to ``stream`` from now on.

    Returns where requests are recorded, None when ``level`` leaves them out.
    ``stream`` has no buffer of its own, so that nothing waits in one that can't be
    emptied when the process ends. ``secrets`` never appear in a line, whoever logs
    them; with a ``redactor`` of its own a caller can add to them later. With a
    ``worker`` each line has its number, and the stream is shared with others.
    """
    stamp = _Stamp(clock)
    redactor = redactor or Redactor(())
    for secret in secrets:
        redactor.add(secret)
    writer = LineWriter(stream, shared=worker is not None)
    renderer: list[Any]
    if as_json:
        renderer = [
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(
                default=str, ensure_ascii=False, separators=(",", ":")
            ),
        ]
    else:
        renderer = [
            structlog.dev.ConsoleRenderer(
                colors=colors,
                sort_keys=False,
                timestamp_key="time",
                pad_event_to=0,
                # Not the one that shows local variables.
                exception_formatter=structlog.dev.plain_traceback,
            )
        ]
    formatter = _Formatter(stamp, renderer, redactor, worker)
    root = logging.getLogger()
    for old in root.handlers[:]:
        root.removeHandler(old)
    root.addHandler(_Handler(writer, formatter))
    root.setLevel(level.upper())
    logging.captureWarnings(True)
    # uvicorn says at info what st8d says itself.
    logging.getLogger("uvicorn").setLevel(max(root.level, logging.WARNING))
    if root.level > logging.INFO:
        return None
    return AccessLog(writer, stamp, redactor, as_json=as_json, worker=worker)
