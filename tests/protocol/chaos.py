"""Whole runs at random: every kind of record, right, stale, wrong and hostile, among right and forged transfers.

The treasury pays only what an open settlement asks for, once, as more than half of its keys see to;
all else that is on the ledger, and everything on the topic, is anybody's.
"""

import random
from collections import Counter

from protocol.deposits import deposit_memo
from protocol.errors import ProtocolError
from protocol.fields import Model, canonical
from protocol.ids import SECOND, Ppm
from protocol.messages import Choice, Contributor, Proposal
from protocol.money import liabilities, total_of
from protocol.parse import parse_record
from protocol.payments import FundRecord, TopupRecord
from protocol.rules import count_of, tally
from protocol.state import RunState
from protocol.transfers import SCHEDULED, Lookup, Transfer
from tests.protocol import acts
from tests.protocol.world import (
    FUNDER,
    PEERS,
    TREASURY,
    Ledger,
    Run,
    account,
    blob,
    is_conserved,
    propose,
    verdict,
    vote_record,
)

DEPOSITS = ("fund", "topup", "join")


class SloppyLedger(Ledger):
    """A mirror that answers each lookup with all that it has, newest first."""

    def find(self, wanted: Lookup | None) -> tuple[Transfer, ...]:
        return () if wanted is None else tuple(reversed(self.transfers))


