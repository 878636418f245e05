"""The other members: whether each can be reached where we look for it, and is who we think.

Nobody is called in our own name: that could take the place of a daemon's connection.
"""

import anyio

from node.config import NetworkSection
from node.doctor.calls import call
from node.doctor.findings import Finding, Findings, doubt, fine, problem
from node.doctor.ports import parts_of
from node.net.addresses import Source, is_worth_a_dial, own_scopes, scope_of
from node.net.exchange import Lost
from node.net.wire import OtherPeer, probe
from protocol.ids import PeerId
from protocol.state import RunState

DIAL_SECONDS = 10.0
AT_ONCE = 8


async def examine_peers(state: RunState, ours: PeerId | None, network: NetworkSection) -> Findings:
    """One finding for each member of which an address is known, and one for all of which none is."""
    addresses = known_addresses(state, network)
    members = [state.roster[place].peer for place in sorted(state.seated | state.seats.joining)]
    others = [peer for peer in members if peer != ours]
    findings: dict[PeerId, Finding] = {}
    limit = anyio.CapacityLimiter(AT_ONCE)

    async def examine(peer: PeerId) -> None:
        async with limit:
            findings[peer] = await examine_peer(peer, addresses[peer])

    async with anyio.create_task_group() as tasks:
        for peer in others:
            if addresses.get(peer):
                tasks.start_soon(examine, peer)
    found = [findings[peer] for peer in others if peer in findings]
    if len(found) < len(others):
        unknown = f"of {len(others) - len(found)} members we know no address: they have to dial us"
        found.append(fine("peers", unknown))
    strangers = sorted(network.peers.keys() - set(members))
    remedy = "take it out of [network.peers]"
    return (*found, *(doubt("peers", f"{peer} is no member of this run", remedy) for peer in strangers))


def known_addresses(state: RunState, network: NetworkSection) -> dict[PeerId, tuple[str, ...]]:
    """Where a daemon would look for each member: as it is configured, and as the topic tells."""
    scopes = own_scopes((network.listen, *(network.announce or ())))
    addresses = dict(network.peers)
    for member, where in zip(state.roster, state.whereabouts, strict=True):
        said = () if where is None else where.addresses
        told = [each for each in said if is_worth_a_dial(scope_of(each), Source.ANNOUNCED, scopes)]
        addresses[member.peer] = tuple(dict.fromkeys((*addresses.get(member.peer, ()), *told)))
    return addresses


async def examine_peer(peer: PeerId, addresses: tuple[str, ...]) -> Finding:
    """Whether a peer answers at one of its addresses; of several failures the first is told."""
    failures = []
    for address in addresses:
        failure = await examine_address(peer, address)
        if failure is None:
            return fine("peers", f"{peer} answers at {address}")
        failures.append(failure)
    return failures[0]


async def examine_address(peer: PeerId, address: str) -> Finding | None:
    """What keeps a peer from answering at an address, or None when it does."""
    try:
        await probe(peer, address, DIAL_SECONDS)
    except OtherPeer:
        said = f"somebody else than {peer} listens at {address}"
        return problem("peers", said, "ask its operator for its peer id and address")
    except Lost as lost:
        _, host, port = parts_of(address)
        why = await call(host, port, DIAL_SECONDS) or str(lost)
        said = f"{peer} cannot be reached at {address}: {why}"
        return doubt(
            "peers", said, "is its daemon running, and is that its address? the daemon goes on trying"
        )
    return None
