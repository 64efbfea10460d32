// Words and numbers as people read them; nothing here touches the page.

export const STATES = {
  degraded: "Degraded", silent: "Silent", below: "Below target", within_chance: "Within chance", good: "Good",
  too_few: "Too few to tell", quiet: "Quiet",
}; // most severe first
const SEVERITY = Object.fromEntries(Object.keys(STATES).reverse().map((state, i) => [state, i]));
const KINDS = { customer: "Customer stage", background: "Background system", feedback: "Customers’ voice" };
export const IN_FRONT = new Set(["customer", "feedback"]);

export const words = (name) => String(name).replaceAll("_", " ");
const plain = new Intl.NumberFormat("en", { maximumFractionDigits: 2 });
export const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
export const tenths = new Intl.NumberFormat("en", { maximumFractionDigits: 1 });
const short = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });
const clock = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const day = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short" });

// Rounded down, so that 94.99 % never reads as the 95 % it misses, nor 99.96 % as 100 %: that needs no decimal.
export const percent = (ratio) => ratio >= 1 ? "100" : (Math.floor(ratio * 1000 + 1e-6) / 10).toFixed(1);
export const target = (ratio) => `${plain.format(ratio * 100)} %`;
export const kindOf = (stage) => KINDS[stage.kind] ?? `${stage.kind.charAt(0).toUpperCase()}${words(stage.kind).slice(1)} stage`;
export const perMinute = (n) => (n < 10 ? tenths : n < 1000 ? whole : short).format(n);
export const number = (n) => (typeof n === "number" ? whole.format(n) : "–"); // a dash is what is not known
export const amount = (n, one) => `${number(n)} ${one}${n === 1 ? "" : "s"}`;
export const span = (window) => String(window).replace(/^(\d+)m$/, "$1 min").replace(/^(\d+)h$/, "$1 h").replace(/^(\d+)d$/, "$1 d");

export function time(iso) {
  const date = new Date(iso);
  if (Number.isNaN(date.getTime())) return String(iso);
  const today = date.toDateString() === new Date().toDateString();
  return today ? clock.format(date) : `${day.format(date)} ${clock.format(date)}`;
}

export function age(ms) {
  const s = Math.max(0, Math.round(ms / 1000));
  if (s < 120) return `${s} s`;
  return s < 7200 ? `${Math.round(s / 60)} min` : `${Math.round(s / 3600)} h`;
}

// What a silent stage's last events were like says nothing of the present.
export const hasQuality = (stage) => stage.quality !== null && !stage.silent;

// How many times as many bad encounters as the target allows: comparable between stages, unlike quality.
export function overshoot(stage) {
  if (stage.quality === null || stage.target === null) return -1;
  return (1 - stage.quality) / Math.max(1 - stage.target, 1e-4);
}

export function weakest(stages) {
  const judged = stages.filter((s) => s.quality !== null || s.silent);
  judged.sort((a, b) => (SEVERITY[b.state] ?? 0) - (SEVERITY[a.state] ?? 0) || overshoot(b) - overshoot(a));
  return judged[0] ?? null;
}

// What was counted before is lost, with the changelog that held it.
export function lossOf({ stages, journeys }) {
  const all = [...stages, { title: "Whole journeys", ...journeys }].filter((one) => one.whole_since);
  if (!all.length) return "";
  const since = all.map((one) => `${one.title} ${time(one.whole_since)}`).join(", ");
  return `Windows are whole only since: ${since}. What was counted before is lost.`;
}

// A worker whose neighbours do not answer sees a part of the events: what looks quiet or good here may be neither.
export const partOf = ({ only_part: part }) => part ? `A part only: ${part}.` : "";
