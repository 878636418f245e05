"""A node's local configuration: one TOML file, typed, closed to unknown keys (docs/configuration.md).

It says where things are on this machine. What the members agree on is in the genesis record, not here.
"""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from protocol.fields import AccountField, PeerField, TopicField
from protocol.messages import first_error

MAX_CONFIG = 256 * 1024
"""Bytes of the largest configuration file."""

HostPort = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9.\[\]:-]{1,255}:[0-9]{1,5}$")]
Url = Annotated[str, StringConstraints(pattern=r"^https?://[^\s]{1,255}$")]
Multiaddr = Annotated[
    str, StringConstraints(pattern=r"^/(ip4|ip6|dns|dns4|dns6)/[^/\s]{1,255}/tcp/[0-9]{1,5}$")
]


class ConfigError(Exception):
    """The configuration cannot be used; the message names file, key, cause and remedy."""


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class IdentitySection(_Section):
    """Who we are."""

    file: Path
    """The key file, made by `roundabout identity`."""
    passphrase_env: str | None = None
    """The environment variable that holds its passphrase, if it has one."""


class NetworkSection(_Section):
    """How members reach each other."""

    listen: Multiaddr = "/ip4/127.0.0.1/tcp/0"
    """Where we listen; port 0 takes any free one."""
    peers: Mapping[PeerField, Multiaddr] = Field(default_factory=dict)
    """The address of each member we can reach, by peer id."""


class LedgerSection(_Section):
    """Which topic, on which Hedera network, and who pays for our messages."""

    network: Literal["localnet", "solo", "testnet", "mainnet"]
    topic: TopicField
    account: AccountField
    key_file: Path | None = None
    """The account's private key (DER hex); by default the account has the identity's key."""
    mirror: Url | None = None
    """The mirror node's REST address; testnet and mainnet have one by default."""
    mirror_grpc: HostPort | None = None
    nodes: Mapping[AccountField, HostPort] = Field(default_factory=dict)
    """Consensus nodes by account; testnet and mainnet have them by default."""


class LearnerSection(_Section):
    """What we learn, and from which data."""

    name: str
    options: Mapping[str, Any] = Field(default_factory=dict)


class LogSection(_Section):
    """What is logged, to standard error."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["json", "text"] = "text"


class Config(_Section):
    """One node's configuration; relative paths are relative to the file."""

    data: Path
    """Directory of the journal, the blobs and the learner's data."""
    identity: IdentitySection
    ledger: LedgerSection
    learner: LearnerSection
    network: NetworkSection = NetworkSection()
    log: LogSection = LogSection()


def load_config(path: Path) -> Config:
    """Read a configuration file. Raises ConfigError with one line."""
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise ConfigError(
            f"cannot read {path}: {error.strerror}; name an existing file with --config"
        ) from None
    if len(raw) > MAX_CONFIG:
        raise ConfigError(f"{path} has {len(raw)} bytes; a configuration has at most {MAX_CONFIG}")
    try:
        config = Config.model_validate(tomllib.loads(raw.decode()))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not TOML: {error}; see docs/configuration.md") from None
    except ValidationError as error:
        raise ConfigError(f"{path}: {_remedy(error)}; see docs/configuration.md") from None
    return _resolved(config, path.parent)


def _remedy(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    key = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        return f"unknown key {key}: remove it or mend its spelling"
    if first["type"] == "missing":
        return f"the key {key} is missing: add it"
    return f"the key {first_error(error)}"


def _resolved(config: Config, base: Path) -> Config:
    identity = config.identity.model_copy(update={"file": base / config.identity.file})
    ledger = config.ledger
    if ledger.key_file is not None:
        ledger = ledger.model_copy(update={"key_file": base / ledger.key_file})
    return config.model_copy(update={"data": base / config.data, "identity": identity, "ledger": ledger})
