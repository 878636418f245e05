"""Targets for what lies on the node's own disk or is typed: configurations, keys, motions, weights, journals."""

import contextlib
from functools import cache
from pathlib import Path
from struct import pack

import base58
import torch
from click.testing import CliRunner
from pydantic import ValidationError

from learners import channel
from learners.learner import BadWeights, TensorSpec
from learners.weights import dump, load_tensors, spec_of
from node.amounts import tinybar_of
from node.cli.main import main
from node.config import ConfigError, load_config, load_founding, load_profile
from node.founding import load_preset
from node.identity import IdentityError, create, load
from node.journal import AlreadySigned, Journal, JournalError
from node.motions.files import MAX_RECORD, MotionError, parse_motion
from protocol.fields import canonical
from protocol.ids import PeerId, base64url, is_entity, peer_id_of, public_key_of, unbase64url
from tests.fuzz.target import Target, check_line, file_with, workplace
from tests.fuzz.topic_targets import WORDS, fold_seeds
from tests.protocol.world import PEERS

ROOT = Path(__file__).parents[2]
TOML_WORDS = (
    b"[network]", b"[network.peers]", b"[ledger]", b"[ledger.nodes]", b"[identity]", b"[learner]",
    b"[learner.options]",
    b"[[members]]", b"[params]", b"[treasury]", b"[log]", b' = "', b"nan", b"inf", b"1979-05-27T07:32:00Z",
    b"\\u0000", b"\\uD800", b"0x", b"1e400", b"9" * 5_000, b"[" * 2_000, b"a." * 2_000, b"/ip4/127.0.0.1/tcp/",
    b'"a\\nb" = 1\n', b"true", b"[[", b"=",
)  # fmt: skip


def check_configs(data: bytes) -> None:
    """Any of the TOML files: read, or refused in one line that shows no control characters."""
    path = file_with("some.toml", data)
    for read in (load_config, load_founding, load_profile, load_preset):
        try:
            read(path)
        except ConfigError as error:
            check_line(error, path)


@cache
def config_seeds() -> list[bytes]:
    """The files that come with the product, and one of each kind that people write."""
    node = f"""data = "data"
[identity]
file = "node.pem"
[network]
listen = "/ip4/127.0.0.1/tcp/4101"
[network.peers]
{PEERS[1]} = "/ip4/127.0.0.1/tcp/4102"
[ledger]
network = "localnet"
topic = "0.0.1001"
account = "0.0.1002"
mirror = "http://127.0.0.1:5551"
mirror_grpc = "127.0.0.1:5600"
[ledger.nodes]
"0.0.3" = "127.0.0.1:50211"
[learner]
name = "driving"
[learner.options]
seed = 7
[log]
format = "json"
"""
    founding = f"""preset = "driving"
writers = "anyone"
[[members]]
peer = "{PEERS[0]}"
account = "0.0.2000"
[ledger]
network = "localnet"
account = "0.0.2"
key_file = "operator.key"
[params]
round_window = 60
[treasury]
"""
    shipped = [file.read_bytes() for file in sorted((ROOT / "configs").rglob("*.toml"))]
    return [node.encode(), founding.encode(), *shipped]


def check_identity(data: bytes) -> None:
    """A key file: read, or refused; with a passphrase and without."""
    path = file_with("some.pem", data)
    for passphrase in (None, "wrong"):
        try:
            load(path, passphrase)
        except IdentityError as error:
            check_line(error, path)


@cache
def identity_seeds() -> list[bytes]:
    """A plain key and a protected one."""
    seeds = []
    for passphrase in (None, "right"):
        path = workplace() / "seed.pem"
        path.unlink(missing_ok=True)
        create(path, passphrase)
        seeds.append(path.read_bytes())
    return seeds


def check_motion(data: bytes) -> None:
    """A motion's file: a record that a topic takes, or refused in one line."""
    try:
        motion = parse_motion(data)
    except MotionError as error:
        check_line(error)
        return
    assert len(canonical(motion)) <= MAX_RECORD
    assert parse_motion(canonical(motion)) == motion


SPECS = (
    TensorSpec("bias", (3,), "F32"),
    TensorSpec("count", (), "I64"),
    TensorSpec("half", (2, 2), "BF16"),
    TensorSpec("none", (0, 4), "F16"),
)


def check_weights(data: bytes) -> None:
    """Weights are what `dump` writes for the spec, every element finite, or somebody's fault."""
    try:
        tensors = load_tensors(data, SPECS)
    except BadWeights as error:
        check_line(error)
        return
    assert spec_of(tensors) == SPECS
    assert dump(tensors) == data, "two encodings of one model"
    assert all(bool(torch.isfinite(tensor.double()).all()) for tensor in tensors.values())


def weight_seeds() -> list[bytes]:
    """The one encoding, of some tensors."""
    tensors = {
        "bias": torch.tensor([1.0, -2.5, 0.0]),
        "count": torch.tensor(7),
        "half": torch.ones(2, 2, dtype=torch.bfloat16),
        "none": torch.zeros(0, 4, dtype=torch.float16),
    }
    return [dump(tensors)]


