"""Real money wants to be meant: every command that spends on the ledger reads its configuration here."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, TypeVar

import click

from node.config import ConfigError, LedgerAccess

MAINNET = "mainnet"
"""The network whose hbar are money."""


class _Spends(Protocol):
    @property
    def ledger(self) -> LedgerAccess: ...


_Config = TypeVar("_Config", bound=_Spends)


def mainnet_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the flag `--mainnet`, for `load_to_spend`."""
    return click.option(
        "--mainnet", is_flag=True, help="Spend real hbar, which a file with network = mainnet is about."
    )(command)


def load_to_spend(load: Callable[[Path], _Config], file: Path, mainnet: bool) -> _Config:
    """Read the configuration of a command that spends. Raises ConfigError, also when the network is not meant."""
    config = load(file)
    network = config.ledger.network
    if network == MAINNET and not mainnet:
        raise ConfigError(
            f"{file} is about mainnet, where real hbar are spent: see with `roundabout cost` how many, and add "
            "--mainnet if that is meant"
        )
    if mainnet and network != MAINNET:
        raise ConfigError(
            f"--mainnet was given, but {file} is about {network}: leave the flag out, or correct [ledger] network"
        )
    return config
