"""Structured logs on standard error: JSON lines for machines, aligned text for people."""

import logging
import sys
from typing import Literal

import structlog
from structlog.typing import EventDict, Processor

QUIET = ("libp2p", "httpx", "httpcore", "hiero_sdk_python", "async_service", "multiaddr", "grpc")
"""Libraries that log every step of theirs; only their warnings are of interest."""
MUTE = "libp2p"
"""Each failure on the wire is an error to it, and told at every attempt; what matters of it the mesh says itself."""


def is_of_interest(record: logging.LogRecord) -> bool:
    """Whether a log record goes out: not what a library says about its own doings."""
    library = record.name.partition(".")[0]
    if library == MUTE:
        return logging.getLogger().level <= logging.DEBUG and record.levelno >= logging.WARNING
    return record.levelno >= logging.WARNING or library not in QUIET


def with_present_facts(logger: object, method: str, event: EventDict) -> EventDict:
    """Replace bound values that are functions by what they give now; None leaves the key out."""
    now = {key: value() if callable(value) else value for key, value in event.items()}
    return {key: value for key, value in now.items() if value is not None or not callable(event[key])}


def set_up_logging(
    level: Literal["debug", "info", "warning", "error"], form: Literal["json", "text"]
) -> None:
    """Send our own and the libraries' logs to standard error, one event a line."""
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        with_present_facts,
        structlog.stdlib.ExtraAdder(allow=("remote",)),
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    renderer: Processor
    if form == "json":
        renderer = structlog.processors.JSONRenderer(sort_keys=True)
    else:
        renderer = structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(is_of_interest)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level.upper())
    for name in QUIET:
        library = logging.getLogger(name)
        library.setLevel(max(logging.WARNING, root.level))
        library.propagate = True  # libp2p's does not by itself, and then writes lines in no format at all
