"""Ending cleanly when the operating system asks for it."""

import signal

import anyio
import structlog

log = structlog.get_logger("node.signals")

ENDING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


async def cancel_on_signal(scope: anyio.CancelScope) -> None:
    """Cancel a scope on the first SIGTERM, SIGINT or SIGHUP."""
    with anyio.open_signal_receiver(*ENDING) as signals:
        async for number in signals:
            log.info("stopping", signal=signal.Signals(number).name)
            scope.cancel()
            return
