"""Fetching what a core asks for into the store (SPEC.md, step: Fetch)."""

from functools import partial as bound
from pathlib import Path

import anyio.to_thread
import structlog

from node.blobs import Blobs
from node.net.transport import Blame, FetchFailed, Transport
from node.partial import BadBlob
from node.pieces import Wanted, off_loop
from protocol.ids import PeerId
from protocol.messages import PIECE_BYTES
from protocol.view import Fetch

log = structlog.get_logger("node.fetching")


async def fetch(effect: Fetch, blobs: Blobs, transport: Transport | None) -> bool:
    """Have a blob in the store, all of it checked; False when that could not be done, which is logged."""
    size = effect.size or PIECE_BYTES  # of the initial weights it is not known
    try:
        if await off_loop(size, blobs.whole, effect.digest) is not None:
            return True
        if transport is None:
            return False
        partial = await off_loop(size, blobs.begin, Wanted(effect.digest, effect.size, effect.pieces))
        blobs.share(partial)
        if not partial.is_complete:
            await transport.fetch(partial, effect.sources, _blame(effect))
        await off_loop(size, blobs.finish, partial)
    except (FetchFailed, BadBlob, OSError) as error:  # a full disk may have room again later
        log.warning("not fetched", digest=effect.digest, reason=str(error))
        return False
    return True


def _blame(effect: Fetch) -> Blame:
    def blame(peer: PeerId, reason: str) -> None:
        log.warning("fetch failed", remote=peer, digest=effect.digest, reason=reason)

    return blame


async def remove(files: tuple[Path, ...]) -> None:
    """Delete files of the store that nothing refers to any more; what cannot be deleted is logged."""
    for file in files:
        try:
            await anyio.to_thread.run_sync(bound(file.unlink, missing_ok=True))
        except OSError as error:
            log.warning("a blob was not removed", file=file.name, reason=str(error))
