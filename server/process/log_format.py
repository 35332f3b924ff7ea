"""The format of log lines: one line each on standard output, for people or as JSON. Other modules decide what is
logged.
"""

import json
import logging
import re
import sys
from collections.abc import Mapping, MutableMapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Final, Literal, TextIO

import msgspec
import structlog
from structlog.typing import Processor

from server.contract.views import instant

LEVELS: Final[Mapping[str, int]] = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}
CHATTY: Final = ("uvicorn", "asyncio", "httpx2", "httpcore2", "websockets", "piccolo", "litestar")
"""Libraries whose lines below `warning` are not useful."""


OBEYED: Final = re.compile("[\x7f-\x9f\u2028-\u202e\u2066-\u2069\ufeff]")
"""Characters that are valid in JSON, but that terminals interpret or some readers treat as line breaks."""


class _Lines:
    """A logger for structlog that writes to a stream and outlives its reader."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def msg(self, message: str) -> None:
        with suppress(OSError, ValueError):
            self._stream.write(message + "\n")
            self._stream.flush()

    debug = info = warning = error = critical = exception = fatal = failure = err = warn = log = msg


def write_logs(level: str, format_: Literal["console", "json"], stream: TextIO | None = None) -> None:
    """From now on structlog and the standard library's loggers write here, from `level` up."""
    stream = stream or sys.stdout
    before: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.format_exc_info,
        _stamp,
    ]
    render = _as_json if format_ == "json" else _for_eyes(stream)
    structlog.configure(
        processors=[*before, render],
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level]),
        logger_factory=lambda *_: _Lines(stream),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=before,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, render],
        )
    )
    logging.basicConfig(handlers=[handler], level=LEVELS[level], force=True)
    logging.raiseExceptions = False
    for name in CHATTY:
        logging.getLogger(name).setLevel(max(LEVELS[level], logging.WARNING))


def _stamp(_: object, __: str, line: MutableMapping[str, object]) -> MutableMapping[str, object]:
    """Time and level come first."""
    return {"timestamp": instant(datetime.now(UTC)), "level": line.pop("level", "info"), **line}


def _as_json(_: object, __: str, line: MutableMapping[str, object]) -> str:
    """One line of JSON in which no reader of lines and no terminal finds anything to obey."""
    try:
        text = msgspec.json.encode(line, enc_hook=str).decode()
    except (UnicodeEncodeError, ValueError, RecursionError):  # half a character; what is logged must never raise
        text = json.dumps({key: str(value) for key, value in line.items()})
    if text.isascii() and "\x7f" not in text:
        return text
    return OBEYED.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def _for_eyes(stream: TextIO) -> Processor:
    renderer = structlog.dev.ConsoleRenderer(
        colors=stream.isatty(), pad_event_to=28, exception_formatter=structlog.dev.plain_traceback
    )

    def render(logger: object, name: str, line: MutableMapping[str, object]) -> str:
        harmless = {key: _harmless(value, key == "exception") for key, value in line.items()}
        return str(renderer(logger, name, harmless))

    return render


def _harmless(value: object, is_traceback: bool) -> object:
    """The value without control characters for a terminal; a traceback keeps its lines."""
    if value is None or isinstance(value, bool | int | float):
        return value
    text = str(value)
    if text.isprintable():
        return value
    return "".join(one if one.isprintable() or (is_traceback and one == "\n") else _escaped(one) for one in text)


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode()
