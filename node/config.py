"""A node's local configuration: one TOML file, typed, closed to unknown keys (docs/configuration.md).

It says where things are on this machine. What the members agree on is in the genesis record, not here.
"""

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    StringConstraints,
    ValidationError,
    model_validator,
)

from node.net.addresses import PER_SOURCE, Scope, scope_of
from protocol.errors import shown
from protocol.fields import MAX_INTEGER, AccountField, AddressField, PeerField, TopicField
from protocol.messages import first_error

MAX_CONFIG = 256 * 1024
"""Bytes of the largest configuration file."""
ANNOUNCED = 4
"""Addresses that a member may put on the topic (SPEC.md, records)."""


def _port(address: str) -> str:
    if int(address.rpartition("/" if "/" in address else ":")[2]) > 65_535:
        raise ValueError("ports end at 65535")
    return address


HostPort = Annotated[
    str, StringConstraints(pattern=r"^[A-Za-z0-9.\[\]:-]{1,255}:[0-9]{1,5}$"), AfterValidator(_port)
]
HostName = Annotated[str, StringConstraints(pattern=r"^([A-Za-z0-9.-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])$")]
Url = Annotated[str, StringConstraints(pattern=r"^https?://[^\s]{1,255}$")]
Multiaddr = Annotated[
    str,
    StringConstraints(pattern=r"^/(ip4|ip6|dns|dns4|dns6)/[^/\s]{1,255}/tcp/[0-9]{1,5}$"),
    AfterValidator(_port),
]


def _dialled(address: Any) -> Any:
    if isinstance(address, str) and scope_of(address) is Scope.NOWHERE:
        raise ValueError("nobody can dial this address; expected for example /ip4/203.0.113.7/tcp/4001")
    return address


def _several(addresses: Any) -> Any:
    return (addresses,) if isinstance(addresses, str) else addresses


Addresses = Annotated[
    tuple[Annotated[Multiaddr, BeforeValidator(_dialled)], ...],
    BeforeValidator(_several),
    Field(max_length=PER_SOURCE),
]
Announced = Annotated[
    tuple[Annotated[AddressField, BeforeValidator(_dialled)], ...], Field(max_length=ANNOUNCED)
]


def _nameable(path: Path) -> Path:
    if "\0" in str(path):
        raise ValueError("no file has a name with a zero byte in it")
    return path


FilePath = Annotated[Path, AfterValidator(_nameable)]


def _no_key_itself(path: Path) -> Path:
    # What is said of a file quotes its name.
    if re.search(r"[0-9A-Fa-f]{64}[^/]*$|PRIVATE KEY", str(path)):
        raise ValueError("a key itself does not belong here; write it to a file, and name that")
    return path


KeyPath = Annotated[FilePath, AfterValidator(_no_key_itself)]


def _no_secret(name: str) -> str:
    # Names are quoted, so that they must be shorter than any key in hex.
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]{0,59}", name):
        raise ValueError("expected the name of an environment variable, which then holds the secret")
    return name


VariableName = Annotated[str, AfterValidator(_no_secret)]
SpendLimit = Annotated[int, Field(strict=True, ge=0, le=2**62)]


class ConfigError(Exception):
    """The configuration cannot be used; the message names file, key, cause and remedy."""


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class IdentitySection(_Section):
    """Who we are."""

    file: KeyPath
    """The key file, made by `roundabout identity`."""
    passphrase_env: VariableName | None = None
    """The environment variable that holds its passphrase, if it has one."""


class NetworkSection(_Section):
    """How members reach each other."""

    listen: Multiaddr = "/ip4/127.0.0.1/tcp/0"
    """Where we listen; port 0 takes any free one."""
    peers: Mapping[PeerField, Addresses] = Field(default_factory=dict)
    """The address, or the addresses, of each member we can reach, by peer id."""
    announce: Announced | None = None
    """Where the topic is to say that we can be reached, for ever; by default the topic is left as it is."""
    mdns: bool = False
    """Whether to look for members on the local network, and to say there where we listen."""

    @model_validator(mode="before")
    @classmethod
    def _announce_listen(cls, raw: Any) -> Any:
        """The word "listen" stands for the address that we listen on."""
        if isinstance(raw, dict) and raw.get("announce") == "listen":
            return {**raw, "announce": (raw.get("listen", cls.model_fields["listen"].default),)}
        return raw


