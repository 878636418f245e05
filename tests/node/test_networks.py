"""Network profiles, and the key that a configuration names."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import pytest

import node.presets
from ledger.hiero import PrivateKey
from ledger.localnet.serve import Ports
from ledger.localnet.state import NODES
from ledger.topic import LedgerError
from node.config import ConfigError, LedgerAccess, load_profile
from node.identity import identity_of
from node.networks import account_key, network_of, profile_of
from node.presets import network_file, preset_file
from tests.ledger.key_forms import shown_forms

PROFILES = Path(__file__).parents[2] / "configs" / "networks"
NAMES = get_args(LedgerAccess.model_fields["network"].annotation)
SECRET = bytes(range(1, 33))
DER = PrivateKey.from_bytes_ed25519(SECRET).to_bytes_der()


def access(**changes: Any) -> LedgerAccess:
    return LedgerAccess.model_validate({"network": "localnet", "account": "0.0.2"} | changes)


def test_there_is_a_profile_for_each_network_and_no_other() -> None:
    assert sorted(NAMES) == sorted(path.stem for path in PROFILES.glob("*.toml"))


@pytest.mark.parametrize("name", NAMES)
def test_profiles_are_read(name: str) -> None:
    network = network_of(access(network=name))
    public = name in ("testnet", "mainnet")
    assert network.name == name
    assert network.mirror_rest.startswith("https://" if public else "http://127.0.0.1:")
    assert bool(network.nodes) != public, "public networks publish their nodes, and those change"


def test_the_localnet_profile_is_where_a_localnet_serves() -> None:
    ports = Ports.preset(len(NODES))
    network = network_of(access())
    served = dict(zip(NODES, (ports.consensus[0], *ports.more_nodes), strict=True))
    assert network.nodes == {f"0.0.{number}": f"127.0.0.1:{port}" for number, port in served.items()}
    assert network.mirror_rest == f"http://127.0.0.1:{ports.mirror_rest[0]}"
    assert network.mirror_grpc == f"127.0.0.1:{ports.mirror_grpc}"


def test_the_solo_profile_is_what_a_localnet_also_listens_on() -> None:
    ports = Ports.preset()
    network = network_of(access(network="solo"))
    assert network.nodes == {"0.0.3": f"127.0.0.1:{ports.consensus[1]}"}
    assert network.mirror_rest == f"http://127.0.0.1:{ports.mirror_rest[1]}"


def test_what_is_configured_comes_before_the_profile() -> None:
    network = network_of(access(mirror="http://127.0.0.1:1", nodes={"0.0.3": "127.0.0.1:2"}))
    assert network.mirror_rest == "http://127.0.0.1:1"
    assert network.mirror_grpc is None, "another mirror's news would be another network's"
    assert network.nodes == {"0.0.3": "127.0.0.1:2"}
    assert network_of(access(mirror_grpc="127.0.0.1:3")).mirror_grpc == "127.0.0.1:3"


def test_real_money_is_spent_the_slowest() -> None:
    limits = {name: profile_of(access(network=name)).spend_limit for name in NAMES}
    assert all(limits["mainnet"] < limit for name, limit in limits.items() if name != "mainnet")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (("patience = 20", "patience = 0"), "patience"),
        (("mirror =", "miror ="), "unknown key miror"),
        (("spend_limit = 2_500_000_000", ""), "the key spend_limit is missing"),
        (('"0.0.3"', '"3"'), "nodes.3"),
    ],
)
def test_a_broken_profile_is_refused_in_one_line(tmp_path: Path, change: tuple[str, str], says: str) -> None:
    file = tmp_path / "localnet.toml"
    file.write_text((PROFILES / "localnet.toml").read_text().replace(*change))
    with pytest.raises(ConfigError, match=says) as caught:
        load_profile(file)
    assert "\n" not in str(caught.value)


def test_an_installed_distribution_has_them_under_share(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(node.presets, "__file__", str(tmp_path / "site" / "node" / "presets.py"))
    monkeypatch.setattr(node.presets.sys, "prefix", str(tmp_path))
    with pytest.raises(ConfigError, match="network profile solo is not installed; install the distribution"):
        network_file("solo")
    configs = tmp_path / "share" / "roundabout" / "configs"
    (configs / "networks").mkdir(parents=True)
    (configs / "networks" / "solo.toml").touch()
    assert network_file("solo") == configs / "networks" / "solo.toml"
    with pytest.raises(ConfigError, match="preset solo is not installed"):
        preset_file("solo")


# ---- keys ----


@pytest.mark.parametrize(
    ("text", "key"),
    [
        (SECRET.hex(), SECRET),
        ("0x" + SECRET.hex(), SECRET),
        (f" {DER.hex()}\n", DER),
    ],
)
def test_a_key_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch, text: str, key: bytes) -> None:
    monkeypatch.setenv("RB_KEY", text)
    assert account_key(access(key_env="RB_KEY"), identity_of(bytes(31) + b"\x07")) == key


def test_by_default_the_key_is_the_identitys(tmp_path: Path) -> None:
    assert account_key(access(), identity_of(SECRET)) == SECRET
    with pytest.raises(LedgerError, match=r"key_file and ledger\.key_env are missing: name"):
        account_key(access(), None)
    (tmp_path / "account.key").write_bytes(DER)
    assert account_key(access(key_file=tmp_path / "account.key"), identity_of(SECRET)) == DER


def test_two_keys_are_one_too_many() -> None:
    with pytest.raises(ValueError, match="key_file and key_env both name a key; leave one out"):
        access(key_file="account.key", key_env="RB_KEY")


def everything_said(error: BaseException | None) -> str:
    """The error, and those it comes from."""
    said = ""
    while error is not None:
        said += repr(error) + str(error)
        error = error.__cause__ or error.__context__
    return said


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (None, "RB_KEY is empty; set it"),
        ("  ", "RB_KEY is empty; set it"),
        (SECRET.hex()[:-1], "RB_KEY holds no private key"),
        (SECRET.hex() + "00", "RB_KEY holds no private key"),
        ("zz" + DER.hex(), "RB_KEY holds no private key"),
        (DER.hex()[:-2], "RB_KEY holds no private key"),
    ],
)
def test_what_is_no_key_is_not_quoted(monkeypatch: pytest.MonkeyPatch, text: str | None, says: str) -> None:
    monkeypatch.delenv("RB_KEY", raising=False)
    if text is not None:
        monkeypatch.setenv("RB_KEY", text)
    with pytest.raises(LedgerError, match=says) as caught:
        account_key(access(key_env="RB_KEY"), None)
    assert SECRET.hex()[4:-4] not in everything_said(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("write", [str, repr, bytes.hex, json.dumps], ids=lambda write: write.__name__)
@pytest.mark.parametrize("key", [SECRET, DER], ids=["raw", "DER"])
def test_a_leak_would_be_found(key: bytes, write: Callable[[Any], str]) -> None:
    text = f"key={write(repr(key) if write is json.dumps else key)};"
    assert any(form in text for form in shown_forms(key))
    assert not any(form in "public key " + "02" * 33 for form in shown_forms(key))
