"""The other members: whether each can be reached where we look for it, and is who we think.

Nobody is called in our own name: that could take the place of a daemon's connection.
"""

from collections.abc import Mapping

import anyio

from node.doctor.calls import call
from node.doctor.findings import Finding, Findings, doubt, fine, problem
from node.doctor.ports import parts_of
from node.net.exchange import Lost
from node.net.wire.host import OtherPeer, probe
from protocol.ids import PeerId
from protocol.state import RunState

DIAL_SECONDS = 10.0
AT_ONCE = 8


async def examine_peers(
    state: RunState, ours: PeerId | None, configured: Mapping[PeerId, tuple[str, ...]]
) -> Findings:
    """One finding for each member of whom we know where it listens, and one for all others.

    configured: addresses of our own configuration; what members announce on the topic comes after them.
    """
    said_there = zip(state.roster, state.whereabouts, strict=True)
    addresses = {member.peer: known.addresses for member, known in said_there if known and known.addresses}
    for peer, given in configured.items():
        addresses[peer] = (*given, *addresses.get(peer, ()))
    members = [state.roster[place].peer for place in sorted(state.seated | state.seats.joining)]
    others = [peer for peer in members if peer != ours]
    findings: dict[PeerId, Finding] = {}
    limit = anyio.CapacityLimiter(AT_ONCE)

    async def examine(peer: PeerId) -> None:
        async with limit:
            findings[peer] = await examine_peer(peer, addresses[peer])

    async with anyio.create_task_group() as tasks:
        for peer in others:
            if peer in addresses:
                tasks.start_soon(examine, peer)
    found = [findings[peer] for peer in others if peer in findings]
    if len(found) < len(others):
        said = f"of {len(others) - len(found)} members we know no address: they have to dial us"
        found.append(fine("peers", said))
    strangers = sorted(configured.keys() - set(members))
    remedy = "take it out of [network.peers]"
    return (*found, *(doubt("peers", f"{peer} is no member of this run", remedy) for peer in strangers))


async def examine_peer(peer: PeerId, addresses: tuple[str, ...]) -> Finding:
    """Whether a peer answers at one of its addresses; what is said of the first, where none does."""
    found = []
    for address in addresses:
        finding = await examine_address(peer, address)
        if finding.grade == "ok":
            return finding
        found.append(finding)
    return found[0]


async def examine_address(peer: PeerId, address: str) -> Finding:
    """Whether a peer answers at an address."""
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
    return fine("peers", f"{peer} answers at {address}")
