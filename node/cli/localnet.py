"""`roundabout localnet`: an embedded Hedera network."""

from ledger.localnet.__main__ import main as command

__all__ = ["command"]