class LedgerAccess(_Section):
    """Which Hedera network, and who pays on it."""

    network: Literal["localnet", "solo", "testnet", "mainnet"]
    account: AccountField
    key_file: KeyPath | None = None
    """The file of the account's private key; by default the account has the identity's key."""
    key_env: VariableName | None = None
    """The environment variable that holds it instead."""
    mirror: Url | None = None
    """The mirror node's REST address; each network has one by default."""
    mirror_grpc: HostPort | None = None
    """The mirror's gRPC address: news come at once instead of by polling."""
    nodes: Mapping[AccountField, HostPort] = Field(default_factory=dict)
    """Consensus nodes by account; each network has them by default."""

    @model_validator(mode="after")
    def _one_key(self) -> Self:
        if self.key_file is not None and self.key_env is not None:
            raise ValueError("key_file and key_env both name a key; leave one out")
        return self


class NetworkProfile(_Section):
    """What is known of a network before anything is configured: a file of configs/networks/."""

    mirror: Url
    """The mirror node's REST address."""
    mirror_grpc: HostPort
    """The mirror's gRPC address."""
    nodes: Mapping[AccountField, HostPort] = Field(default_factory=dict)
    """Consensus nodes by account; none for a public network, whose address book is asked for."""
    patience: Annotated[int, Field(strict=True, ge=1, le=600)]
    """Seconds for which a call is tried while no node answers."""
    spend_limit: SpendLimit
    """Tinybar an hour, unless the configuration says otherwise."""


class LedgerSection(LedgerAccess):
    """The same, the run's topic on it, and what the node may spend there."""

    topic: TopicField
    spend_limit: SpendLimit | None = None
    """Tinybar an hour, fees and transfers together; over it nothing is sent. Each network has one by default."""


class LearnerSection(_Section):
    """What we learn, and from which data."""

    name: str
    options: Mapping[str, JsonValue] = Field(default_factory=dict)


class BlobsSection(_Section):
    """How much disk the weights may take."""

    quota: Annotated[int, Field(strict=True, ge=1, le=2**40)] = 4096
    """MiB that the store may hold."""
    keep_history: bool = False
    """Whether the weights that we vote on and propose are kept beyond their round, for `roundabout replay`."""
    history_quota: Annotated[int, Field(strict=True, ge=1, le=2**40)] = 1024
    """MiB that those may take; what comes after they do is not kept."""


class LogSection(_Section):
    """What is logged, to standard error."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["json", "text"] = "text"


class OperatorSection(_Section):
    """The operator's view of the node: API, metrics and dashboard over HTTP, read only."""

    enabled: bool = True
    """Whether there is one."""
    listen: HostPort | None = None
    """Where it listens; by default on 127.0.0.1, at port 8710 or, where that is taken, at any free one."""
    hosts: Annotated[tuple[HostName, ...], Field(max_length=16)] = ()
    """Further host names under which browsers may ask for it, such as a proxy's."""


class Config(_Section):
    """One node's configuration; relative paths are relative to the file."""

    data: FilePath
    """Directory of the journal, the blobs and the learner's data."""
    identity: IdentitySection
    ledger: LedgerSection
    learner: LearnerSection
    network: NetworkSection = NetworkSection()
    blobs: BlobsSection = BlobsSection()
    log: LogSection = LogSection()
    operator: OperatorSection = OperatorSection()


class MemberSection(_Section):
    """One member of a run to be founded."""

    peer: PeerField
    account: AccountField


