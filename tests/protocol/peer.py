"""One participant, fed by hand."""

from protocol.bodies import kind_of
from protocol.ids import SECOND, Nanoseconds
from protocol.messages import UpdateBody, VoteBody
from protocol.signing import sign
from protocol.step import step
from protocol.view import (
    CaughtUp,
    Fetched,
    Received,
    Recorded,
    Signed,
    View,
)
from tests.protocol.world import PEERS, SECRETS, TOPIC, blob

HEAD = blob("initial")


class Peer:
    """One participant of a run: reads its topic, and is fed by hand."""

    def __init__(self, run, place, head=True):
        self.run, self.place, self.view, self.read = run, place, View(PEERS[place], TOPIC), 0
        self.now = run.time
        if head:
            self.feed(Fetched(HEAD))
        self.effects = self.sync() + self.feed(CaughtUp())

    def feed(self, event, at=None):
        self.now = self.now if at is None else at
        self.view, effects = step(self.view, event, Nanoseconds(self.now))
        return effects

    def sync(self):
        effects = ()
        for raw, stamp in self.run.topic.messages[self.read :]:
            self.now = max(self.now, stamp.time)
            self.read += 1
            found = self.run.ledger.found(self.view.state, raw, stamp)
            effects += self.feed(Recorded(raw, stamp, found))
        return effects

    def sign(self, body):
        """What the journal answers to Sign."""
        return self.feed(Signed(body, sign(SECRETS[self.place], kind_of(body), body)))

    def hear(self, message, sender=None):
        match message.body:
            case VoteBody():
                author = message.body.voter
            case UpdateBody():
                author = message.body.contributor
            case _:
                author = message.body.proposer
        return self.feed(Received(PEERS[author if sender is None else sender], message))

    @property
    def topic_time(self):
        return self.run.current.deadline - 15 * SECOND


def only(effects, kind):
    found = [effect for effect in effects if isinstance(effect, kind)]
    assert len(found) == 1, effects
    return found[0]
