// What the daemon has told so far, and the stream that tells it. Reconnects by itself, for ever.

const MAX_ROUNDS = 200;
const SILENCE = 15_000; // ms; the daemon says something every 5 s
const PAUSES = [1000, 2000, 4000, 8000]; // ms before another try

export class Model {
  constructor(onChange) {
    this.status = null;
    this.rounds = new Map();
    this.linked = false;
    this.offset = 0; // ms: the daemon's clock less ours
    this.heard = Date.now();
    this.tries = 0;
    this.onChange = onChange;
    setInterval(() => this.watch(), 1000);
    this.connect();
  }

  now() {
    return Date.now() + this.offset;
  }

  connect() {
    this.source?.close();
    this.heard = Date.now();
    this.source = new EventSource("/api/events");
    const on = (name, take) => this.source.addEventListener(name, (event) => this.take(name, take, event));
    on("status", (told) => { this.status = told; });
    on("rounds", (told) => this.keep(told.rounds));
    on("change", (told) => this.change(told));
    this.source.onerror = () => {
      this.lose();
      if (this.source.readyState === EventSource.CLOSED) this.again();
    };
  }

  again() {
    const pause = PAUSES[Math.min(this.tries, PAUSES.length - 1)];
    this.tries += 1;
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.connect(), pause);
  }

  watch() {
    if (this.linked && Date.now() - this.heard > SILENCE) {
      this.lose();
      this.connect();
    }
  }

  lose() {
    if (!this.linked && this.tries > 0) return;
    this.linked = false;
    this.onChange(new Set(["link"]));
  }

  take(name, take, event) {
    const told = JSON.parse(event.data);
    const changed = new Set([name === "rounds" ? "rounds" : "status"]);
    if (!this.linked) changed.add("link");
    if (told.now_ms) this.offset = told.now_ms - Date.now();
    this.heard = Date.now();
    this.linked = true;
    this.tries = 0;
    take(told);
    this.onChange(changed);
  }

  change(told) {
    const members = new Map(this.status.members.map((member) => [member.place, member]));
    for (const member of told.members ?? []) members.set(member.place, member);
    const { now_ms, round_is_over: over, members: _, ...rest } = told;
    const round = over ? null : rest.round ?? this.status.round;
    this.status = { ...this.status, ...rest, round, now_ms, members: [...members.values()] };
  }

  keep(rounds) {
    for (const round of rounds) this.rounds.set(round.number, round);
    const numbers = [...this.rounds.keys()].sort((one, other) => one - other);
    for (const number of numbers.slice(0, -MAX_ROUNDS)) this.rounds.delete(number);
  }

  latest(count) {
    const numbers = [...this.rounds.keys()].sort((one, other) => one - other);
    return numbers.slice(-count).map((number) => this.rounds.get(number));
  }
}
