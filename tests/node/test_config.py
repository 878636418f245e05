"""Configuration files: what is right is read, what is wrong is refused in one line that names the remedy."""

from pathlib import Path

import pytest

from node.config import ConfigError, NetworkSection, load_config, load_founding
from node.founding import load_preset
from node.presets import preset_file

GOOD = """
data = "data"
[identity]
file = "identity.pem"
[ledger]
network = "localnet"
topic = "0.0.1001"
account = "0.0.1002"
[learner]
name = "driving"
[learner.options]
family = "medium"
"""


def written(directory: Path, text: str | bytes) -> Path:
    path = directory / "node.toml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def test_paths_are_relative_to_the_file(tmp_path: Path) -> None:
    config = load_config(written(tmp_path, GOOD))
    assert config.data == tmp_path / "data"
    assert config.identity.file == tmp_path / "identity.pem"
    assert config.learner.options == {"family": "medium"}
    assert config.network.listen == "/ip4/127.0.0.1/tcp/0"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (("[learner]", "[learner]\nnmae = 1"), "unknown key learner.nmae"),
        (('topic = "0.0.1001"', ""), "the key ledger.topic is missing"),
        (("0.0.1001", "1001"), "ledger.topic"),
        (('network = "localnet"', 'network = "fastnet"'), "ledger.network"),
        (("[identity]", '[network]\nlisten = "0.0.0.0:80"\n[identity]'), "network.listen"),
        (("[identity]", '[network.peers]\nnobody = "/ip4/127.0.0.1/tcp/1"\n[identity]'), "network.peers"),
        (("data =", "data = ="), "is not TOML"),
    ],
)
def test_what_is_wrong_is_named_in_one_line(tmp_path: Path, change: tuple[str, str], says: str) -> None:
    path = written(tmp_path, GOOD.replace(*change))
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    assert says in str(caught.value)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("raw", [b"\xff\xfe", b"a" * 300_000])
def test_bytes_that_are_no_configuration(tmp_path: Path, raw: bytes) -> None:
    with pytest.raises(ConfigError):
        load_config(written(tmp_path, raw))


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="name an existing file"):
        load_config(tmp_path / "none.toml")


def test_a_founding_needs_members(tmp_path: Path) -> None:
    path = written(tmp_path, 'members = []\n[ledger]\nnetwork = "testnet"\naccount = "0.0.2"\n')
    with pytest.raises(ConfigError, match="members"):
        load_founding(path)


def test_a_founding_may_name_a_preset_of_its_own(tmp_path: Path) -> None:
    ledger = '[ledger]\nnetwork = "testnet"\naccount = "0.0.2"\n'
    member = (
        '[[members]]\npeer = "16Uiu2HAm6RLcTUcCVX1YmMEWVWADdJLdHgjoY1G4kkxzD6XNF1zc"\naccount = "0.0.3"\n'
    )
    path = written(tmp_path, f'preset = "rules/own.toml"\n{ledger}{member}')
    assert preset_file(load_founding(path).preset) == tmp_path / "rules" / "own.toml"
    with pytest.raises(ConfigError, match="cannot read"):
        load_preset(preset_file(load_founding(path).preset))


@pytest.mark.parametrize("name", ["driving", "demo"])
def test_the_presets_are_read(name: str) -> None:
    preset = load_preset(preset_file(name))
    assert preset.learner == "driving"
    assert preset.params["round_window"] > 0


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (('family = "medium"', "since = 2026-01-01"), "learner.options"),
        (('"identity.pem"', r'"a\u0000b"'), "identity.file"),
        (('"data"', r'"a\u0000b"'), "data"),
        (('family = "medium"', "deep = " + "[" * 50_000), "is not TOML"),
        (('family = "medium"', "seed = " + "9" * 5_000), "is not TOML"),
        (('family = "medium"', '"a\\nb\\u001b[2J' + "x" * 5_000 + '" = 1\n[other]'), "unknown key other"),
        (("data = ", '"a\\nb\\u001b[2J' + "x" * 5_000 + '" = 1\ndata = '), r"unknown key a\?b\?\[2Jxxx"),
    ],
)
def test_what_would_trip_later_is_refused_at_once(tmp_path: Path, change: tuple[str, str], says: str) -> None:
    with pytest.raises(ConfigError, match=says) as caught:
        load_config(written(tmp_path, GOOD.replace(*change)))
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 500 + len(str(tmp_path))


def test_an_endless_file_is_not_read_to_its_end() -> None:
    with pytest.raises(ConfigError, match="longer than"):
        load_config(Path("/dev/zero"))
    with pytest.raises(ConfigError, match="longer than"):
        load_preset(Path("/dev/zero"))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "learner.name is missing"),
        ('[learner]\nname = "x"\noptions = 3', "learner.options is no table"),
        ('params = 3\n[learner]\nname = "x"', "params is no table"),
        ('parms = 3\n[learner]\nname = "x"', "unknown key parms"),
    ],
)
def test_a_broken_preset_is_refused(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        load_preset(written(tmp_path, text))


PEER = "16Uiu2HAm6RLcTUcCVX1YmMEWVWADdJLdHgjoY1G4kkxzD6XNF1zc"
HERE, THERE = "/ip4/203.0.113.7/tcp/4001", "/dns4/example.org/tcp/4001"


def networked(directory: Path, lines: str) -> NetworkSection:
    return load_config(written(directory, GOOD.replace("[ledger]", f"[network]\n{lines}\n[ledger]"))).network


def test_nothing_is_announced_and_nobody_is_looked_for_unless_it_is_asked_for(tmp_path: Path) -> None:
    network = load_config(written(tmp_path, GOOD)).network
    assert (network.listen, network.announce, network.mdns) == ("/ip4/127.0.0.1/tcp/0", None, False)


@pytest.mark.parametrize(
    ("said", "announced"),
    [('"listen"', (HERE,)), (f'["{THERE}", "{HERE}"]', (THERE, HERE)), ("[]", ())],
)
def test_what_the_topic_is_to_say(tmp_path: Path, said: str, announced: tuple[str, ...]) -> None:
    assert networked(tmp_path, f'listen = "{HERE}"\nannounce = {said}').announce == announced


@pytest.mark.parametrize(
    ("said", "known"), [(f'"{HERE}"', (HERE,)), (f'["{HERE}", "{THERE}"]', (HERE, THERE))]
)
def test_a_peer_has_one_address_or_several(tmp_path: Path, said: str, known: tuple[str, ...]) -> None:
    assert networked(tmp_path, f"peers.{PEER} = {said}").peers == {PEER: known}


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        ('announce = "listen"', "network.announce.0: .*nobody can dial"),
        ('announce = ["/ip4/0.0.0.0/tcp/4001"]', "network.announce.0: .*nobody can dial"),
        (f"announce = {[HERE] * 5}", "network.announce: .*at most 4"),
        (f'peers.{PEER} = ["{HERE}", "/ip4/nowhere/tcp/4001"]', f"network.peers.{PEER}.1: .*nobody can dial"),
        (f"peers.{PEER} = {[HERE] * 9}", "at most 8"),
        (f'peers.{PEER} = "/ip4/203.0.113.7/tcp/70000"', "nobody can dial"),
    ],
)
def test_addresses_that_lead_nowhere_are_refused(tmp_path: Path, lines: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says) as caught:
        networked(tmp_path, lines)
    assert "\n" not in str(caught.value)
