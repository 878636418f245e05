// Scores by round: how our own data judges head and candidate, and the mean gain that the voters found.

import { el, empty, svg } from "./dom.js";
import { MARKS, gain, member as named, percent } from "./words.js";

const WIDTH = 1180;
const LEFT = 64;
const RIGHT = 12;

const dots = (room) => Math.max(12, Math.min(80, Math.floor(room / 16)));

export function chart(model, room) {
  const width = Math.min(WIDTH, Math.max(320, room));
  const rounds = model.latest(dots(width - LEFT));
  if (rounds.length === 0) return [empty("No round is over yet.")];
  const x = scale(0, Math.max(rounds.length - 1, 11), LEFT + 12, width - RIGHT - 8);
  const scored = rounds.some((round) => round.comparison !== null);
  const top = scored ? 168 : 4;
  const height = top + 132;
  const label = `The last ${rounds.length} rounds: ${["accepted", "rejected"].map(
    (ending) => `${rounds.filter((round) => round.ending === ending).length} ${ending}`).join(", ")}`;
  return [
    svg("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": label },
      ...(scored ? scores(rounds, x, width) : []), ...gains(rounds, x, top, width)),
    key(scored),
  ];
}

function scale(from, to, start, end) {
  return (value) => start + ((value - from) / (to - from || 1)) * (end - start);
}

function scores(rounds, x, width) {
  const told = rounds.flatMap((round) => (round.comparison ? [round.comparison.head, round.comparison.candidate] : []));
  const [low, high] = bounds(Math.min(...told), Math.max(...told));
  const y = scale(low, high, 150, 24);
  const lines = [low, (low + high) / 2, high].map((value) => grid(y(value), percent(value, 0), width));
  const points = rounds.map((round, index) => (round.comparison ? `${x(index).toFixed(1)},${y(round.comparison.head).toFixed(1)}` : null));
  const marks = rounds.map((round, index) => (round.comparison ? mark(round, x(index), y(round.comparison.candidate)) : null));
  return [
    ...lines, svg("text", { class: "axis", x: LEFT, y: 12 }, "score on my own data"),
    svg("polyline", { class: "head-line", points: points.filter(Boolean).join(" ") }), ...marks.filter(Boolean),
  ];
}

function bounds(low, high) {
  const step = 100_000;
  const [from, to] = [Math.floor(low / step) * step, Math.ceil(high / step) * step];
  return from === to ? [from - step, to + step] : [from, to];
}

function mark(round, cx, cy) {
  const words = `Round ${round.number}, ${round.ending}: head ${percent(round.comparison.head)}, candidate ${percent(round.comparison.candidate)}`;
  const shape = round.ending === "accepted"
    ? svg("circle", { r: 4.5 })
    : round.ending === "rejected"
      ? svg("path", { d: "M-4-4 4 4M-4 4 4-4" })
      : svg("path", { d: "M0-5 5 0 0 5-5 0Z" });
  return svg("g", { class: `mark ${round.ending}`, transform: `translate(${cx.toFixed(1)} ${cy.toFixed(1)})` }, svg("title", {}, words), shape);
}

function grid(y, label, width) {
  return svg("g", {},
    svg("line", { class: "grid", x1: LEFT, x2: width - RIGHT, y1: y, y2: y }),
    svg("text", { class: "tick", x: LEFT - 8, y: y + 4 }, label));
}

function gains(rounds, x, top, width) {
  const highest = Math.max(5_000, ...rounds.map((round) => round.gain ?? 0));
  const lowest = Math.min(0, ...rounds.map((round) => round.gain ?? 0));
  const y = scale(lowest, highest, top + 92, top + 24);
  const step = x(1) - x(0);
  const every = Math.max(1, Math.ceil(44 / step));
  const bars = rounds.map((round, index) => {
    const value = round.gain ?? 0;
    const [from, to] = [y(Math.max(0, value)), y(Math.min(0, value))];
    const words = `Round ${round.number}, ${named(round.proposer)}: ${round.ending}${round.gain === null ? "" : `, mean gain ${gain(round.gain)}`}`;
    return svg("g", { class: `bar ${round.ending}` },
      svg("title", {}, words),
      svg("rect", { class: "hit", x: x(index) - step / 2, y: top, width: step, height: 130 }),
      svg("rect", { x: x(index) - Math.min(9, step * 0.36), y: from, width: Math.min(18, step * 0.72), height: Math.max(1.5, to - from), rx: 1.5 }),
      svg("text", { class: "ending", x: x(index), y: top + 110 }, MARKS[round.ending]),
      round.number % every === 0 || rounds.length < 12 ? svg("text", { class: "number", x: x(index), y: top + 126 }, String(round.number)) : null);
  });
  return [
    grid(y(0), "0 %", width), grid(y(highest), gain(highest), width),
    y(lowest) - y(0) > 14 ? grid(y(lowest), gain(lowest), width) : null,
    svg("text", { class: "axis", x: LEFT, y: top + 12 }, "mean gain that the voters found"), ...bars,
  ];
}

function key(scored) {
  const entry = (name, sign, words) => el("li", { class: name }, el("span", { class: "sign", "aria-hidden": true }, sign), ` ${words}`);
  return el("ul", { class: "legend" },
    scored ? entry("head", "—", "head") : null,
    entry("accepted", "✓", "accepted"), entry("rejected", "✗", "rejected"), entry("neutral", "=", "neutral"),
    entry("closed", "–", "closed at the deadline"), entry("passed", "»", "passed"));
}
