"""What a request costs: fixed prices in dollars at a fixed exchange rate, so that fees can be predicted."""

from ledger.hiero import exchange_rate_pb2

CENTS_PER_HBAR = 10
"""The fixed exchange rate; one hbar is $0.10."""
TINYBAR_PER_DOLLAR = 100 * 100_000_000 // CENTS_PER_HBAR
RATE_EXPIRES_S = 4_102_444_800
"""The rate's expiry in seconds since the epoch, the year 2100: it never changes."""

QUERY_COST = TINYBAR_PER_DOLLAR // 10_000
"""A paid query, tinybar: $0.0001."""
EXTRA_SIGNATURE = TINYBAR_PER_DOLLAR // 10_000
"""Each signature past the first."""
EXTRA_KEY = TINYBAR_PER_DOLLAR // 100
"""Each single key that a new topic keeps."""


def dollars(amount: str) -> int:
    """Tinybar for a price such as `0.0008`, exactly."""
    whole, _, fraction = amount.partition(".")
    return int(whole + fraction) * TINYBAR_PER_DOLLAR // int(10 ** len(fraction))


def exchange_rates() -> exchange_rate_pb2.ExchangeRateSet:
    """The fixed rate, as receipts carry it: now and next."""
    rate = exchange_rate_pb2.ExchangeRate(hbarEquiv=1, centEquiv=CENTS_PER_HBAR)
    rate.expirationTime.seconds = RATE_EXPIRES_S
    return exchange_rate_pb2.ExchangeRateSet(currentRate=rate, nextRate=rate)
