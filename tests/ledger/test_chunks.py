import copy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.chunks import CHUNK_WINDOW, MAX_CHUNKS, MAX_MESSAGE, MAX_OPEN, Dropped, History
from ledger.topic import HistoryBroken, TopicMessage
from protocol.ids import AccountId
from tests.ledger.chains import PAYER, TOPIC, Chain, Chunk

OTHER = AccountId("0.0.8")


def read(chain: Chain) -> tuple[list[TopicMessage], list[Dropped]]:
    history = History(chain.topic)
    results = [result for entry in chain.entries for result in history.add(entry)]
    return (
        [result for result in results if isinstance(result, TopicMessage)],
        [result for result in results if isinstance(result, Dropped)],
    )


def test_single_messages_come_out_as_they_went_in():
    chain = Chain()
    for body in (b"one", b"two", b"", b"\x00" * 1024):
        chain.add(body)
    messages, dropped = read(chain)
    assert [message.body for message in messages] == [b"one", b"two", b"", b"\x00" * 1024]
    assert [message.sequence for message in messages] == [1, 2, 3, 4]
    assert messages[0].topic == TOPIC
    assert messages[0].payer == PAYER
    assert not dropped


def test_a_message_takes_number_time_and_hash_of_the_chunk_that_completes_it():
    chain = Chain()
    chain.add(b"b", chunk=Chunk(1, 2, 2))
    chain.add(b"between")
    last = chain.add(b"a", chunk=Chunk(1, 1, 2))
    messages, _ = read(chain)
    assert [(message.body, message.sequence) for message in messages] == [(b"between", 2), (b"ab", 3)]
    seconds, nanos = last["consensus_timestamp"].split(".")
    assert messages[1].time == int(seconds) * 10**9 + int(nanos)
    assert messages[1].running_hash == last["running_hash"].replace("+", "-").replace("/", "_")


def test_the_first_copy_of_a_chunk_wins():
    chain = Chain()
    chain.add(b"first", chunk=Chunk(1, 1, 2))
    chain.add(b"second", chunk=Chunk(1, 1, 2))
    chain.add(b".", chunk=Chunk(1, 2, 2))
    messages, _ = read(chain)
    assert [message.body for message in messages] == [b"first."]


def test_another_payer_cannot_contribute_a_chunk():
    chain = Chain()
    chain.add(b"mine ", chunk=Chunk(1, 1, 2))
    forged = chain.add(b"yours", payer=OTHER, chunk=Chunk(1, 2, 2))
    assert forged["chunk_info"] is not None
    forged["chunk_info"]["initial_transaction_id"]["account_id"] = PAYER
    chain.add(b"too", chunk=Chunk(1, 2, 2))
    messages, _ = read(chain)
    assert [message.body for message in messages] == [b"mine too"]


@pytest.mark.parametrize(("late", "bodies"), [(0, [b"ab"]), (1, [])])
def test_what_is_unfinished_after_the_window_is_dropped(late, bodies):
    chain = Chain()
    chain.add(b"a", chunk=Chunk(1, 1, 2))
    chain.add(b"b", chunk=Chunk(1, 2, 2), step=CHUNK_WINDOW + late)
    messages, dropped = read(chain)
    assert [message.body for message in messages] == bodies
    assert [drop.sequence for drop in dropped] == [1] * late


def test_chunks_that_disagree_on_their_number_drop_the_message():
    chain = Chain()
    chain.add(b"a", chunk=Chunk(1, 1, 3))
    chain.add(b"b", chunk=Chunk(1, 2, 2))
    chain.add(b"fine")
    messages, dropped = read(chain)
    assert [message.body for message in messages] == [b"fine"]
    assert [(drop.sequence, drop.payer) for drop in dropped] == [(1, PAYER)]
    assert "3 or 2" in dropped[0].reason


