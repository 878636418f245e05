"""Who takes part in a simulation: keys and accounts, the same in every one, and the record that founds the run."""

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import coincurve

from protocol.fields import canonical
from protocol.ids import AccountId, Digest, PeerId, PublicKey, Tinybar, TopicId, digest_of, peer_id_of
from protocol.motions import JoinBody, JoinRecord
from protocol.params import LearnerRef, Params
from protocol.records import Genesis, Member, TreasuryEntry
from protocol.signing import sign
from protocol.transfers import TransactionId

TOPIC = TopicId("0.0.1001")
TREASURY = AccountId("0.0.1002")
FUNDER = AccountId("0.0.1003")
COLLECTOR = AccountId("0.0.98")
"""Where fees go."""
INITIAL = digest_of(b"initial weights")


@dataclass(frozen=True, slots=True)
class Figure:
    """One participant: a number, which is its place in the roster, and its keys."""

    number: int
    secret: bytes
    peer: PeerId
    account: AccountId


@lru_cache(maxsize=2048)
def figure(number: int) -> Figure:
    """The participant with a number."""
    secret = hashlib.sha256(b"simulated key %d" % number).digest()
    key = PublicKey(coincurve.PrivateKey(secret).public_key.format())
    return Figure(number, secret, peer_id_of(key), AccountId(f"0.0.{2000 + number}"))


def founding(founders: int, changes: dict[str, Any]) -> Genesis:
    """The first record of a run of so many founders."""
    learner = LearnerRef(name="simulated", spec=digest_of(b"simulated spec"))
    cast = [figure(number) for number in range(founders)]
    return Genesis(
        topic=TOPIC,
        params=Params(learner=learner, initial=INITIAL, **changes),
        roster=tuple(Member(peer=each.peer, account=each.account) for each in cast),
        treasury=TreasuryEntry(account=TREASURY, required=founders // 2 + 1),
    )


def joining(who: Figure, run: Digest, stake: Tinybar, transaction: TransactionId) -> bytes:
    """The record of somebody who joins, with a stake that was paid."""
    body = JoinBody(run=run, peer=who.peer, account=who.account, stake=stake, transaction=transaction, term=1)
    return canonical(JoinRecord(body=body, sig=sign(who.secret, "join", body), signatures=()))
