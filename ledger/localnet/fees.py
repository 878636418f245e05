"""What a request costs: a list of prices in nanodollars at a fixed exchange rate, so that fees are predictable."""

import tomllib
from importlib.resources import files
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ledger.hiero import exchange_rate_pb2
from ledger.localnet.errors import LocalnetError

RATE_EXPIRES_S = 4_102_444_800
"""The rate's expiry in seconds since the epoch, the year 2100: it never changes."""
MAX_LIST_BYTES = 65_536

Nanodollars = Annotated[int, Field(ge=0, le=10**15)]


class _Parsed(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")


class Extra(_Parsed):
    """What is charged on top of a transaction's price."""

    included_bytes: Annotated[int, Field(ge=0, le=10**6)]
    """Of a whole serialized transaction; bytes past them cost."""
    byte: Nanodollars
    signature: Nanodollars
    """Each past the first."""
    topic_key: Nanodollars
    """Each single key that a new topic keeps."""


class FeeSchedule(_Parsed):
    """A list of prices."""

    cents_per_hbar: Annotated[int, Field(ge=1, le=1_000_000)]
    query: Nanodollars
    extra: Extra
    transactions: dict[str, Nanodollars]
    """By the name of the field in TransactionBody."""

    @classmethod
    def parse(cls, text: str) -> "FeeSchedule":
        """The list that a TOML text holds. Raises LocalnetError, which names the first thing wrong."""
        try:
            return cls.model_validate(tomllib.loads(text))
        except tomllib.TOMLDecodeError as fault:
            raise LocalnetError(f"the price list is not TOML ({fault}): correct it") from None
        except ValidationError as fault:
            first = fault.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            raise LocalnetError(
                f"the price list says {where}: {first['msg']}; compare it with fees.toml of the localnet"
            ) from None

    def price(self, kind: str, size: int, signatures: int, topic_keys: int) -> int:
        """What a transaction costs, tinybar. size: bytes. Raises KeyError for a kind without a price."""
        extra = self.extra
        return self.tinybar(
            self.transactions[kind]
            + extra.byte * max(0, size - extra.included_bytes)
            + extra.signature * max(0, signatures - 1)
            + extra.topic_key * topic_keys
        )

    def query_price(self) -> int:
        """What a paid query costs, tinybar."""
        return self.tinybar(self.query)

    def tinybar(self, nanodollars: int) -> int:
        """The fixed exchange, rounded up, so that nothing with a price is free."""
        return -(-nanodollars * 10 // self.cents_per_hbar)

    def exchange_rates(self) -> exchange_rate_pb2.ExchangeRateSet:
        """The fixed rate, as receipts carry it: now and next."""
        rate = exchange_rate_pb2.ExchangeRate(hbarEquiv=1, centEquiv=self.cents_per_hbar)
        rate.expirationTime.seconds = RATE_EXPIRES_S
        return exchange_rate_pb2.ExchangeRateSet(currentRate=rate, nextRate=rate)


def default_prices() -> str:
    """The text of the list that comes with the localnet."""
    return files("ledger.localnet").joinpath("fees.toml").read_text()
