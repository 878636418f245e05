"""What the API answers: to whoever may ask, what the board tells; to all others, one line."""

import json

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from node.console.app import PAGE, Console
from node.console.events import MAX_STREAMS, EventStream
from node.console.gate import HEADERS, MAX_REQUESTS, Gate, host_of
from node.console.metrics import Metrics
from node.console.openapi import ANSWERS, TEXTS
from node.console.schema import Change, Fault, Health, MemberList, RoundPage, Status
from tests.console.watched import Watched, client_of, comparison, number, played
from tests.protocol.world import Run

ROUNDS = 12
RUN = played(
    Run(4, pool=10**9, reward_vote=1_000), *["accepted", "rejected", "passed", "closed"] * (ROUNDS // 4)
)
BOARD = Watched(RUN, 1).board
BOARD.on_scored(number(1), comparison(), 0.5)


async def get(path: str, **headers: str):
    async with client_of(BOARD, **headers) as client:
        return await client.get(path)


async def test_status_rounds_members_and_health() -> None:
    status = Status.model_validate_json((await get("/api/status")).content)
    assert status == BOARD.status()
    page = RoundPage.model_validate_json((await get("/api/rounds")).content)
    assert [each.number for each in page.rounds] == list(range(1, ROUNDS + 1))
    assert page.rounds[0].comparison is not None
    members = MemberList.model_validate_json((await get("/api/members")).content)
    assert members.members == status.members
    answer = await get("/healthz")
    assert (answer.status_code, Health.model_validate_json(answer.content).state) == (200, "live")


async def test_an_overdue_round_is_told_by_status_503() -> None:
    watched = Watched(RUN, 1)
    watched.now = RUN.current.deadline + RUN.now.params.window + 1
    async with client_of(watched.board) as client:
        answer = await client.get("/healthz")
    assert (answer.status_code, answer.json()["healthy"]) == (503, False)


async def test_the_document_names_every_answer() -> None:
    document = (await get("/api/openapi.json")).json()
    assert set(document["paths"]) == {*ANSWERS, *TEXTS, "/api/openapi.json"}
    schemas = document["components"]["schemas"]
    for path, (_, model) in ANSWERS.items():
        told = (await get(path)).json()
        schema = schemas[model.__name__]
        assert set(schema["required"]) <= set(told) <= set(schema["properties"])
    asked = {each["name"] for each in document["paths"]["/api/rounds"]["get"]["parameters"]}
    assert asked == {"from", "limit"}
    referred = set(_references(document))
    assert referred
    assert all(name.removeprefix("#/components/schemas/") in schemas for name in referred)


def _references(value: object):
    if isinstance(value, dict):
        yield from ([value["$ref"]] if "$ref" in value else [])
        for inner in value.values():
            yield from _references(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _references(inner)


@pytest.mark.parametrize("name", PAGE)
async def test_the_page_comes_with_its_type_and_headers(name: str) -> None:
    answer = await get("/" if name == "index.html" else f"/{name}")
    assert (answer.status_code, answer.headers["content-type"]) == (200, PAGE[name])
    assert all(answer.headers[key] == value for key, value in HEADERS.items())
    assert b"http://" not in answer.content.replace(b"http://www.w3.org/", b"")
    assert b"https://" not in answer.content


# ---- who may ask ----


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:8710", 200),
        ("LOCALHOST:1", 200),
        ("localhost", 200),
        ("evil.example:8710", 421),
        ("127.0.0.1.evil.example", 421),
        ("evil.example@127.0.0.1", 421),
        ("[::1]:8710", 421),
        ("", 421),
    ],
)
async def test_only_known_host_names_are_answered(host: str, status: int) -> None:
    answer = await get("/api/status", Host=host)
    assert answer.status_code == status
    if status != 200:
        assert "\n" not in Fault.model_validate_json(answer.content).error


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE"])
async def test_everything_is_only_to_be_read(method: str) -> None:
    async with client_of(BOARD) as client:
        answer = await client.request(method, "/api/status")
    assert answer.status_code == 405
    assert answer.headers["allow"] == "GET, HEAD"
    assert not any(name.startswith("access-control") for name in answer.headers)


async def test_other_sites_pages_may_link_here_and_no_more() -> None:
    strange = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}
    assert (await get("/api/events", **strange)).status_code == 403
    assert (await get("/", **strange | {"Sec-Fetch-Mode": "navigate"})).status_code == 200


@pytest.mark.parametrize(
    "path", ["/nothing", "/api", "/api/status/", "/page/index.html", "/../pyproject.toml", "/%2e%2e/x"]
)
async def test_what_is_not_there_is_said_in_one_line(path: str) -> None:
    answer = await get(path)
    assert answer.status_code == 404
    assert "\n" not in Fault.model_validate_json(answer.content).error


def test_hosts_are_read_as_browsers_write_them() -> None:
    assert host_of(["[::1]:8710"]) == host_of(["[::1]"]) == "[::1]"
    assert host_of(["a:1", "a:1"]) is None
    assert host_of([]) is None
    assert host_of(["a.example:b"]) == "a.example:b"


# ---- what may be asked ----

