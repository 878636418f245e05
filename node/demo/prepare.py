"""Before the demo's run: keys, accounts, topic, genesis, and a configuration for each node."""

import json
from collections.abc import Mapping
from typing import Any

from learners.client import open_learner
from ledger.hedera import Hedera, Network, open_hedera
from node.demo.processes import free_ports
from node.demo.session import POOL, START_BALANCE, Demo
from node.founding import Preset, Terms, found_run, params_of
from node.identity import Identity, create
from protocol.ids import AccountId, PeerId, TopicId
from protocol.records import Member


async def found(demo: Demo, preset: Preset) -> TopicId:
    """Make keys, accounts, topic and genesis, and write each node's configuration."""
    options, layout = demo.options, demo.layout
    identities = []
    for place in range(options.peers):
        layout.node(place).mkdir(parents=True)
        identities.append(create(layout.node(place) / "identity.pem"))
    operator, key = AccountId(demo.facts["operator_account"]), demo.facts["operator_key"]
    async with open_hedera(network_of(demo.facts), operator, key) as hedera:
        accounts = [await open_account(hedera, identity, n) for n, identity in enumerate(identities)]
        roster = [Member(peer=i.peer, account=a) for i, a in zip(identities, accounts, strict=True)]
        runtime = layout.out / "run"
        async with open_learner(
            preset.learner, demo.learner_options(0), runtime / "founder", runtime
        ) as learner:
            params = await params_of(preset, learner, runtime, {"max_rounds": options.rounds})
        terms = Terms(required=options.peers // 2 + 1, fund=POOL)
        founded = await found_run(hedera, params, roster, "roundabout demo", terms)
    ports = free_ports(options.peers)
    addresses = {i.peer: f"/ip4/127.0.0.1/tcp/{port}" for i, port in zip(identities, ports, strict=True)}
    for place, member in enumerate(roster):
        (layout.node(place) / "node.toml").write_text(
            node_toml(demo, place, member, founded.topic, addresses)
        )
    demo.say(f"run {founded.run} of {options.rounds} rounds was founded by {options.peers} members")
    return founded.topic


async def open_account(hedera: Hedera, identity: Identity, place: int) -> AccountId:
    """An account with the member's own key and some hbar to pay its messages with."""
    return await hedera.create_account(identity.public_key, START_BALANCE, f"roundabout member {place}")


def network_of(facts: Mapping[str, Any]) -> Network:
    """The embedded network as the ledger client knows it."""
    return Network(
        name="localnet",
        mirror_rest=facts["mirror_rest"],
        mirror_grpc=facts["mirror_grpc"],
        nodes=facts["nodes"],
    )


def node_toml(demo: Demo, place: int, member: Member, topic: TopicId, addresses: Mapping[PeerId, str]) -> str:
    """A node's configuration file; JSON strings and numbers are TOML's, too."""
    peers = "\n".join(f"{peer} = {json.dumps(a)}" for peer, a in addresses.items() if peer != member.peer)
    nodes = "\n".join(
        f"{json.dumps(account)} = {json.dumps(a)}" for account, a in demo.facts["nodes"].items()
    )
    learner = "\n".join(f"{key} = {json.dumps(value)}" for key, value in demo.learner_options(place).items())
    return f"""data = "data"

[identity]
file = "identity.pem"

[network]
listen = "{addresses[member.peer]}"

[network.peers]
{peers}

[ledger]
network = "localnet"
topic = "{topic}"
account = "{member.account}"
mirror = "{demo.facts["mirror_rest"]}"
mirror_grpc = "{demo.facts["mirror_grpc"]}"

[ledger.nodes]
{nodes}

[learner]
name = "driving"

[learner.options]
{learner}

[blobs]
keep_history = true

[log]
format = "json"
"""