class TreasurySection(_Section):
    """The account that will hold the run's money; several members' keys sign for it together."""

    enabled: bool = True
    """Without a treasury nobody pays or earns anything."""
    required: Annotated[int, Field(strict=True, ge=1, le=1000)] | None = None
    """How many members sign for a payment; by default more than half."""
    fund: Annotated[int, Field(strict=True, ge=0, le=MAX_INTEGER)] = 0
    """Tinybar that the founder puts into the pool."""


class FoundingConfig(_Section):
    """A run to be founded: who takes part, by which rules, and who pays for the topic."""

    preset: Annotated[str, StringConstraints(pattern=r"^([a-z][a-z0-9-]{0,63}|.{1,1024}\.toml)$")] = "driving"
    """A file of configs/, without its ending; or the path of another, which ends in .toml."""
    memo: Annotated[str, StringConstraints(max_length=80)] = "roundabout"
    """The topic's memo."""
    ledger: LedgerAccess
    params: Mapping[str, Any] = Field(default_factory=dict)
    """Parameters that differ from the preset's."""
    treasury: TreasurySection = TreasurySection()
    writers: Literal["members", "anyone"] | None = None
    """Who may write to the topic; by default the first members with admission by vote, else anyone."""
    members: Annotated[tuple[MemberSection, ...], Field(min_length=1, max_length=1000)]


_AnyConfig = TypeVar("_AnyConfig", bound=_Section)


def load_config(path: Path) -> Config:
    """Read a node's configuration. Raises ConfigError with one line."""
    config, base = _load(path, Config), path.parent
    identity = config.identity.model_copy(update={"file": base / config.identity.file})
    ledger = config.ledger.model_copy(update={"key_file": _beside(path, config.ledger.key_file)})
    return config.model_copy(update={"data": base / config.data, "identity": identity, "ledger": ledger})


def load_founding(path: Path) -> FoundingConfig:
    """Read what a run is to be founded with. Raises ConfigError with one line."""
    config = _load(path, FoundingConfig)
    ledger = config.ledger.model_copy(update={"key_file": _beside(path, config.ledger.key_file)})
    preset = config.preset
    if preset.endswith(".toml"):
        preset = str(path.parent / preset)
    return config.model_copy(update={"ledger": ledger, "preset": preset})


def load_profile(path: Path) -> NetworkProfile:
    """Read a network's profile. Raises ConfigError with one line."""
    return _load(path, NetworkProfile)


def read_toml(path: Path, example: str) -> dict[str, Any]:
    """The tables of a TOML file; `example` is where people see how it is written. Raises ConfigError."""
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_CONFIG + 1)
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}; name an existing file, {example}") from None
    if len(raw) > MAX_CONFIG:
        raise ConfigError(f"{path} is longer than the {MAX_CONFIG} bytes of a configuration; shorten it")
    try:
        return tomllib.loads(raw.decode())
    except (ValueError, RecursionError) as error:  # no TOML, no UTF-8, or an integer of thousands of digits
        raise ConfigError(f"{path} is not TOML: {shown(error)}; {example}") from None


def _load(path: Path, kind: type[_AnyConfig]) -> _AnyConfig:
    try:
        return kind.model_validate(read_toml(path, "see docs/configuration.md"))
    except ValidationError as error:
        raise ConfigError(f"{path}: {_remedy(error)}; see docs/configuration.md") from None


def _remedy(error: ValidationError) -> str:
    found = error.errors(include_url=False, include_input=False, include_context=False)
    # A misspelt key is also a missing one; where it is spelt wrong says more.
    first = min(found, key=lambda fault: fault["type"] != "extra_forbidden")
    key = shown(".".join(str(part) for part in first["loc"]), 80)
    if first["type"] == "extra_forbidden":
        return f"unknown key {key}: remove it or mend its spelling"
    if first["type"] == "missing":
        return f"the key {key} is missing: add it"
    return f"the key {first_error(error)}"


def _beside(path: Path, file: Path | None) -> Path | None:
    return None if file is None else path.parent / file
