"""New keys for the treasury, on their way to the topic: never while a payment is being signed (SPEC.md, settle)."""

import anyio
import click

from ledger.topic import LedgerError
from node.cli.acting import Acting, Void, put_on_topic, void
from node.motions.standing import past
from node.reading import POLL_SECONDS
from protocol.errors import ProtocolError
from protocol.fold import apply
from protocol.ids import SECOND
from protocol.motions import RotateRecord
from protocol.settlement import EXPIRY_MARGIN

MARGIN = EXPIRY_MARGIN // SECOND + 60
"""Seconds that a settlement which has expired may take to be declared over."""


async def put_rotation_on_topic(act: Acting, record: RotateRecord) -> int:
    """Put a rotation on the topic once no settlement is open; its sequence number.

    Raises Void when it has no effect, LedgerError.
    """
    told = 0
    with anyio.move_on_after(act.run.params.settle_window + MARGIN):
        while True:
            check_otherwise(act, record)
            settlement = act.run.money.settlement
            if settlement is None:
                try:
                    return await put_on_topic(act, record)
                except Void:
                    if act.run.money.settlement is None:
                        raise
                    continue  # one was opened meanwhile
            if settlement.number > told:
                told = settlement.number
                click.echo(f"settlement {told} is open; the rotation waits until it is over", err=True)
            await anyio.sleep(POLL_SECONDS)
            await act.reading.catch_up()
    raise LedgerError(
        "a settlement is still open: too few holders of the treasury's keys sign; try again when they are there"
    )


def check_otherwise(act: Acting, record: RotateRecord) -> None:
    """Make sure that an open settlement is all that a rotation waits for. Raises Void."""
    try:
        apply(past(act.run, record), record, act.reading.next_stamp(), ())
    except ProtocolError as error:
        if act.run.money.settlement is not None:
            void(record, str(error))
