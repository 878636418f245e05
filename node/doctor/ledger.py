"""The ledger: mirror, consensus nodes, our account, the topic, and the run on it."""

import anyio

from ledger.hiero import PublicKey as SdkPublicKey
from ledger.keys import SigningKey
from ledger.mirror import Mirror
from ledger.outbox import FEE_CAP
from ledger.pages import KeyEntry
from ledger.session import nodes_of
from ledger.topic import HistoryBroken, LedgerError
from node.amounts import hbar
from node.config import ConfigError, LedgerSection
from node.doctor.calls import call
from node.doctor.findings import Finding, Findings, doubt, fine, problem, refused
from node.networks import network_of
from node.reading import read_run
from protocol.ids import AccountId, PeerId, Tinybar, TopicId
from protocol.state import RunState

COMFORT = Tinybar(100 * FEE_CAP)
"""Tinybar: what some hundred messages cost at most, and some thousand at usual prices."""
NODE_SECONDS = 5.0
MAX_NODES = 8
"""Consensus nodes that are tried at most."""


async def examine_nodes(ledger: LedgerSection) -> Findings:
    """Which of the consensus nodes answer."""
    try:
        network = network_of(ledger)
        nodes = await anyio.to_thread.run_sync(nodes_of, network.name, network.nodes, abandon_on_cancel=True)
    except (ConfigError, LedgerError) as error:
        return (refused("ledger", error),)
    tried = nodes[:MAX_NODES]
    silent: dict[str, str] = {}

    async def try_node(address: str) -> None:
        host, _, port = address.rpartition(":")
        why = await call(host.strip("[]"), int(port), NODE_SECONDS)
        if why is not None:
            silent[address] = why

    async with anyio.create_task_group() as tasks:
        for node in tried:
            tasks.start_soon(try_node, node.address)
    answered = len(tried) - len(silent)
    said = f"{answered} of {len(tried)} consensus nodes can be reached"
    if not tried or not answered:
        remedy = "is the network up, and does a firewall let us out? check [ledger] nodes"
        return (problem("ledger", said + "".join(f"; {a}: {why}" for a, why in silent.items()), remedy),)
    return (fine("ledger", said),)


async def examine_account(mirror: Mirror, account: AccountId, key: SigningKey | None) -> Findings:
    """Whether the account is there, is ours, and has money. Raises LedgerError when the mirror is away."""
    found = await mirror.account(account)
    if found.deleted:
        return (problem("ledger", f"account {account} was deleted", "use another one for [ledger] account"),)
    findings = [_balance(account, Tinybar(found.balance.balance))]
    if key is not None and not opens(key.public, found.key):
        said = f"the key that pays is not the key of account {account}"
        findings.append(problem("keys", said, "check [ledger] account, key_file and key_env"))
    return tuple(findings)


async def examine_topic(
    mirror: Mirror, topic: TopicId, key: SigningKey | None
) -> tuple[RunState | None, Findings]:
    """The run, and whether we may write to its topic. Raises LedgerError when the mirror is away."""
    info = await mirror.topic_info(topic)
    if info.deleted:
        return None, (problem("ledger", f"topic {topic} was deleted", "the run is over: join another one"),)
    try:
        state = await read_run(mirror, topic)
    except (LedgerError, HistoryBroken) as error:
        return None, (refused("run", error),)
    number = "over" if state.open is None else f"in round {state.open.number}"
    findings = [
        fine("run", f"run {state.run} on topic {topic} has {len(state.seated)} members and is {number}")
    ]
    if key is not None and info.submit_key is not None and not opens(key.public, info.submit_key):
        said = f"topic {topic} is written to by members of its beginning only, and our account's key is none of theirs"
        findings.append(problem("ledger", said, "pay from an account with the key that the founder named"))
    return state, tuple(findings)


def examine_membership(state: RunState, peer: PeerId) -> Finding:
    """Whether we belong to the run, and count in it."""
    place = state.place_of(peer)
    if place is None:
        remedy = "check [identity] file, or join it: see `roundabout motion join --help`"
        return problem("run", f"peer {peer} is not in the roster", remedy)
    if place in state.seats.expelled:
        return problem("run", f"peer {peer} was thrown out for contradicting itself", "use another key")
    if place in state.seats.joining:
        return fine("run", f"we are member {place}, from the next epoch on")
    if place in state.seats.vacant:
        remedy = "to come back, see `roundabout motion join --help`"
        return problem("run", f"peer {peer} has left the run", remedy)
    if place not in state.staked:
        said = (
            f"our stake is {state.money.stakes[place]} tinybar, of {state.params.stake_min} that are wanted"
        )
        return doubt("run", said, "`roundabout topup` adds to it; until then others decide")
    if place in state.inactive and place not in state.returning:
        return doubt(
            "run", f"we are member {place}, left out for being away", "run the daemon: it says it is back"
        )
    return fine("run", f"we are member {place}")


def opens(key: SdkPublicKey, lock: KeyEntry | None) -> bool:
    """Whether a key is somewhere in what the network keeps; where it is not, we cannot sign for it."""
    return lock is not None and key.to_bytes_raw() in bytes.fromhex(lock.key)


def _balance(account: AccountId, balance: Tinybar) -> Finding:
    said = f"account {account} has {hbar(balance)}"
    if balance < FEE_CAP:
        return problem("ledger", f"{said}, too little for one message", f"send {account} some hbar")
    if balance < COMFORT:
        return doubt("ledger", f"{said}, enough for some hundred messages", f"send {account} some hbar")
    return fine("ledger", said)
