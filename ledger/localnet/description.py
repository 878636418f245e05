"""`localnet.json`: how to reach a localnet that serves, for whoever shares its directory."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from ledger.localnet.errors import LocalnetError

DESCRIPTION = "localnet.json"
"""Its name in the directory; it is there while, and only while, the network serves."""


class Description(BaseModel):
    """Addresses and the operator's key of a localnet."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    network: str
    nodes: dict[str, str]
    """Consensus node account to `host:port`."""
    mirror_grpc: str
    """`host:port`."""
    mirror_rest: str
    """Base URL, without `/api/v1`."""
    operator_account: str
    operator_key: str
    """The private key, DER in hex."""
    pid: int


def read_description(directory: Path) -> Description:
    """How to reach the localnet of a directory. Raises LocalnetError when none serves there."""
    path = directory / DESCRIPTION
    try:
        return Description.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        raise LocalnetError(
            f"no localnet serves from {directory}: start one with `roundabout localnet --dir {directory}`"
        ) from None
    except ValidationError:
        raise LocalnetError(f"{path} is not a localnet's description: start the localnet again") from None
