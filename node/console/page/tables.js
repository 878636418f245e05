// What is said in words and tables: the round, our part, members, rounds, heads, money.

import { el, empty, svg } from "./dom.js";
import { MARKS, SAID, bytes, gain, hbar, latency, member as named, plural, seconds, short, shortPeer, span } from "./words.js";

const ROWS = 12;
const PHASES = [["training", "train"], ["fetching", "fetch"], ["scoring", "score"], ["voting", "vote"], ["consensus", "consensus"]];
const DOING = {
  "catching up": "reading the topic", training: "training a candidate", "training ahead": "training for the next round", fetching: "fetching weights",
  scoring: "comparing candidate and head", waiting: "waiting for others", watching: "watching; not in this round", ended: "nothing: the run is over",
};

const fact = (name, ...value) => [el("dt", {}, name), el("dd", {}, ...value)];
const place = (each) => el("span", { class: `place-chip${each.is_self ? " self" : ""}` }, String(each.place));

export function phases(round) {
  const at = PHASES.findIndex(([name]) => name === round?.phase);
  return PHASES.map(([, word], index) => el("li",
    { class: index < at ? "done" : index === at ? "now" : "to-come", "aria-current": index === at ? "step" : null },
    el("span", { class: "dot", "aria-hidden": true }, index < at ? "✓" : String(index + 1)), el("span", {}, word)));
}

export function roundFacts({ round, node, members }) {
  if (round === null) return fact("now", node.state === "ended" ? "the run has ended" : "no round yet");
  const proposer = members.find((each) => each.place === round.proposer);
  const due = round.members.length - 1;
  return [
    ...fact("turn", proposer?.is_self ? "this node" : named(round.proposer)),
    ...fact("this node", DOING[node.doing]),
    ...fact("votes", `${round.votes.length} of ${due}`),
    ...fact("candidate", round.candidate === null ? "not proposed yet" : el("code", { title: round.candidate }, short(round.candidate)),
      round.size ? ` ${bytes(round.size)}` : ""),
  ];
}

export function legend() {
  const entries = [["self", "◎", "this node"], ["turn", "★", "has the turn"], ["approve", MARKS.approve, "approves"], ["reject", MARKS.reject, "rejects"],
    ["abstain", MARKS.abstain, "cannot tell"], ["unavailable", MARKS.unavailable, "could not fetch"]];
  return entries.map(([name, sign, words]) => el("li", { class: name }, el("span", { class: "sign", "aria-hidden": true }, sign), ` ${words}`));
}

export function own({ own: mine, money, node }) {
  const figure = (value, words, note = "") => el("div", { class: "figure" },
    el("strong", {}, value), el("span", {}, words), note ? el("small", { class: "muted" }, note) : null);
  const share = mine.chances ? `${Math.round((100 * mine.votes) / mine.chances)} % of its rounds` : "";
  const parts = [
    money.treasury === null ? null : figure(hbar(mine.earned), "earned", `${hbar(mine.paid)} paid, ${hbar(mine.owed)} to come`),
    figure(`${mine.accepted} / ${mine.proposals}`, "proposals accepted"),
    figure(String(mine.votes), "votes cast", share),
    mine.labels === null ? null : figure(mine.labels.toLocaleString("en"), "labels collected"),
  ];
  const details = [
    ...fact("last training", seconds(mine.training_seconds)), ...fact("last comparison", seconds(mine.scoring_seconds)),
    ...(mine.stake ? fact("at stake", hbar(mine.stake)) : []),
    ...fact("account", el("code", {}, node.account)), ...fact("peer id", el("code", { class: "long" }, node.peer)),
  ];
  const stranger = node.place === null && node.state === "live" ? empty("This node is not a member of the run.") : null;
  return [stranger, el("div", { class: "figures" }, ...parts.filter(Boolean)), el("dl", { class: "facts" }, ...details)];
}

export function members({ members: all, money }, now) {
  if (all.length === 0) return empty("Members are known once the first record of the topic has been read.");
  const paid = money.treasury !== null;
  const heads = ["Member", "Link", "Round trip", "Traffic in / out", "Last vote", "Last round", "Proposals", "Votes", ...(paid ? ["Earned"] : [])];
  const rows = all.map((each) => {
    const cells = [
      [place(each), " ", el("span", { title: each.peer }, each.is_self ? "this node" : shortPeer(each.peer)), standing(each)],
      link(each, now), [latency(each.latency) || "–"],
      [each.received + each.sent === 0 ? "–" : `${bytes(each.received)} / ${bytes(each.sent)}`],
      [each.last_vote ? vote(each.last_vote) : "–"], [each.last_round === null ? "–" : String(each.last_round)],
      [`${each.accepted} / ${each.proposals}`], [String(each.votes)], ...(paid ? [[hbar(each.earned)]] : []),
    ];
    return el("tr", { class: each.standing === "active" ? null : "out" },
      ...cells.map((cell, index) => el(index ? "td" : "th", { "data-label": heads[index], scope: index ? null : "row" }, ...cell.filter(Boolean))));
  });
  return table(heads, rows);
}

