"""Where members listen: the latest announcement counts, and a member repeats its own until it is known."""

import pytest

from protocol.errors import Ignore, Invalid
from protocol.ids import Round
from protocol.records import AddressBody
from protocol.state import Whereabouts
from protocol.view import Listening, Sign, Submit, Tick
from tests.protocol.peer import Peer, only
from tests.protocol.world import Run, blob

HERE, THERE = "/ip4/192.0.2.7/tcp/4101", "/dns4/car.example/tcp/4102"


@pytest.fixture
def run():
    return Run(4)


def test_the_latest_announcement_of_a_member_counts(run):
    run.put(run.address(2, HERE))
    assert run.now.whereabouts == (None, None, Whereabouts(Round(1), (HERE,)), None)
    run.accept()
    run.put(run.address(2, THERE, HERE))
    assert run.now.whereabouts[2] == Whereabouts(Round(2), (THERE, HERE))
    run.accept()
    run.put(run.address(2))
    assert run.now.whereabouts[2] == Whereabouts(Round(3), ())


def test_an_old_or_second_announcement_of_a_round_is_ignored(run):
    old = run.address(2, THERE)
    run.accept()
    run.put(run.address(2, HERE))
    for record in (old, run.address(2, THERE), run.address(2, HERE)):
        with pytest.raises(Ignore):
            run.put(record)
    assert run.now.whereabouts[2] == Whereabouts(Round(2), (HERE,))


def test_nobody_announces_for_another_for_the_future_or_for_another_run(run):
    for record in (
        run.address(2, HERE, by=1),
        run.address(2, HERE, round=Round(2)),
        run.address(2, HERE, run=blob("another run")),
        run.address(17, HERE),
    ):
        with pytest.raises(Invalid):
            run.put(record)
    assert run.now.whereabouts == (None,) * 4


@pytest.mark.parametrize(
    "address",
    [
        "",
        "/ip4/1.2.3.4/udp/1",
        "/ip4/1.2.3.4/tcp/0",
        "/ip4/1.2.3.4/tcp/1/p2p/x",
        "/dns4/" + "a" * 121 + "/tcp/1",
    ],
)
def test_what_is_no_address_is_no_record(run, address):
    with pytest.raises(ValueError, match="addresses"):
        run.address(2, address)


def test_a_member_repeats_its_addresses_until_the_topic_knows_them(run):
    member = Peer(run, 2)
    body = only(member.feed(Listening((HERE,))), Sign).body
    assert body == AddressBody(run=run.now.run, round=Round(1), member=2, addresses=(HERE,))
    record = only(member.sign(body), Submit).record
    assert not [e for e in member.feed(Tick()) if isinstance(e, Sign)]
    again = only(member.feed(Tick(), at=member.now + run.now.params.window), Sign).body
    assert again == body
    run.put(record)
    member.sync()
    assert not [e for e in member.feed(Tick(), at=member.now + run.now.params.window) if isinstance(e, Sign)]


def test_a_member_that_moves_twice_in_a_round_says_so_in_the_next(run):
    member = Peer(run, 2)
    run.put(only(member.sign(only(member.feed(Listening((HERE,))), Sign).body), Submit).record)
    member.sync()
    assert not [e for e in member.feed(Listening((THERE,))) if isinstance(e, Sign)]
    run.accept()
    signed = [e.body for e in member.sync() if isinstance(e, Sign) and isinstance(e.body, AddressBody)]
    assert [(body.round, body.addresses) for body in signed] == [(Round(2), (THERE,))]


def test_a_member_that_is_to_tell_nobody_says_nothing(run):
    member = Peer(run, 2)
    assert not [e for e in member.effects if isinstance(e, Sign) and isinstance(e.body, AddressBody)]