texts = st.one_of(
    st.integers(-5, 700).map(str), st.text(max_size=30), st.sampled_from(["0", "01", "٣", "9" * 17])
)


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(["from", "limit", "start", "x"]) | st.text(max_size=8), texts), max_size=4
    )
)
async def test_any_query_gives_rounds_or_one_line(query: list[tuple[str, str]]) -> None:
    async with client_of(BOARD) as client:
        answer = await client.get("/api/rounds", params=query)
    if answer.status_code != 200:
        assert answer.status_code == 400
        assert Fault.model_validate_json(answer.content).error.isprintable()
        return
    asked = {name: int(value) for name, value in query}
    assert set(asked) <= {"from", "limit"}
    assert 1 <= asked.get("limit", 100) <= 500
    page = RoundPage.model_validate_json(answer.content)
    numbers = list(range(1, ROUNDS + 1))
    limit = asked.get("limit", 100)
    expected = [n for n in numbers if n >= asked["from"]][:limit] if "from" in asked else numbers[-limit:]
    assert [each.number for each in page.rounds] == expected
    assert page.first == 1
    rest = [n for n in numbers if expected and n > expected[-1]]
    assert page.next == (rest[0] if "from" in asked and rest else None)


@pytest.mark.parametrize("path", ["/api/status", "/api/members", "/api/events", "/metrics"])
async def test_other_routes_take_no_parameters(path: str) -> None:
    assert (await get(f"{path}?limit=1")).status_code == 400


async def test_long_queries_are_refused_unread() -> None:
    assert (await get("/api/rounds?from=" + "1" * 2000)).status_code == 414


# ---- bounds ----


class _Requests:
    """Requests to an ASGI application that are begun and then left alone."""

    def __init__(self, app, path: str) -> None:
        self.app, self.answers = app, []
        self.scope = {
            "type": "http", "method": "GET", "path": path, "raw_path": path.encode(), "query_string": b"",
            "headers": [(b"host", b"localhost")], "http_version": "1.1", "scheme": "http", "root_path": "",
        }  # fmt: skip

    async def begin(self, tasks) -> list[dict]:

        messages: list[dict] = []
        begun = anyio.Event()

        async def send(message: dict) -> None:
            messages.append(message)
            begun.set()

        async def receive() -> dict:
            await anyio.sleep_forever()
            raise AssertionError

        tasks.start_soon(self.app, dict(self.scope), receive, send)
        with anyio.fail_after(5):
            await begun.wait()
        return messages


async def test_streams_are_counted_and_more_are_refused() -> None:

    app = Console(BOARD, Metrics(BOARD)).app({"localhost"})
    requests = _Requests(app, "/api/events")
    async with anyio.create_task_group() as tasks:
        for _ in range(MAX_STREAMS):
            assert (await requests.begin(tasks))[0]["status"] == 200
        assert (await requests.begin(tasks))[0]["status"] == 503
        assert (await _Requests(app, "/api/status").begin(tasks))[0]["status"] == 200
        tasks.cancel_scope.cancel()
    async with anyio.create_task_group() as tasks:
        assert (await requests.begin(tasks))[0]["status"] == 200
        tasks.cancel_scope.cancel()


async def test_requests_at_once_are_bounded_and_a_failing_one_is_an_answer() -> None:

    async def never(scope, receive, send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await anyio.sleep_forever()

    async def broken(scope, receive, send) -> None:
        raise RuntimeError("a bug")

    requests = _Requests(Gate(never, {"localhost"}), "/")
    async with anyio.create_task_group() as tasks:
        for _ in range(MAX_REQUESTS):
            assert (await requests.begin(tasks))[0]["status"] == 200
        assert (await requests.begin(tasks))[0]["status"] == 503
        tasks.cancel_scope.cancel()
    async with anyio.create_task_group() as tasks:
        messages = await _Requests(Gate(broken, {"localhost"}), "/").begin(tasks)
    assert messages[0]["status"] == 500
    assert "bug" in json.loads(messages[1]["body"])["error"]


# ---- events ----


def parsed(messages: list[dict]) -> list[tuple[str, dict]]:
    """The events in what was sent."""
    text = b"".join(message.get("body", b"") for message in messages).decode()
    blocks = [
        dict(line.split(": ", 1) for line in block.split("\n"))
        for block in text.split("\n\n")
        if "event:" in block
    ]
    return [(block["event"], json.loads(block["data"])) for block in blocks]


async def test_events_are_the_status_and_then_what_changes() -> None:

    run = played(Run(4, pool=10**9, reward_vote=1_000), "accepted")
    watched = Watched(run, 0)
    events: list[tuple[str, dict]] = []
    requests = _Requests(EventStream(watched.board), "/api/events")

    async def until(holds) -> None:
        with anyio.fail_after(10):
            while not holds():
                events[:] = parsed(messages)
                await anyio.sleep(0.02)

    async with anyio.create_task_group() as tasks:
        messages = await requests.begin(tasks)
        await until(lambda: len(events) >= 2)
        assert [name for name, _ in events] == ["status", "rounds"]
        status = Status.model_validate_json(json.dumps(events[0][1]))
        assert [each["number"] for each in events[1][1]["rounds"]] == [1]
        played(run, "rejected")
        watched.sync()
        await until(lambda: len(events) >= 4)
        assert [name for name, _ in events[2:]] == ["change", "rounds"]
        change = Change.model_validate_json(json.dumps(events[2][1]))
        after = watched.board.status()
        assert (change.round, change.totals, change.money) == (after.round, after.totals, after.money)
        assert change.heads is None  # a rejected round moves no head
        known = {each.place: each for each in status.members}
        assert tuple({**known, **{each.place: each for each in change.members}}.values()) == after.members
        assert [each["number"] for each in events[3][1]["rounds"]] == [2]
        tasks.cancel_scope.cancel()