@pytest.mark.parametrize(
    "chunk",
    [
        Chunk(1, 1, MAX_CHUNKS + 1),
        Chunk(1, 3, 2),
        Chunk(1, 0, 2),
        Chunk(1, 1, 0),
        Chunk(1, 1, "2"),
        Chunk(1, 1, 2**31),
    ],
)
def test_nonsense_about_chunks_costs_its_author_the_message_and_nobody_else_anything(chunk):
    chain = Chain()
    chain.add(b"junk", payer=OTHER, chunk=chunk)
    chain.add(b"fine")
    messages, dropped = read(chain)
    assert [message.body for message in messages] == [b"fine"]
    assert [drop.payer for drop in dropped] == [OTHER]


def test_too_long_a_message_is_dropped_before_it_is_complete():
    chain = Chain()
    piece = b"x" * (MAX_MESSAGE // 8)
    for number in range(1, 10):
        chain.add(piece, chunk=Chunk(1, number, 12))
    messages, dropped = read(chain)
    assert messages == []
    assert "longer" in dropped[0].reason


def test_a_flood_of_unfinished_messages_drops_its_own_and_no_others():
    chain = Chain()
    chain.add(b"honest ", chunk=Chunk(1, 1, 2))
    for start in range(2, 3 * MAX_OPEN):
        chain.add(b"flood", payer=OTHER, chunk=Chunk(start, 1, 2))
    chain.add(b"work", chunk=Chunk(1, 2, 2))
    messages, dropped = read(chain)
    assert [message.body for message in messages] == [b"honest work"]
    assert {drop.payer for drop in dropped} == {OTHER}
    history = History(TOPIC)
    for entry in chain.entries:
        history.add(entry)
        assert len(history.unfinished()) <= MAX_OPEN


def test_what_is_unfinished_at_the_end_is_reported():
    chain = Chain()
    chain.add(b"a", chunk=Chunk(1, 1, 2))
    history = History(TOPIC)
    assert history.add(chain.entries[0]) == ()
    assert [drop.sequence for drop in history.unfinished()] == [1]


def test_null_in_an_old_chunk_means_what_it_left_out():
    chain = Chain()
    chain.add(b"a", chunk=Chunk(1, 1, 2))
    chain.add(b"b", chunk=Chunk(1, 2, 2))
    chain.entries[1]["chunk_info"]["initial_transaction_id"] |= {"nonce": None, "scheduled": None}
    assert [message.body for message in read(chain)[0]] == [b"ab"]


@st.composite
def submissions(draw: st.DrawFn) -> list[tuple[int, AccountId, tuple[bytes, ...]]]:
    """Messages as their authors meant them: valid start, payer, pieces."""
    count = draw(st.integers(1, 5))
    piece = st.binary(min_size=1, max_size=6)
    return [
        (start, draw(st.sampled_from([PAYER, OTHER])), tuple(draw(st.lists(piece, min_size=1, max_size=4))))
        for start in range(count)
    ]


@given(submissions(), st.data())
def test_no_order_loss_or_repetition_of_chunks_makes_a_wrong_message(meant, data):
    parts = [
        (start, payer, number, len(pieces), piece)
        for start, payer, pieces in meant
        for number, piece in enumerate(pieces, 1)
    ]
    sent = data.draw(st.lists(st.sampled_from(parts), max_size=2 * len(parts)))
    chain = Chain()
    for start, payer, number, total, piece in sent:
        chain.add(piece, payer, Chunk(start, number, total) if total > 1 else None)
    messages, dropped = read(chain)

    genuine = {(payer, b"".join(pieces)) for _, payer, pieces in meant}
    assert {(message.payer, message.body) for message in messages} <= genuine
    assert dropped == []
    for start, payer, pieces in meant:
        arrived = {number for s, p, number, *_ in sent if (s, p) == (start, payer)}
        if len(arrived) == len(pieces):
            assert (payer, b"".join(pieces)) in {(message.payer, message.body) for message in messages}
    assert [message.sequence for message in messages] == sorted(message.sequence for message in messages)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(1, 4), st.integers(1, 4)), max_size=40))
