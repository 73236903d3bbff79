"""Logging: structlog to stderr, one line per fact, the call's and the stream's id under fixed keys.

Levels by what the reader must do: error = act now, warning = look into it, info = know it, debug = when asked.
Phone numbers and SIP users are masked unless `log.mask_numbers` is off.
"""

import logging
import re
import sys
from typing import TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from trunkline.config import LogSettings

NUMBER_KEYS = ("from_", "to", "caller")
_NUMBER = re.compile(r"\d{7,}")


def mask(text: str) -> str:
    """`+15551234567` as `+1555***4567`: enough to recognise, too little to call."""
    return _NUMBER.sub(lambda found: f"{found[0][:4]}***{found[0][-4:]}", text)


def _mask_numbers(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    for key in NUMBER_KEYS:
        if isinstance(event.get(key), str):
            event[key] = mask(event[key])
    return event


def configure(settings: LogSettings, stream: TextIO = sys.stderr) -> None:
    """Set the process's logging up; once, at start. Libraries' own loggers are heard from warnings on."""
    console = settings.format == "console" or (settings.format == "auto" and stream.isatty())
    processors: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
    ]
    if settings.mask_numbers:
        processors.append(_mask_numbers)
    if console:
        # The default shows the variables of each frame, keys of calls among them.
        plain = structlog.dev.plain_traceback
        processors.append(structlog.dev.ConsoleRenderer(colors=stream.isatty(), exception_formatter=plain))
    else:
        processors += [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    structlog.configure(
        processors=processors,
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, settings.level.upper())),
        logger_factory=structlog.PrintLoggerFactory(stream),
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(stream=stream, level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s", force=True)
