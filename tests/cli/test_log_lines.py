"""Log lines: one each, as JSON or for people, from any logger."""

import io
import json
import logging
import re
from typing import Literal

import pytest
import structlog

from server.process.log_format import write_logs

pytestmark = pytest.mark.usefixtures("logs_as_before")


def lines(stream: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_json_has_one_object_a_line_from_both_kinds_of_logger() -> None:
    stream = io.StringIO()
    write_logs("info", "json", stream)
    structlog.get_logger().info("offer_created", deliveryId="1")
    structlog.get_logger().debug("not_this")
    logging.getLogger("some.library").warning("look at %s", "this\nand that")
    first, second = lines(stream)
    assert (first["event"], first["level"], first["deliveryId"]) == ("offer_created", "info", "1")
    assert str(first["timestamp"]).endswith("Z")
    assert (second["event"], second["level"]) == ("look at this\nand that", "warning")


def test_an_exception_stays_on_its_line() -> None:
    stream = io.StringIO()
    write_logs("info", "json", stream)
    try:
        raise ValueError("odd")
    except ValueError:
        structlog.get_logger().exception("task_died", task="executor")
        logging.getLogger("asyncio").exception("never retrieved")
    for line in lines(stream):
        assert line["level"] == "error"
        assert "ValueError: odd" in str(line["exception"])


def test_what_json_cannot_hold_is_written_as_text() -> None:
    stream = io.StringIO()
    write_logs("info", "json", stream)
    structlog.get_logger().info("odd", value={1}, error=OSError("x"))
    [line] = lines(stream)
    assert line["error"] == "x"


def test_libraries_chatter_is_not_passed_on() -> None:
    stream = io.StringIO()
    write_logs("info", "json", stream)
    logging.getLogger("uvicorn.error").info("Started server process [1]")
    logging.getLogger("httpx2").info("HTTP Request")
    assert lines(stream) == []
    write_logs("error", "json", stream)
    logging.getLogger("uvicorn.error").warning("not at this level")
    assert lines(stream) == []


def test_for_eyes_there_are_no_colours_in_a_file() -> None:
    stream = io.StringIO()
    write_logs("debug", "console", stream)
    structlog.get_logger().warning("redis_lost", reason="gone")
    assert "\x1b" not in stream.getvalue()
    assert "redis_lost" in stream.getvalue()
    assert "reason=gone" in stream.getvalue()


def test_a_reader_that_has_gone_away_stops_nobody() -> None:
    stream = io.StringIO()
    write_logs("info", "json", stream)
    stream.close()
    structlog.get_logger().info("offer_created")
    logging.getLogger("some.library").warning("this")


HOSTILE = (
    'a"b',
    'a\n{"event":"forged"}',
    "a\r\nb",
    "\x1b[2J\x1b[31mred",
    "\x9b31m",
    "\x00",
    "\x7f",
    "a\u2028b",
    "\u202egnp.exe",
    "half \ud800",
    '","event":"forged","x":"',
    "\\",
)


@pytest.mark.parametrize("format_", ["json", "console"])
def test_nothing_that_is_logged_ends_a_line_or_is_obeyed_by_a_terminal(format_: Literal["json", "console"]) -> None:
    for text in HOSTILE:
        stream = io.StringIO()
        write_logs("info", format_, stream)
        structlog.get_logger().info("offer_rejected", reason=text, nested={"x": [text]}, error=ValueError(text))
        logging.getLogger("some.library").warning("library says %s", text)
        try:
            raise ValueError(text)
        except ValueError:
            structlog.get_logger().exception("task_died", task=text)
        written = stream.getvalue()
        assert all(one.isprintable() or one == "\n" for one in written), repr(written)
        lines_ = written.splitlines()
        if format_ == "json":
            assert [json.loads(line)["event"] for line in lines_[:1]] == ["offer_rejected"]
            assert len(lines_) == 3
            assert [json.loads(line)["event"] == "forged" for line in lines_] == [False] * 3
            if "\ud800" not in text:
                assert json.loads(lines_[0])["reason"] == text
        else:
            assert len([line for line in lines_ if re.match(r"\d{4}-\d\d-\d\dT\S+ \[", line)]) == 3
            assert "task_died" in lines_[2]
