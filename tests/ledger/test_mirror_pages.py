import json

import pytest

from ledger.chunks import History
from ledger.pages import nanoseconds, read_history, write_history
from ledger.topic import LedgerError
from tests.ledger.chains import TOPIC, Chain


def test_a_saved_history_feeds_the_same_history(tmp_path):
    chain = Chain()
    for body in (b"one", b"two"):
        chain.add(body)
    path = tmp_path / "topic.json"
    write_history(path, chain.entries, [{"transaction_id": "x"}])
    saved = read_history(path)
    assert list(saved.messages) == chain.entries
    assert saved.transactions == ({"transaction_id": "x"},)
    history = History(TOPIC)
    assert [message.body for entry in saved.messages for message in history.add(entry)] == [b"one", b"two"]
    assert [file.name for file in tmp_path.iterdir()] == ["topic.json"]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("[]", "no saved history"),
        ("{}", "no saved history"),
        ('{"messages": [], "more": 1}', "no saved history"),
        ('{"messages": {}}', "messages must be a list"),
        ('{"messages": [1]}', "messages must be a list"),
        ('{"messages": [], "transactions": null}', "transactions must be a list"),
    ],
)
def test_anything_else_is_refused_in_one_line(tmp_path, content, expected):
    path = tmp_path / "topic.json"
    path.write_text(content)
    with pytest.raises(LedgerError, match=expected) as caught:
        read_history(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_is_read_up_to_a_bound(tmp_path):
    path = tmp_path / "topic.json"
    path.write_text(json.dumps({"messages": []}))
    assert read_history(path, limit=path.stat().st_size).messages == ()
    with pytest.raises(LedgerError, match="longer than"):
        read_history(path, limit=path.stat().st_size - 1)


def test_what_would_be_too_long_to_read_again_is_not_written(tmp_path):
    path = tmp_path / "topic.json"
    write_history(path, [{"sequence_number": 1}])
    size = path.stat().st_size
    with pytest.raises(LedgerError, match=rf"has {size} bytes, and no more than {size - 1} are read again"):
        write_history(tmp_path / "longer.json", [{"sequence_number": 1}], limit=size - 1)
    write_history(tmp_path / "same.json", [{"sequence_number": 1}], limit=size)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["same.json", "topic.json"]


def test_missing_files_and_folders_are_named(tmp_path):
    with pytest.raises(LedgerError, match=r"cannot read .*nowhere\.json: No such file"):
        read_history(tmp_path / "nowhere.json")
    with pytest.raises(LedgerError, match="cannot write"):
        write_history(tmp_path / "no" / "folder.json", [])


def test_time_is_an_integer_of_nanoseconds():
    assert nanoseconds("1683553059.977315003") == 1_683_553_059_977_315_003
