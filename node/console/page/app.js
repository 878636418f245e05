// The page: shows the model, section by section, whenever it changes.

import { byId, empty, show } from "./dom.js";
import { chart } from "./chart.js";
import { Model } from "./model.js";
import { ring, tick } from "./ring.js";
import * as tables from "./tables.js";
import { short, span } from "./words.js";

const LINKS = { live: "live", "catching up": "catching up", ended: "run ended" };
let drawn = {};
let announced = 0;

const model = new Model((changed) => {
  if (changed.has("link")) link();
  if (model.status === null) return;
  draw();
});

// Sections are drawn anew only when what they show has changed: who reads or selects text is not disturbed.
function section(name, facts, render) {
  const now = JSON.stringify(facts);
  if (drawn[name] === now) return;
  drawn[name] = now;
  render();
}

function draw() {
  const status = model.status;
  const now = model.now();
  const minute = Math.floor(now / 10_000);
  section("top", [status.node, status.totals, status.round?.number], () => top(status));
  section("round", [status.round, status.node.doing, status.members.map((each) => [each.connected, each.standing])], () => {
    show("ring", ring(status));
    show("phases", ...tables.phases(status.round));
    show("round-facts", ...tables.roundFacts(status));
    tick(status.round, now);
  });
  section("own", [status.own, status.node.place, status.node.state, status.money.treasury], () => show("own", ...tables.own(status)));
  section("members", [status.members, minute], () => show("members", tables.members(status, now)));
  section("rounds", [model.latest(200), minute], () => show("rounds", tables.rounds(model, now)));
  section("chart", [model.latest(200), byId("chart").clientWidth], () => show("chart", ...chart(model, byId("chart").clientWidth)));
  section("heads", status.heads, () => show("heads", tables.heads(status)));
  section("money", [status.money, status.node.run], () => show("money", ...tables.money(status)));
  announce();
}

function top(status) {
  const { node, round } = status;
  byId("round-title").textContent = round === null ? "No round in progress" : `Round ${round.number}`;
  byId("run").textContent = node.run === null
    ? `topic ${node.topic}`
    : `${node.learner} · run ${short(node.run)} · topic ${node.topic} · ${tables.since(status)}`;
  byId("run").title = node.run ?? "";
  byId("version").textContent = `roundabout ${node.version}, up ${span(model.now() - node.started_ms)}`;
  document.title = round === null ? "Roundabout" : `Round ${round.number} · Roundabout`;
  link();
}

function link() {
  const state = model.status?.node.state ?? "waiting";
  const badge = byId("link");
  badge.dataset.state = model.linked ? state : "lost";
  badge.textContent = model.linked ? LINKS[state] : model.status === null ? "connecting" : "no connection";
  document.body.classList.toggle("stale", !model.linked && model.status !== null);
  banner(state);
}

function banner(state) {
  let words = "";
  if (!model.linked) words = model.status === null && model.tries === 0 ? "" : "The daemon does not answer. What is shown is the last it said; trying again.";
  else if (state === "catching up") words = `Reading the topic from its beginning, message ${model.status.node.sequence}. Nothing is missed: the node takes part as soon as it knows everything.`;
  else if (state === "ended") words = "The run has ended. The last head is final; what is owed is being paid.";
  const place = byId("banner");
  if (place.textContent !== words) place.textContent = words;
  place.hidden = words === "";
}

function announce() {
  const [last] = model.latest(1);
  if (last === undefined || last.number <= announced) return;
  if (announced > 0) byId("news").textContent = `Round ${last.number} ${last.ending}`;
  announced = last.number;
}

show("legend", ...tables.legend());
for (const name of ["ring", "members", "rounds", "heads", "money", "own", "chart"]) show(name, empty("Waiting for the daemon."));
setInterval(() => {
  if (model.status !== null && model.linked) tick(model.status.round, model.now());
}, 250);
addEventListener("resize", () => model.status !== null && draw());
