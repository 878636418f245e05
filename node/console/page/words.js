// How numbers, times and names are said. Everything here gives plain text.

export const MARKS = {
  approve: "✓", reject: "✗", abstain: "=", unavailable: "?",
  accepted: "✓", rejected: "✗", neutral: "=", closed: "–", passed: "»",
};

export const SAID = {
  approve: "approves", reject: "rejects", abstain: "cannot tell", unavailable: "could not fetch it",
};

export const short = (id) => (id === null ? "" : id.slice(0, 8));
export const shortPeer = (id) => `…${id.slice(-6)}`;
export const member = (place) => `member ${place}`;

export function percent(ppm, digits = 1) {
  const text = (Math.abs(ppm) / 10_000).toFixed(digits);
  return Number(text) === 0 ? `${text} %` : `${ppm < 0 ? "−" : ""}${text} %`;
}

export function gain(ppm) {
  if (ppm === null) return "";
  return ppm > 0 && !percent(ppm).startsWith("0.0") ? `+${percent(ppm)}` : percent(ppm);
}

export function hbar(tinybar, digits = 2) {
  return `${(tinybar / 1e8).toLocaleString("en", { minimumFractionDigits: digits, maximumFractionDigits: digits })} ℏ`;
}

export function bytes(count) {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let unit = 0;
  for (; count >= 1000 && unit < units.length - 1; unit += 1) count /= 1000;
  return `${unit === 0 ? count : count.toFixed(count < 10 ? 1 : 0)} ${units[unit]}`;
}

export function latency(seconds) {
  if (seconds === null) return "";
  return seconds < 0.0995 ? `${(seconds * 1000).toFixed(seconds < 0.00995 ? 1 : 0)} ms` : `${(seconds * 1000).toFixed(0)} ms`;
}

export function seconds(value) {
  if (value === null) return "–";
  return value < 10 ? `${value.toFixed(1)} s` : span(value * 1000);
}

export function span(milliseconds) {
  const whole = Math.max(0, Math.floor(milliseconds / 1000));
  for (const [size, name, part, rest] of [[86_400, "d", 3600, "h"], [3600, "h", 60, "min"], [60, "min", 1, "s"]]) {
    if (whole >= size) return `${Math.floor(whole / size)} ${name} ${Math.floor((whole % size) / part)} ${rest}`;
  }
  return `${whole} s`;
}

export function plural(count, one, many = `${one}s`) {
  return `${count.toLocaleString("en")} ${count === 1 ? one : many}`;
}
