// The roundabout: members around a circle, whose turn it is, how they vote, and how much time is left.

import { svg } from "./dom.js";
import { MARKS, SAID, gain, member as named, shortPeer } from "./words.js";

const RADIUS = 112;
const CLOCK = 74;
const LARGEST = 20;
const READABLE = 9; // a smaller circle has no room for a sign
const TURN = 2 * Math.PI * CLOCK;

export function ring(status) {
  const { round, members } = status;
  const shown = members.filter((each) => !["left", "expelled"].includes(each.standing));
  const size = Math.max(4, Math.min(LARGEST, Math.floor(300 / Math.max(1, shown.length))));
  const votes = new Map((round?.votes ?? []).map((vote) => [vote.place, vote]));
  const nodes = shown.map((each, index) => {
    const angle = (2 * Math.PI * index) / shown.length - Math.PI / 2;
    return node(each, angle, size, round, votes.get(each.place));
  });
  const label = round === null ? "No round is in progress" : sentence(round, shown.length);
  return svg(
    "svg", { viewBox: "-160 -160 320 320", role: "img", "aria-label": label },
    svg("circle", { class: "road", r: RADIUS }),
    svg("circle", { class: "lane", r: RADIUS }),
    svg("circle", { class: "clock-rest", r: CLOCK }),
    svg("circle", { class: round === null ? "clock none" : "clock", r: CLOCK, transform: "rotate(-90)", "stroke-dasharray": TURN, id: "clock" }),
    svg("text", { class: "clock-text", y: -4, id: "clock-text" }, round === null ? "–" : ""),
    svg("text", { class: "clock-word", y: 22, id: "clock-word" }, round === null ? "no round" : ""),
    ...nodes,
  );
}

function sentence(round, count) {
  const votes = round.votes.map((vote) => `${named(vote.place)} ${SAID[vote.choice]}`).join(", ");
  return `Round ${round.number} among ${count} members, ${named(round.proposer)} proposes; ${votes || "no votes yet"}`;
}

function node(each, angle, size, round, vote) {
  const [x, y] = [RADIUS * Math.cos(angle), RADIUS * Math.sin(angle)];
  const turn = round?.proposer === each.place;
  const takesPart = round?.members.includes(each.place) ?? false;
  const classes = ["node", each.connected ? "up" : "down"];
  if (turn) classes.push("turn");
  if (each.is_self) classes.push("self");
  if (!takesPart) classes.push("out");
  if (vote) classes.push(vote.choice);
  const words = [`${named(each.place)}${each.is_self ? " (this node)" : ""}, ${shortPeer(each.peer)}`,
    each.connected ? "connected" : "not connected", takesPart ? "" : `does not take part: ${each.standing}`,
    turn ? "it is its turn" : "", vote ? `${SAID[vote.choice]}, gain ${gain(vote.gain)}` : ""];
  const mark = vote ? MARKS[vote.choice] : turn ? "★" : null;
  const big = size === LARGEST;
  const badge = big ? [0.74 * size, -0.74 * size] : [0, 0];
  if (!big) classes.push("small");
  return svg(
    "g", { class: classes.join(" "), transform: `translate(${x.toFixed(1)} ${y.toFixed(1)})` },
    svg("title", {}, words.filter(Boolean).join("; ")),
    each.is_self ? svg("circle", { class: "halo", r: size + 5 }) : null,
    svg("circle", { class: "body", r: size }),
    big || (size >= READABLE && !mark) ? svg("text", { class: "place", y: size / 3 }, String(each.place)) : null,
    mark && big ? svg("circle", { class: "badge-back", cx: badge[0], cy: badge[1], r: 10 }) : null,
    mark && size >= READABLE ? svg("text", { class: "mark", x: badge[0], y: badge[1] + 4.5 }, mark) : null,
  );
}

export function tick(round, now) {
  const clock = document.getElementById("clock");
  if (clock === null || round === null) return;
  const left = round.deadline_ms - now;
  const share = Math.max(0, Math.min(1, left / Math.max(1, round.deadline_ms - round.opened_ms)));
  clock.setAttribute("stroke-dashoffset", (TURN * (1 - share)).toFixed(1));
  clock.classList.toggle("late", left < 0);
  const seconds = Math.ceil(Math.abs(left) / 1000);
  const text = seconds < 100 ? `${seconds}` : `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
  document.getElementById("clock-text").textContent = text;
  document.getElementById("clock-word").textContent = left < 0 ? "s overdue" : seconds < 100 ? "s left" : "min left";
}
