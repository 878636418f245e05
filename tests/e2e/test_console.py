"""The operator's view of a real daemon: `roundabout status`, its log, and the dashboard in a real Chromium."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from node.console.schema import Status
from tests.e2e.founded import free_port
from tests.e2e.living import LivingRun, living
from tests.e2e.moneyed import HBAR, moneyed

CHROMIUM = Path("/usr/bin/chromium")
FLAGS = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update"),
]
RULES = {"round_window": 10, "inactive_after": 2, "reward_vote": HBAR // 100, "settle_every": 3}
PATIENCE = 30_000
"""Milliseconds for one thing to be seen on a busy machine."""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LivingRun]:
    """A run of three, of whom the first has a view."""
    home = tmp_path_factory.mktemp("console")
    with moneyed(home) as world, living(world, home, 3, {"fund": 20 * HBAR}, **RULES) as run:
        run.operator[0] = {"listen": f"127.0.0.1:{free_port()}"}
        run.start(0, 1, 2, pause=0.1)
        run.until(lambda state: state.totals.accepted >= 2)
        with httpx.Client(base_url=url(run), trust_env=False) as client:
            run.until_true(lambda: "\nroundabout_peers_connected 2.0\n" in client.get("/metrics").text)
        yield run


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    if not CHROMIUM.exists():
        pytest.skip(f"no {CHROMIUM}: install Debian's package chromium to test the dashboard")
    sync_api = pytest.importorskip("playwright.sync_api", reason="the package playwright is not installed")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=FLAGS)
        yield browser
        browser.close()


@contextmanager
def looking(browser: Any, run: LivingRun) -> Iterator[Any]:
    """The dashboard of the first daemon; the browser must have nothing to complain of."""
    with browser.new_context() as context:
        page, complaints = context.new_page(), []
        page.set_default_timeout(PATIENCE)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda line: complaints.append(line.text) if line.type == "error" else None)
        page.goto(url(run))
        yield page
        assert [each for each in complaints if "ERR_" not in each] == []


def url(run: LivingRun) -> str:
    return f"http://{run.operator[0]['listen']}/"


def see(page: Any, expression: str, value: object = None) -> None:
    """Wait until the page shows something."""
    page.wait_for_function(expression, arg=value, timeout=PATIENCE)


def test_a_daemon_tells_how_it_stands(run: LivingRun) -> None:
    status_says_how_it_stands(run)
    its_metrics_and_health(run)
    its_lines_say_who_in_which_round_and_about_whom(run)
    status_without_a_daemon_is_one_line(run)
    a_taken_port_stops_a_daemon_at_its_start(run)


def test_the_dashboard(browser: Any, run: LivingRun) -> None:
    with looking(browser, run) as page:
        rounds_go_by(page)
        peers_go_and_come(page, run)
        for scheme in ("light", "dark"):
            for width in (390, 1280):
                can_be_read(page, scheme, width)
    nobody_else_s_scripts_run(browser, run)
    with looking(browser, run) as page:
        what_comes_from_outside_is_text(page, run)
    with looking(browser, run) as page:
        the_daemon_goes_and_comes(page, run)
        the_daemons_stop_while_the_page_looks_on(page, run)


# ---- without a browser ----


def status_says_how_it_stands(run: LivingRun) -> None:
    config = str(run.config(0))
    told = run.call("status", config)
    assert (told.exit_code, told.stderr) == (0, "")
    words = dict(line.split(maxsplit=1) for line in told.stdout.splitlines())
    assert words["node"].startswith("live, member 0, up ")
    assert words["peers"].startswith("2 of 2 connected")
    assert words["dashboard"] == url(run)
    assert "hbar" in words["earned"]
    status = Status.model_validate_json(run.call("status", config, "--json").stdout)
    assert (status.node.topic, status.node.place, len(status.members)) == (run.topic, 0, 3)
    assert status.totals.accepted >= 2


def status_without_a_daemon_is_one_line(run: LivingRun) -> None:
    config = run.config(4)
    without = run.call("status", str(config))
    assert (without.exit_code, without.stderr.count("\n")) == (2, 1)
    assert "enabled = false" in without.stderr
    run.operator[4] = {}
    config = run.config(4)
    cases = (
        (None, "no daemon runs on"),
        (url(run), "another daemon has taken"),
        (f"http://127.0.0.1:{free_port()}/", "no daemon answers"),
    )
    for file, words in cases:
        if file is not None:
            (config.parent / "data").mkdir(exist_ok=True)
            (config.parent / "data" / "operator.json").write_text(json.dumps({"peer": "16Uiu2", "url": file}))
        told = run.call("status", str(config))
        assert (told.exit_code, told.stdout, told.stderr.count("\n")) == (1, "", 1)
        assert words in told.stderr
        assert f"roundabout node --config {config}" in told.stderr


def a_taken_port_stops_a_daemon_at_its_start(run: LivingRun) -> None:
    run.operator[3] = dict(run.operator[0])
    run.start(3)
    status, (line,) = run.end_of(3)
    assert status == 2
    assert "is in use; stop what listens there, or change `listen` in [operator]" in line
    assert not (run.config(3).parent / "data" / "journal.db").exists()
    assert not (run.config(3).parent / "data" / "operator.json").exists()


def its_lines_say_who_in_which_round_and_about_whom(run: LivingRun) -> None:
    events = run.events(0)
    own, others = run.world.identity(0).peer, {run.world.identity(person).peer for person in (1, 2)}
    assert {event["peer"] for event in events} == {own}
    assert all({"event", "level", "logger", "timestamp"} <= set(event) for event in events)
    begun = next(number for number, event in enumerate(events) if event["event"] == "taking part")
    assert all(isinstance(event["round"], int) for event in events[begun:])
    assert {event["remote"] for event in events if event["event"] == "connected"} == others
    closed = [event["round"] for event in events if event["event"] == "round closed"]
    assert closed == sorted(set(closed))


def its_metrics_and_health(run: LivingRun) -> None:
    with httpx.Client(base_url=url(run), trust_env=False) as client:
        assert '\nroundabout_rounds_total{ending="accepted"} ' in client.get("/metrics").text
        assert client.get("/healthz").json()["healthy"] is True


# ---- with a browser ----

ROUND = "() => Number((document.querySelector('#round-title').textContent.match(/\\d+/) ?? [0])[0])"


def rounds_go_by(page: Any) -> None:
    see(page, "() => document.querySelector('#link').textContent === 'live'")
    first = page.evaluate(ROUND)
    see(page, f"(first) => ({ROUND})() >= first + 2", first)
    see(page, "(first) => document.querySelector('#rounds').textContent.includes(`${first}`)", first)
    assert page.locator("#ring .node").count() == 3
    assert page.locator("#members tbody tr").count() == 3
    assert page.locator("#rounds .outcome.accepted").count() >= 2
    assert page.locator("#chart .bar").count() >= 3
    assert page.locator("#heads .present").count() == 1
    assert "proposals accepted" in page.locator("#own").inner_text()
    assert page.get_by_role("img", name="among 3 members").count() == 1
    assert page.get_by_role("region", name="Treasury").inner_text().count("ℏ") == 5
    assert page.title().startswith("Round ")


def peers_go_and_come(page: Any, run: LivingRun) -> None:
    see(page, "() => document.querySelectorAll('#members .state.up').length === 3")
    run.expected.discard(2)
    run.daemons[2].kill()
    run.daemons[2].wait()
    see(page, "() => document.querySelector('#members tbody tr:nth-child(3)').textContent.includes('away')")
    assert page.locator("#ring .node.down").count() == 1
    run.start(2, pause=0.1)
    see(page, "() => document.querySelectorAll('#members .state.up').length === 3")
    assert page.locator("#ring .node.down").count() == 0


def the_daemon_goes_and_comes(page: Any, run: LivingRun) -> None:
    see(page, "() => document.querySelectorAll('#rounds tbody tr').length >= 2")
    run.expected.discard(0)
    run.daemons[0].kill()
    run.daemons[0].wait()
    see(page, "() => document.querySelector('#link').textContent === 'no connection'")
    assert "does not answer" in page.get_by_role("alert").inner_text()
    before = page.evaluate(ROUND)
    run.start(0, pause=0.1)
    see(page, "() => document.querySelector('#link').textContent === 'live'")
    see(page, f"(before) => ({ROUND})() > before", before)
    assert not page.get_by_role("alert").is_visible()


def what_comes_from_outside_is_text(page: Any, run: LivingRun) -> None:
    hostile = "<img src=x onerror=alert(1)><b>x</b>"
    told = httpx.get(f"{url(run)}api/status", trust_env=False).json()
    told["node"] |= {"account": hostile, "peer": hostile, "learner": hostile, "topic": hostile}
    told["members"][1]["peer"] = told["members"][1]["standing"] = hostile
    told["money"]["treasury"] = hostile
    page.route("**/api/events", lambda route: route.fulfill(
        content_type="text/event-stream", body=f"event: status\ndata: {json.dumps(told)}\n\n"
    ))  # fmt: skip
    page.goto(url(run))
    see(page, "(text) => document.querySelector('#own').textContent.includes(text)", hostile)
    assert page.locator("main img, main b").count() == 0


OWNED = """() => new Promise((done) => {
  document.addEventListener('securitypolicyviolation', (event) => done(event.effectiveDirective));
  const script = document.createElement('script');
  script.textContent = 'window.owned = 1';
  document.body.append(script);
})"""


def nobody_else_s_scripts_run(browser: Any, run: LivingRun) -> None:
    with browser.new_context() as context:
        page = context.new_page()
        page.goto(url(run))
        assert page.evaluate(OWNED) == "script-src-elem"
        assert page.evaluate("() => window.owned") is None


CONTRAST = """() => {
  const rgb = (text) => text.match(/[\\d.]+/g).map(Number);
  const linear = (v) => (v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4);
  const light = (c) => [.2126, .7152, .0722].reduce((sum, share, i) => sum + share * linear(c[i] / 255), 0);
  const back = (node) => {
    for (; node; node = node.parentElement) {
      const c = rgb(getComputedStyle(node).backgroundColor);
      if (c.length < 4 || c[3] > 0) return c;
    }
    return [255, 255, 255];
  };
  const poor = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const node = walker.currentNode.parentElement;
    if (!walker.currentNode.textContent.trim() || node.closest('svg, noscript, script, .unseen, [hidden]')) continue;
    const [a, b] = [light(rgb(getComputedStyle(node).color)), light(back(node))];
    const ratio = (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
    if (ratio < 4.5) poor.push(`${walker.currentNode.textContent}: ${ratio.toFixed(2)}`);
  }
  return poor;
}"""


def can_be_read(page: Any, scheme: str, width: int) -> None:
    page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
    page.set_viewport_size({"width": width, "height": 844})
    see(page, "() => document.querySelectorAll('#rounds .outcome').length >= 2")
    assert page.evaluate("() => document.documentElement.scrollWidth") <= width
    assert page.evaluate(CONTRAST) == []
    dark = page.evaluate("() => getComputedStyle(document.body).backgroundColor") == "rgb(16, 21, 28)"
    assert dark == (scheme == "dark")


def the_daemons_stop_while_the_page_looks_on(page: Any, run: LivingRun) -> None:
    see(page, "() => document.querySelector('#link').textContent === 'live'")
    run.expected.clear()
    run.stop()
    see(page, "() => document.querySelector('#link').textContent === 'no connection'")
    assert not (run.config(0).parent / "data" / "operator.json").exists()
    assert run.call("status", str(run.config(0))).exit_code == 1