def check_channel(data: bytes) -> None:
    """What daemon and learner say to each other: only a ValidationError says no."""
    with contextlib.suppress(ValidationError):
        answer = channel.ANSWER.validate_json(data)
        assert channel.ANSWER.validate_json(channel.encode(answer)) == answer or b"NaN" in data
    for kind in channel.METHODS:
        with contextlib.suppress(ValidationError):
            kind.model_validate_json(data)


def channel_seeds() -> list[bytes]:
    """An answer and a request of each kind."""
    return [
        b'{"kind":"done"}',
        b'{"kind":"spec","name":"driving","tensors":[{"name":"a","shape":[3,4],"dtype":"F32"}],"scorer":"x"}',
        b'{"kind":"trained","labels":3,"labels_total":9,"loss":0.25}',
        b'{"kind":"compared","head":1,"candidate":2,"gain":1,"error":0,"samples":9}',
        b'{"kind":"fault","blames":"bad-weights","message":"no"}',
        b'{"kind":"ready"}',
        b'{"head":"/a","round":3,"out":"/b"}',
        b'{"head":"/a","candidate":"/b","round":3}',
        b"{}",
    ]


def check_journal(data: bytes) -> None:
    """A journal opens and can be used, or is refused in one line."""
    for leftover in workplace().glob("journal.db-*"):
        leftover.unlink()
    path = file_with("journal.db", data)
    try:
        with Journal.open(path) as journal:
            with contextlib.suppress(AlreadySigned):
                journal.remember("vote", "run", 1, b"body", b"message")
            journal.signed("vote", "run", 1)
    except JournalError as error:
        check_line(error, path)


def journal_seeds() -> list[bytes]:
    """An empty file, and a journal in use."""
    path = workplace() / "seed-journal.db"
    path.unlink(missing_ok=True)
    with Journal.open(path) as journal:
        journal.remember("vote", "run", 1, b"body", b"message")
        journal._database.execute("PRAGMA journal_mode = DELETE")
    return [b"", path.read_bytes()]


def check_ids(data: bytes) -> None:
    """Names and amounts: one text per value, else ValueError."""
    text = data.decode("utf-8", "surrogateescape")
    with contextlib.suppress(ValueError):
        assert peer_id_of(public_key_of(PeerId(text))) == text
    for size in (32, 64):
        with contextlib.suppress(ValueError):
            assert base64url(unbase64url(text, size)) == text
    with contextlib.suppress(ValueError):
        assert 0 < tinybar_of(text) < 2**53
    if is_entity(text):
        assert ".".join(str(int(part)) for part in text.split(".")) == text


def id_seeds() -> list[bytes]:
    """One of each kind."""
    odd = base58.b58encode(pack(">6s33s", bytes.fromhex("002508021221"), b"\2" * 33))
    return [
        PEERS[0].encode(),
        odd,
        base64url(b"\1" * 32).encode(),
        base64url(b"\2" * 64).encode(),
        b"0.0.5",
        b"0.25",
    ]


COMMANDS = (
    b"audit\0--pages\0nothing.json", b"audit\0--topic\x000.0.5\0--mirror\0nonsense", b"cost\0--peers\x005",
    b"identity\0/dev/null/x", b"node\0--config\0nothing.toml", b"found\0nothing.toml", b"fund\0--help",
    b"motion\0show\0nothing.json", b"balance\0--config\0nothing.toml", b"topup\0--config\0nothing.toml\0x",
    b"--version",
)  # fmt: skip


def check_arguments(data: bytes) -> None:
    """Command lines end with 0, 1 or 2, and what they refuse they refuse without a traceback."""
    words = [part.decode("utf-8", "surrogateescape") for part in data.split(b"\0")]
    safe = {
        "audit",
        "cost",
        "identity",
        "node",
        "found",
        "fund",
        "motion",
        "balance",
        "topup",
        "--version",
        "--help",
    }
    # Nothing here may listen, dial, or write where somebody keeps something.
    if (
        words[0] not in safe
        or any("/" in word and word != "/dev/null/x" for word in words)
        or "--save" in words
    ):
        return
    with CliRunner().isolated_filesystem(workplace()):
        done = CliRunner().invoke(main, words, prog_name="roundabout")
    assert done.exit_code in (0, 1, 2), (words, done.exit_code, done.exception)
    assert done.exception is None or isinstance(done.exception, SystemExit), (words, repr(done.exception))


TARGETS = (
    Target("configs", check_configs, config_seeds, TOML_WORDS, 0.15),
    Target("identity", check_identity, identity_seeds, (b"-----BEGIN", b"ENCRYPTED", b"EC PRIVATE KEY"), 0.1),
    Target("motion", check_motion, fold_seeds, WORDS, 1.0),
    Target("weights", check_weights, weight_seeds, (b"F32", b"__metadata__", b"data_offsets"), 0.5),
    Target("channel", check_channel, channel_seeds, (b'"kind":', b"NaN", b"Infinity"), 2.0),
    Target("journal", check_journal, journal_seeds, (b"SQLite format 3\0",), 0.01),
    Target("ids", check_ids, id_seeds, (b"\n", b" ", b"-", b"_", b"="), 3.0),
    Target("arguments", check_arguments, lambda: list(COMMANDS), (b"\0--", b"\0--json", b"--topic"), 0.01),
)