def test_wrong_totals_never_complete_a_message(chunks):
    """Each piece says which number and total it was sent with, so a mixture would show."""
    chain = Chain()
    for start, number, total in chunks:
        chain.add(f"{start}:{number}/{total};".encode(), chunk=Chunk(start, number, total))
    for message in read(chain)[0]:
        pieces = message.body.decode().rstrip(";").split(";")
        start = pieces[0].split(":")[0]
        assert pieces == [f"{start}:{n}/{len(pieces)}" for n in range(1, len(pieces) + 1)]


def sample() -> Chain:
    chain = Chain()
    for body in (b"one", b"two ", b"three"):
        chain.add(body)
    return chain


COVERED = (
    "consensus_timestamp",
    "message",
    "payer_account_id",
    "running_hash",
    "sequence_number",
    "topic_id",
)


@settings(max_examples=400)
@given(st.integers(0, 2), st.sampled_from([*COVERED, "running_hash_version"]), st.data())
def test_any_flipped_bit_is_refused(place, name, data):
    entries = copy.deepcopy(sample().entries)
    value = entries[place][name]
    if isinstance(value, int):
        entries[place][name] = value ^ 1 << data.draw(st.integers(0, 40))
    else:
        raw = bytearray(value.encode())
        bit = data.draw(st.integers(0, 8 * len(raw) - 1))
        raw[bit // 8] ^= 1 << bit % 8
        entries[place][name] = raw.decode("latin-1")
    history = History(TOPIC)
    for entry in entries[:place]:
        history.add(entry)
    before = (history.sequence, history.time, history.running_hash)
    with pytest.raises(HistoryBroken, match=f"sequence number {place + 1}:"):
        history.add(entries[place])
    assert (history.sequence, history.time, history.running_hash) == before


@pytest.mark.parametrize("name", [*COVERED, "running_hash_version"])
@pytest.mark.parametrize(
    "value",
    [
        None,
        "",
        -1,
        [],
        {},
        True,
        1.0,
        "AAA",
        "not base64!",
        "0.0.01",
        "0.0.9999999999999999999",
        "é" * 20_000,
    ],
)
def test_junk_in_a_field_is_refused(name, value: Any):
    entry = sample().entries[0] | {name: value}
    with pytest.raises(HistoryBroken, match="sequence number 1:"):
        History(TOPIC).add(entry)


@pytest.mark.parametrize("name", [*COVERED, "running_hash_version"])
def test_a_missing_field_is_refused(name):
    entry = sample().entries[0]
    del entry[name]
    with pytest.raises(HistoryBroken):
        History(TOPIC).add(entry)


def test_fields_that_a_mirror_adds_do_no_harm():
    assert History(TOPIC).add(sample().entries[0] | {"node": "0.0.3", "max_fee": 5})


def test_a_gap_names_what_was_expected():
    first, _, third = sample().entries
    history = History(TOPIC)
    history.add(first)
    with pytest.raises(HistoryBroken, match=r"at sequence number 2: .* returned sequence number 3"):
        history.add(third)


def test_time_must_pass():
    chain = sample()
    chain.add(b"same time", step=0)
    with pytest.raises(HistoryBroken, match="at sequence number 4: its time"):
        read(chain)


def test_a_history_goes_on_from_a_known_point():
    entries = sample().entries
    first = History(TOPIC)
    first.add(entries[0])
    later = History(TOPIC, first.sequence, first.time, first.running_hash)
    assert [message.body for entry in entries[1:] for message in later.add(entry)] == [b"two ", b"three"]
    with pytest.raises(HistoryBroken):
        History(TOPIC, first.sequence, first.time, bytes(48)).add(entries[1])


def test_what_a_mirror_makes_up_is_quoted_in_bounded_lines():
    chain = Chain()
    chain.add(b"first")
    chain.entries[0]["running_hash"] = "A" * 12_000
    with pytest.raises(HistoryBroken) as broken:
        History(TOPIC).add(chain.entries[0])
    assert len(str(broken.value)) < 500
    for field in ("number", "total"):
        chain = Chain()
        chain.add(b"chunk", chunk=Chunk(1, 1, 2))
        chain.entries[0]["chunk_info"][field] = 10**4_000
        (dropped,) = History(TOPIC).add(chain.entries[0])
        assert isinstance(dropped, Dropped)
        assert len(dropped.reason) < 500