class Chaos:
    """A run, what is thrown at it, and what an outsider who only counts money notes down."""

    def __init__(self, seed: int) -> None:
        draw = self.draw = random.Random(seed)
        stake = draw.choice([0, 0, 500])
        self.run = Run(
            draw.randint(1, 5),
            stake_min=stake,
            admission=draw.choice(["vote", "open"]) if stake else "vote",
            inactive_after=draw.randint(1, 3),
            max_rounds=draw.choice([0, 0, 0, 12]),
            unbonding_rounds=draw.randint(0, 3),
            reward_proposal=draw.choice([0, 5_000, 10**6]),
            reward_vote=draw.choice([0, 1, 700]),
            penalty_rejected=draw.choice([0, 300]),
            penalty_absent=draw.choice([0, 70]),
            penalty_outvoted=draw.choice([0, 30]),
            penalty_contested=draw.choice([0, 20]),
            settle_every=draw.randint(1, 3),
            settle_window=draw.choice([10, 100]),
            settle_fee=2_000,
        )
        self.effective: list[int] = []
        self.kinds: Counter[str] = Counter()
        self.counted: set[str] = set()
        self.staked: Counter[str] = Counter()
        self.attempted: set[int] = set()
        self.stale: list[bytes] = []
        if draw.random() < 0.8:
            self.put(self.deposit("fund", draw.choice([5_000, 200_000, 10**8])))

    # ---- what an outsider checks ----

    def put(self, record: Model | bytes, wait: int = 1) -> bool:
        """Put a record on the topic and look at what became of the money."""
        raw = record if isinstance(record, bytes) else canonical(record)
        before = self.run.now
        self.stale.append(raw)
        try:
            after = self.run.put(raw, at=self.run.time + wait * SECOND)
        except ProtocolError:
            self.kinds["without effect"] += 1
            self.look(before)
            return False
        self.effective.append(len(self.run.topic.messages) - 1)
        parsed = parse_record(raw)
        self.kinds[parsed.op] += 1
        self.note_deposit(parsed, before, after)
        opened = after.money.settlements - before.money.settlements
        assert opened == 0 or (opened == 1 and before.money.settlement is None), "two settlements are open"
        self.look(after)
        return True

    def note_deposit(self, record: Model, before: RunState, after: RunState) -> None:
        body = getattr(record, "body", record)
        transaction = getattr(body, "transaction", None)
        if transaction is None:
            return
        assert transaction not in self.counted, "a transaction counts twice"
        assert transaction in after.money.used - before.money.used
        self.counted.add(transaction)
        transfer = next(each for each in self.run.ledger.transfers if each.id == transaction)
        assert transfer.succeeded
        assert transfer.time < self.run.topic.messages[-1][1].time, "a transfer counts before it was made"
        if record.op == "settled":
            assert before.money.settlement is not None
            assert transfer.memo == str(before.money.settlement.sequence)
        else:
            by = body.account if record.op == "fund" else body.peer
            assert transfer.memo == deposit_memo(before.run, record.op, by), "a transfer for something else"
        gained = after.money.deposits - before.money.deposits
        if record.op in ("topup", "join"):
            self.staked[after.roster[after.place_of(body.peer)].account] += gained

    def look(self, state: RunState) -> None:
        money = state.money
        assert is_conserved(state)
        amounts = [*money.stakes, money.pool, money.fees, *(part.amount for part in money.unbonding)]
        lists = (money.owed, money.paid, money.earned, money.funds)
        amounts += [amount for accounts in lists for _, amount in accounts]
        assert all(amount >= 0 for amount in amounts), "a negative amount"
        assert set(dict(lists[0])) >= {a for a, _ in money.settlement.payees} if money.settlement else True
        assert TREASURY not in dict(money.owed), "the treasury owes itself"
        self.look_at_treasury(state)
        owed, paid, earned, funds = (dict(accounts) for accounts in lists)
        for who in {*owed, *paid}:
            due = earned.get(who, 0) + self.staked[who] + (money.deposits if who in funds else 0)
            assert owed.get(who, 0) + paid.get(who, 0) <= due, "paid for nothing"
        lost = sum(self.staked.values())
        assert total_of(money.earned) <= total_of(money.funds) + lost

    def look_at_treasury(self, state: RunState) -> None:
        """What the treasury holds is what it must hold, beside deposits that nobody has claimed yet."""
        transfers, used = self.run.ledger.transfers, state.money.used
        balance = sum(each.moved(TREASURY) for each in transfers)
        apart = sum(each.moved(TREASURY) for each in transfers if each.id not in used)
        assert balance - apart == liabilities(state.money)
        unclaimed = [each for each in transfers if each.moved(TREASURY) > 0 and each.id not in used]
        if not unclaimed and state.money.settlement is None:
            assert balance == liabilities(state.money)

    # ---- what is thrown at it ----

    def act(self, name: str, seed: int) -> None:
        """Do one thing of a kind; the seed decides which."""
        self.draw = random.Random(seed)
        for record in getattr(self, name)():
            self.put(record, wait=self.draw.choice([1, 1, 1, 1, 20]))

    def someone(self) -> int:
        return self.draw.randrange(len(self.run.now.roster) + 1)

    def some(self, places) -> list[int]:
        """All of some places at most times, or a part of them."""
        places = sorted(places)
        if self.draw.random() < 0.7:
            return places
        return sorted(self.draw.sample(places, self.draw.randint(0, len(places))))

    def who(self, place: int) -> int:
        roster = self.run.now.roster
        return PEERS.index(roster[place].peer) if place < len(roster) else place

    def proposal(self) -> Proposal:
        draw, changes = self.draw, {}
        if draw.random() < 0.3:
            shares = ((account(draw.randint(20, 30)), 333_333), (draw.choice([TREASURY, FUNDER]), 666_667))
            changes["contributors"] = tuple(Contributor(account=a, share=Ppm(s)) for a, s in shares)
        return self.run.proposal(draw.choice(["one", "one", "one", "two"]), **changes)

    def play(self):
        """A round that is decided by its votes."""
        if self.run.now.open is None:
            return []
        draw, proposal = self.draw, self.proposal()
        like = draw.choice([Choice.APPROVE, Choice.APPROVE, Choice.REJECT])
        votes = [
            self.run.vote(
                proposal,
                voter,
                like if draw.random() < 0.8 else draw.choice(list(Choice)),
                gain=Ppm(draw.choice([-1_000_000, -5, 0, 3, 1_000, 1_000_000])),
            )
            for voter in self.some(self.run.voters)
        ]
        choices = [vote.body.choice for vote in votes]
        outcome = tally(count_of(choices, len(self.run.current.members)), self.run.now.params)
        records = [verdict(proposal, votes, outcome or "accepted")]
        if draw.random() < 0.4:
            records[:0] = [vote_record(proposal, vote) for vote in self.some(range(len(votes))) and votes[:2]]
        if draw.random() < 0.3:
            late = self.run.vote(proposal, draw.choice(self.run.voters or [0]))
            records.append(vote_record(proposal, late))
        return records

    def turn(self):
        """A round that ends without a verdict, or nearly."""
        if self.run.now.open is None:
            return []
        draw, proposal = self.draw, self.proposal()
        voter = self.someone()
        one = vote_record(
            proposal, self.run.vote(proposal, voter, draw.choice(list(Choice)), by=self.who(voter))
        )
        options = [propose(proposal), one, self.run.pass_turn(), self.run.present(voter)]
        options += [self.run.pass_turn(by=voter), self.run.close()]
        if draw.random() < 0.3:
            self.run.time = max(self.run.time, self.run.current.deadline)
            return [self.run.close()]
        back = [self.run.present(place) for place in sorted(self.run.now.inactive)]
        return draw.sample(options, 2) + back[:1]

    def deposit(self, op: str, amount: int) -> Model:
        run, draw = self.run, self.draw
        who = self.someone()
        if op == "fund":
            payer = draw.choice([FUNDER, account(30)])
            transaction = run.pay("fund", payer, amount, payer)
            return FundRecord(run=run.now.run, account=payer, amount=amount, transaction=transaction)
        if op == "topup":
            transaction = run.pay("topup", PEERS[who], amount)
            return TopupRecord(run=run.now.run, peer=PEERS[who], amount=amount, transaction=transaction)
        signers = (
            self.some(run.current.members) if run.now.open and run.now.params.admission == "vote" else ()
        )
        return acts.join(run, draw.choice([who, len(run.now.roster)]), signers, draw.choice([0, amount]))

    def invest(self):
        return [self.deposit(self.draw.choice(DEPOSITS), self.draw.choice([1, 100, 500, 3_000, 40_000]))]

    def forge(self):
        """A deposit that is wrong in one way, and sometimes the right one after it."""
        run, draw = self.run, self.draw
        record = self.deposit(draw.choice(DEPOSITS), 700)
        body = getattr(record, "body", record)
        if body.transaction is None:
            return [record]
        right = run.ledger.transfers.pop()
        assert right.id == body.transaction
        fees = tuple((who, 0) for who, _ in right.moves)
        wrong = draw.choice(
            [
                {"result": "INSUFFICIENT_PAYER_BALANCE", "moves": fees},
                {"memo": blob("something else")},
                {"time": run.time + 30 * SECOND},
                {"moves": tuple((who, amount // 2) for who, amount in right.moves)},
                {"moves": fees},
                {"moves": tuple((account(39) if a == TREASURY else a, n) for a, n in right.moves)},
                {"id": right.id + SCHEDULED},
                {},
            ]
        )
        fields = {name: getattr(right, name) for name in right.__slots__}
        run.ledger.transfers.append(Transfer(**(fields | wrong)))
        return [record, record]

    def membership(self):
        run, draw = self.run, self.draw
        place = self.someone()
        staked = self.some(run.now.staked)
        number = run.now.seats.amendments + draw.choice([0, 1, 1, 1, 1, 2])
        choice = draw.randrange(7)
        if choice < 3:
            return [acts.leave(run, place, self.who(place))]
        if choice == 3 and number:
            return [acts.upgrade(run, staked, number)]
        if choice == 4 and number:
            changes = draw.choice(
                [{"settle_window": 10}, {"settle_every": 1}, {"stake_min": 300}, {"max_rounds": 9}]
            )
            return [acts.new_params(run, staked, number, **changes)]
        if choice == 5 and number and draw.random() < 0.4:
            return [acts.end(run, staked, number)]
        keys = self.some(run.now.seated) or [0]
        return [acts.rotate(run, keys, len(keys) // 2 + 1, self.some(run.now.money.keys.places))]

    def accuse(self):
        run, draw = self.run, self.draw
        if run.now.open is None:
            return []
        proposal = self.proposal()
        voter = self.someone()
        votes = [
            run.vote(proposal, voter, choice, by=self.who(voter))
            for choice in draw.choices(list(Choice), k=2)
        ]
        pairs = [votes, [proposal, run.proposal("two")], [proposal, run.pass_turn()], [votes[0], proposal]]
        if draw.random() < 0.5:
            return []
        return [acts.fault(draw.choice([voter, run.current.proposer]), *draw.choice(pairs))]

    def pay(self):
        """Settle, pay at most once, and say what became of it, rightly or not."""
        run, draw = self.run, self.draw
        yield acts.settle(run, max(1, run.now.money.settlements + draw.choice([0, 1, 1, 1, 1, 2])))
        settlement = run.now.money.settlement
        if settlement is None:
            return
        if draw.random() < 0.3:
            yield acts.settled(run, self.fake_payment())
        tried = settlement.number in self.attempted
        if not tried and draw.random() < 0.7 and run.time + SECOND < settlement.expires:
            self.attempted.add(settlement.number)
            fee = draw.choice([0, 1_000, 2_000])
            if draw.random() < 0.7:
                paid = acts.pay_out(run, fee=fee)
            else:
                paid = acts.pay_out(run, fee=fee, result="ACCOUNT_DELETED", moves={})
            if draw.random() < 0.3:
                yield acts.failed(run)
            if draw.random() < 0.9:
                yield acts.settled(run, paid, number=settlement.number)
                yield acts.settled(run, paid, number=settlement.number)
        for transfer in [each for each in run.ledger.transfers if each.memo == str(settlement.sequence)]:
            yield acts.settled(run, transfer.id, number=settlement.number)
        if draw.random() < 0.4:
            run.time = max(run.time, settlement.expires + draw.choice([-1, 1, 2]) * SECOND)
            yield acts.failed(run, number=settlement.number)

    def fake_payment(self) -> str:
        """What somebody else pays, with the memo of the settlement."""
        run, settlement = self.run, self.run.now.money.settlement
        run.time += SECOND
        moves = dict(settlement.payees)
        moves[account(39)] = -total_of(settlement.payees)
        result = self.draw.choice(["SUCCESS", "INVALID_SIGNATURE"])
        if result != "SUCCESS":
            moves = {}
        return run.ledger.put(run.time, account(39), moves, str(settlement.sequence), result=result)

    def again(self):
        """Something that was on the topic before, as it was or with a part of it changed."""
        raw = bytearray(self.draw.choice(self.stale[-40:] or [b""]))
        if self.draw.random() < 0.3 and raw:
            at = self.draw.randrange(len(raw))
            raw[at : at + 1] = self.draw.randbytes(self.draw.randint(0, 2))
        return [bytes(raw)]

    def wind_down(self):
        """Wait until late votes are over, and settle."""
        self.run.time += 20 * SECOND
        return self.pay()
