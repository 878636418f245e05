"""Real hbar are spent only where that was asked for."""

import ast
from pathlib import Path

import pytest
from click.testing import CliRunner

import node.cli.found
import node.cli.node
from node.cli.main import COMMANDS, main
from node.founding import Founded
from node.identity import create
from protocol.ids import Digest, TopicId

COMMANDS_DIRECTORY = Path(node.cli.node.__file__).parent
NODE = """
data = "data"
[identity]
file = "identity.pem"
[learner]
name = "driving"
[ledger]
topic = "0.0.1001"
account = "0.0.1002"
"""
FOUNDING = """
[ledger]
account = "0.0.1002"
key_file = "account.key"
[[members]]
account = "0.0.1003"
"""


class Till:
    """Stands where a command would go on to spend."""

    def __init__(self) -> None:
        self.networks: list[str] = []

    def take_part(self, settings: "node.cli.node.Config") -> None:
        self.networks.append(settings.ledger.network)

    def found(self, config: "node.cli.found.FoundingConfig", preset: Path, home: Path) -> Founded:
        self.networks.append(config.ledger.network)
        return Founded(TopicId("0.0.1001"), Digest("run"), None)


@pytest.fixture
def till(monkeypatch: pytest.MonkeyPatch) -> Till:
    till = Till()
    monkeypatch.setattr(node.cli.node, "take_part", till.take_part)
    monkeypatch.setattr(node.cli.found, "found", till.found)
    return till


def command(home: Path, name: str, network: str) -> list[str]:
    """A command that spends, with a file about a network."""
    file = home / f"{name}.toml"
    if name == "node":
        text = NODE
    else:
        peer = create(home / "member.pem").peer
        text = f'{FOUNDING}peer = "{peer}"\n'
    file.write_text(text.replace("[ledger]\n", f'[ledger]\nnetwork = "{network}"\n'))
    return ["node", "--config", str(file)] if name == "node" else ["found", str(file)]


SPENDING = pytest.mark.parametrize("name", ["node", "found"])


@SPENDING
def test_mainnet_wants_to_be_meant(tmp_path: Path, till: Till, name: str) -> None:
    arguments = command(tmp_path, name, "mainnet")
    result = CliRunner().invoke(main, arguments, prog_name="roundabout")
    assert (result.exit_code, result.stdout, till.networks) == (2, "", [])
    (line,) = result.stderr.splitlines()
    assert all(
        part in line for part in ("mainnet", "real hbar are spent", "`roundabout cost`", "add --mainnet")
    )
    result = CliRunner().invoke(main, [*arguments, "--mainnet"], prog_name="roundabout")
    assert (result.exit_code, result.stderr, till.networks) == (0, "", ["mainnet"])


@SPENDING
@pytest.mark.parametrize("network", ["localnet", "solo", "testnet"])
def test_elsewhere_it_is_not_asked_for_and_not_taken(
    tmp_path: Path, till: Till, name: str, network: str
) -> None:
    arguments = command(tmp_path, name, network)
    assert CliRunner().invoke(main, arguments).exit_code == 0
    assert till.networks == [network]
    result = CliRunner().invoke(main, [*arguments, "--mainnet"], prog_name="roundabout")
    assert (result.exit_code, till.networks) == (2, [network])
    (line,) = result.stderr.splitlines()
    assert f"is about {network}: leave the flag out" in line


def test_no_command_reads_where_to_spend_in_another_way() -> None:
    """Whoever imports a loader of such configurations also has the flag."""
    spenders = set()
    for file in COMMANDS_DIRECTORY.glob("*.py"):
        tree = ast.parse(file.read_text())
        names = {
            alias.name for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for alias in node.names
        }
        if file.stem not in ("balance", "doctor", "replay", "status") and names & {
            "load_config",
            "load_founding",
            "open_account",
            "open_hedera",
        }:
            spenders.add(file.stem)
            called = {
                node.func.id
                for node in ast.walk(tree)
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
            }
            assert "load_to_spend" in called, file
            assert file.stem == "acting" or not called & {"load_config", "load_founding"}, file
    # Commands that act on a run read their configuration through `acting`; the four left out above spend nothing.
    assert spenders == {"node", "found", "acting"}
    spenders = (spenders - {"acting"}) | {"fund", "topup"}
    for name in spenders:
        told = CliRunner().invoke(main, [name, "--help"]).output
        assert "--mainnet" in told
    assert spenders <= set(COMMANDS)


@pytest.mark.parametrize(
    "words",
    [
        ("fund", "--amount", "1"),
        ("topup", "--amount", "1"),
        ("motion", "join"),
        ("motion", "leave"),
        ("motion", "submit", "motion.json"),
    ],
    ids=" ".join,
)
def test_commands_that_act_on_a_run_ask_too(tmp_path: Path, words: tuple[str, ...]) -> None:
    file = command(tmp_path, "node", "mainnet")[2]
    result = CliRunner().invoke(main, [*words, "--config", file], prog_name="roundabout")
    assert (result.exit_code, result.stdout) == (2, "")
    (line,) = result.stderr.splitlines()
    assert "add --mainnet" in line
    assert not (tmp_path / "data").exists()
