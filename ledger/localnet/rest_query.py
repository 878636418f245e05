"""The query strings of the mirror's REST API: filters with operators, order, limit, next page."""

import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TypeVar
from urllib.parse import quote

from ledger.localnet.state import SECOND_NS

DEFAULT_LIMIT = 25
MAX_LIMIT = 100
MAX_PARAMETERS = 100
MAX_INT64 = (1 << 63) - 1

_INTEGER = re.compile(r"[0-9]{1,19}", re.ASCII)
_TIMESTAMP = re.compile(r"([0-9]{1,10})(?:\.([0-9]{1,9}))?", re.ASCII)
_ENTITY = re.compile(r"(?:0\.0\.)?([0-9]{1,19})", re.ASCII)

T = TypeVar("T")


class BadParameter(Exception):
    """A parameter that the mirror refuses with status 400; carries its name."""

    def __init__(self, name: str) -> None:
        super().__init__(f"Invalid parameter: {name}")


@dataclass(frozen=True, slots=True)
class Window:
    """The integers that a parameter's filters leave: from low to high, both included, without some."""

    low: int = 0
    high: int = MAX_INT64 * SECOND_NS
    without: frozenset[int] = frozenset()

    def __contains__(self, value: int) -> bool:
        return self.low <= value <= self.high and value not in self.without

    def narrowed(self, operator: str, value: int) -> "Window":
        """This window with one more filter. Raises KeyError for an operator there is not."""
        low, high, without = self.low, self.high, self.without
        match operator:
            case "gt":
                low = max(low, value + 1)
            case "gte":
                low = max(low, value)
            case "lt":
                high = min(high, value - 1)
            case "lte":
                high = min(high, value)
            case "eq":
                low, high = max(low, value), min(high, value)
            case "ne":
                without |= {value}
            case _:
                raise KeyError(operator)
        return Window(low, high, without)


@dataclass(frozen=True, slots=True)
class Query:
    """A parsed query string; parameters that an endpoint does not know have been refused."""

    path: str
    parameters: tuple[tuple[str, str], ...]
    descending: bool
    limit: int

    def values(self, name: str) -> Iterator[str]:
        """Every value of a parameter, in order."""
        return (value for key, value in self.parameters if key == name)

    def window(self, name: str, parse: Callable[[str], int]) -> Window:
        """What a parameter's filters leave, e.g. `gte:5`. Raises BadParameter."""
        window = Window()
        for text in self.values(name):
            operator, colon, operand = text.rpartition(":")
            try:
                window = window.narrowed(operator if colon else "eq", parse(operand))
            except (KeyError, ValueError):
                raise BadParameter(name) from None
        return window

    def next_link(self, cursor: str, position: str, count: int) -> str | None:
        """The link to the page after a full one whose last item is at `position` of the cursor parameter."""
        if count < self.limit:
            return None
        beyond = "lt" if self.descending else "gt"
        kept = [
            (key, value)
            for key, value in self.parameters
            if key not in ("limit", "order") and not (key == cursor and value.startswith(beyond))
        ]
        order = "desc" if self.descending else "asc"
        parameters = [("limit", str(self.limit)), ("order", order), *kept, (cursor, f"{beyond}:{position}")]
        return (
            self.path + "?" + "&".join(f"{quote(key)}={quote(value, safe=':')}" for key, value in parameters)
        )


def parse_query(path: str, parameters: Iterable[tuple[str, str]], known: frozenset[str], order: str) -> Query:
    """A query string's parameters, checked. order: the endpoint's own, asc or desc. Raises BadParameter."""
    given = tuple(islice(parameters, MAX_PARAMETERS + 1))
    if len(given) > MAX_PARAMETERS:
        raise BadParameter(given[MAX_PARAMETERS][0])
    limit = DEFAULT_LIMIT
    for name, value in given:
        if name not in known | {"limit", "order"}:
            raise BadParameter(name)
        if name == "order":
            order = value.lower()
            if order not in ("asc", "desc"):
                raise BadParameter(name)
        if name == "limit":
            limit = _limit(value)
    return Query(path, given, order == "desc", limit)


def select(
    items: Sequence[T],
    position: Callable[[T], int],
    window: Window,
    query: Query,
    wanted: Callable[[T], bool],
) -> list[T]:
    """The page of items, sorted by position, that are in the window and wanted; at most the query's limit."""
    start = bisect_left(items, window.low, key=position)
    stop = bisect_right(items, window.high, key=position)
    indices = range(stop - 1, start - 1, -1) if query.descending else range(start, stop)
    matching = (items[i] for i in indices if position(items[i]) not in window.without and wanted(items[i]))
    return list(islice(matching, query.limit))


def parse_integer(text: str) -> int:
    """A decimal int64 that is not negative. Raises ValueError."""
    if not _INTEGER.fullmatch(text) or int(text) > MAX_INT64:
        raise ValueError(text)
    return int(text)


def parse_timestamp(text: str) -> int:
    """Nanoseconds of `seconds` or `seconds.nanoseconds`. Raises ValueError."""
    match = _TIMESTAMP.fullmatch(text)
    if match is None:
        raise ValueError(text)
    return int(match[1]) * SECOND_NS + int((match[2] or "0").ljust(9, "0"))


def parse_entity(text: str) -> int:
    """The number of an entity, `0.0.num` or `num`. Raises ValueError."""
    match = _ENTITY.fullmatch(text)
    if match is None:
        raise ValueError(text)
    return parse_integer(match[1])


def _limit(text: str) -> int:
    try:
        limit = parse_integer(text)
    except ValueError:
        limit = 0
    if limit == 0:
        raise BadParameter("limit")
    return min(limit, MAX_LIMIT)
