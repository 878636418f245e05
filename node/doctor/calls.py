"""A TCP connection, to see whether somebody listens."""

import os

import anyio


async def call(host: str, port: int, within: float) -> str | None:
    """What the operating system says against a connection, or None where it has nothing. within: seconds."""
    try:
        with anyio.fail_after(within):
            await (await anyio.connect_tcp(host, port)).aclose()
    except TimeoutError:
        return f"no answer for {within:g} s"
    except OSError as error:
        return _reason(error)
    return None


def _reason(error: OSError) -> str:
    """The system's words, without those of the libraries in between."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.errno is not None and cause.errno > 0:
            return os.strerror(cause.errno)
        cause = cause.exceptions[0] if isinstance(cause, BaseExceptionGroup) else cause.__cause__
    return " ".join(str(error).split())