function standing(each) {
  return each.standing === "active" ? null : el("small", { class: "tag" }, each.standing);
}

function link(each, now) {
  if (each.is_self) return [el("span", { class: "state up" }, "● here")];
  if (each.refused_for > 0) return [el("span", { class: "state down" }, `✗ refused for ${span(each.refused_for * 1000)}`)];
  const since = each.changed_ms === null ? "" : ` ${span(now - each.changed_ms)}`;
  return [
    el("span", { class: `state ${each.connected ? "up" : "down"}` }, each.connected ? `● connected${since}` : `○ away${since}`),
    el("small", { class: "muted address" }, each.address ?? "it dials this node"),
  ];
}

function vote(cast) {
  return el("span", { class: `vote ${cast.choice}`, title: `${named(cast.place)} ${SAID[cast.choice]}${cast.late ? ", late" : ""}` },
    `${MARKS[cast.choice]} ${gain(cast.gain)}`);
}

function table(heads, rows) {
  return el("table", {}, el("thead", {}, el("tr", {}, ...heads.map((head) => el("th", { scope: "col" }, head)))), el("tbody", {}, ...rows));
}

export function rounds(model, now) {
  const last = model.latest(ROWS).reverse();
  if (last.length === 0) return empty("No round is over yet.");
  const heads = ["Round", "By", "Votes", "Mean gain", "Outcome", "Ended"];
  return table(heads, last.map((round) => {
    const cells = [
      [String(round.number)], [String(round.proposer)],
      round.votes.length ? round.votes.map(chip) : ["–"],
      [gain(round.gain) || "–"],
      [el("span", { class: `outcome ${round.ending}` }, `${MARKS[round.ending]} ${round.ending}`)],
      [`${span(now - round.closed_ms)} ago`],
    ];
    return el("tr", {}, ...cells.map((cell, index) => el(index ? "td" : "th", { "data-label": heads[index], scope: index ? null : "row" }, ...cell)));
  }));
}

function chip(cast) {
  const words = `${named(cast.place)} ${SAID[cast.choice]}, ${gain(cast.gain)}${cast.late ? ", late" : ""}`;
  return el("span", { class: `chip ${cast.choice}`, title: words }, el("span", { class: "unseen" }, words),
    el("span", { "aria-hidden": true }, `${cast.place}${MARKS[cast.choice]}${cast.late ? " late" : ""}`));
}

export function heads({ heads: all }) {
  if (all.length === 0) return empty("Not read yet.");
  const last = [...all].reverse().slice(0, 6);
  return el("ol", { class: "lineage", reversed: true }, ...last.map((head, index) => el("li", { class: index ? null : "present" },
    el("code", { title: head.digest }, short(head.digest)),
    el("span", {}, head.round === 0 ? " initial weights" : ` round ${head.round}, ${named(head.proposer)}`),
    head.gain === null ? null : el("span", { class: "right" }, gain(head.gain)))));
}

export function money({ money: told, node }) {
  if (node.run === null) return [empty("Not read yet.")];
  if (told.treasury === null) return [empty("This run has no treasury: nobody pays or earns anything.")];
  const parts = [["pool", told.pool], ["at stake", told.at_stake], ["owed", told.owed], ["paid", told.paid], ["fees", told.fees]];
  const total = Math.max(1, parts.reduce((sum, [, amount]) => sum + amount, 0));
  let x = 0;
  const bars = parts.map(([name, amount]) => {
    const width = (100 * amount) / total;
    x += width;
    return svg("rect", { class: name.replace(" ", "-"), x: x - width, width, height: 10 }, svg("title", {}, `${name} ${hbar(amount)}`));
  });
  return [
    svg("svg", { class: "stack", viewBox: "0 0 100 10", preserveAspectRatio: "none", "aria-hidden": true }, ...bars),
    el("dl", { class: "facts money" }, ...parts.flatMap(([name, amount]) => fact(el("span", { class: `swatch ${name.replace(" ", "-")}` }, name), hbar(amount)))),
    el("p", { class: "muted small" }, `account ${told.treasury}`, told.settlement === null ? "" : `, payment ${told.settlement} is being signed`),
  ];
}

export const since = (status) => `${plural(Object.values(status.totals).reduce((sum, each) => sum + each, 0), "round")} so far`;
