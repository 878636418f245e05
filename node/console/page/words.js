// How numbers, times and names are said. Everything here gives plain text.

const SPACE = "\u00a0"; // numbers stay with their units

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
  return Number(text) === 0 ? `${text}${SPACE}%` : `${ppm < 0 ? "−" : ""}${text}${SPACE}%`;
}

export function gain(ppm) {
  if (ppm === null) return "";
  return ppm > 0 && !percent(ppm).startsWith("0.0") ? `+${percent(ppm)}` : percent(ppm);
}

export function hbar(tinybar) {
  const digits = tinybar !== 0 && Math.abs(tinybar) < 1e6 ? 4 : 2;
  return `${(tinybar / 1e8).toLocaleString("en", { minimumFractionDigits: digits, maximumFractionDigits: digits })}${SPACE}ℏ`;
}

export function bytes(count) {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let unit = 0;
  for (; count >= 1000 && unit < units.length - 1; unit += 1) count /= 1000;
  return `${unit === 0 ? count : count.toFixed(count < 10 ? 1 : 0)}${SPACE}${units[unit]}`;
}

export function latency(seconds) {
  if (seconds === null) return "";
  return seconds < 0.0995 ? `${(seconds * 1000).toFixed(seconds < 0.00995 ? 1 : 0)}${SPACE}ms` : `${(seconds * 1000).toFixed(0)}${SPACE}ms`;
}

export function seconds(value) {
  if (value === null) return "–";
  return value < 10 ? `${value.toFixed(1)}${SPACE}s` : span(value * 1000);
}

export function span(milliseconds) {
  const whole = Math.max(0, Math.floor(milliseconds / 1000));
  for (const [size, name, part, rest] of [[86_400, "d", 3600, "h"], [3600, "h", 60, "min"], [60, "min", 1, "s"]]) {
    if (whole >= size) return `${Math.floor(whole / size)} ${name} ${Math.floor((whole % size) / part)} ${rest}`;
  }
  return `${whole}${SPACE}s`;
}

export function plural(count, one, many = `${one}s`) {
  return `${count.toLocaleString("en")} ${count === 1 ? one : many}`;
}
