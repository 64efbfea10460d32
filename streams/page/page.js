// Everything shown comes from the last good answer of the API, and enters the page as text, never as markup.

const POLL_MS = 2000; // detection is promised within a minute; the table is re-read as fast as people look
const TIMEOUT_MS = 5000; // an answer takes milliseconds: a worker this slow is shown as unreachable
const HELD_UP_MS = 900000; // what MonitorBlind calls held up
const STILL_MS = 20000; // ten polls without the worker's own clock moving: its numbers stand still
const READING_MS = 30000; // a pointer that moved over the table this recently belongs to someone reading it
const CARD_REM = 14.5; // narrower than this, a card of the map would break its words: use the flow layout
const ROOM_COLUMNS = 4; // the weakest stage, written large, needs the width of two cards
const HOUR_S = 3600;

const STATES = {
  degraded: "Degraded", silent: "Silent", below: "Below target", within_chance: "Within chance", good: "Good",
  too_few: "Too few to tell", quiet: "Quiet",
}; // most severe first
const SEVERITY = Object.fromEntries(Object.keys(STATES).reverse().map((state, i) => [state, i]));
const KINDS = { customer: "Customer stage", background: "Background system", feedback: "Customers’ voice" };
const IN_FRONT = new Set(["customer", "feedback"]);
const COLUMNS = ["Time", "Id", "Outcome", "Reason", "Experience missed", "Segment", "Partner", "Channel", "Journey"];

const SPAN = 0.08; // share of quality that a sparkline shows at least from bottom to top

const SVG = "http://www.w3.org/2000/svg";
const SHAPES = {
  good: [["circle", { cx: 8, cy: 8, r: 7 }], ["path", { class: "hole", d: "M4.6 8.3l2.4 2.4 4.5-5" }]],
  within_chance: [["circle", { cx: 8, cy: 8, r: 7 }], ["path", { class: "hole", d: "M4.2 9.2c1.3-2.6 2.5-2.6 3.8-1s2.5 1.6 3.8-1" }]],
  below: [["path", { d: "M.8 2.2h14.4L8 15z" }], ["path", { class: "hole", d: "M8 5v3.6M8 11v.2" }]],
  degraded: [["path", { d: "M8 .2L15.8 8 8 15.8.2 8z" }], ["path", { class: "hole", d: "M8 4.2v4.6M8 11.6v.2" }]],
  silent: [["rect", { x: 1, y: 1, width: 14, height: 14, rx: 2 }], ["path", { class: "hole", d: "M4 8h8" }]],
  too_few: [["circle", { class: "hollow", cx: 8, cy: 8, r: 6.8 }],
    ["path", { class: "bar", d: "M6 6.3a2 2 0 1 1 3 1.7c-.7.4-1 .7-1 1.4M8 11.8v.1" }]],
  quiet: [["circle", { class: "hollow", cx: 8, cy: 8, r: 6.2 }], ["path", { class: "bar", d: "M5.2 8h5.6" }]],
};

const at = (id) => document.getElementById(id);
const cards = new Map(); // stage name -> the parts of its card that change
const now = () => performance.now();

let answer = null; // last good answer of /api/stages
let answeredAt = 0; // our monotonic clock when it came, ms
let movedAt = 0; // our monotonic clock when the worker's `at` last changed, ms
let trouble = null; // why the latest poll failed, or null
let chosen = fromHash(); // stage picked by hand; null follows the weakest
let shown = null; // stage the failure table shows
let pointedAt = -Infinity;

// ── words and numbers ────────────────────────────────────────────────────────────────────────────────────

const words = (name) => String(name).replaceAll("_", " ");
const plain = new Intl.NumberFormat("en", { maximumFractionDigits: 2 });
const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const tenths = new Intl.NumberFormat("en", { maximumFractionDigits: 1 });
const short = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });
const clock = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const day = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short" });

// Rounded down, so that 94.99 % never reads as the 95 % it misses, nor 99.96 % as 100 %: that needs no decimal.
const percent = (ratio) => ratio >= 1 ? "100" : (Math.floor(ratio * 1000 + 1e-6) / 10).toFixed(1);
const target = (ratio) => `${plain.format(ratio * 100)} %`;
const kindOf = (stage) => KINDS[stage.kind] ?? `${stage.kind.charAt(0).toUpperCase()}${words(stage.kind).slice(1)} stage`;
const perMinute = (n) => (n < 10 ? tenths : n < 1000 ? whole : short).format(n);
const number = (n) => (typeof n === "number" ? whole.format(n) : "–"); // a dash is what is not known
const amount = (n, one) => `${number(n)} ${one}${n === 1 ? "" : "s"}`;
const span = (window) => String(window).replace(/^(\d+)m$/, "$1 min").replace(/^(\d+)h$/, "$1 h").replace(/^(\d+)d$/, "$1 d");

function time(iso) {
  const date = new Date(iso);
  if (Number.isNaN(date.getTime())) return String(iso);
  const today = date.toDateString() === new Date().toDateString();
  return today ? clock.format(date) : `${day.format(date)} ${clock.format(date)}`;
}

function age(ms) {
  const s = Math.max(0, Math.round(ms / 1000));
  if (s < 120) return `${s} s`;
  return s < 7200 ? `${Math.round(s / 60)} min` : `${Math.round(s / 3600)} h`;
}

// What a silent stage's last events were like says nothing of the present.
const hasQuality = (stage) => stage.quality !== null && !stage.silent;

// How many times as many bad encounters as the target allows: comparable between stages, unlike quality.
function overshoot(stage) {
  if (stage.quality === null || stage.target === null) return -1;
  return (1 - stage.quality) / Math.max(1 - stage.target, 1e-4);
}

function weakest(stages) {
  const judged = stages.filter((s) => s.quality !== null || s.silent);
  judged.sort((a, b) => (SEVERITY[b.state] ?? 0) - (SEVERITY[a.state] ?? 0) || overshoot(b) - overshoot(a));
  return judged[0] ?? null;
}

// ── building blocks ──────────────────────────────────────────────────────────────────────────────────────

function make(tag, className, text) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text !== undefined) element.textContent = text;
  return element;
}

function draw(tag, attributes) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return element;
}

function put(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

function symbol(state) {
  const svg = draw("svg", { viewBox: "0 0 16 16", class: `symbol ${state}`, "aria-hidden": "true" });
  for (const [tag, attributes] of SHAPES[state]) svg.append(draw(tag, attributes));
  return svg;
}

function putSymbol(holder, state) {
  if (holder.dataset.symbol === state) return;
  holder.dataset.symbol = state;
  holder.replaceChildren(symbol(state));
}

function fromHash() {
  try {
    return decodeURIComponent(location.hash.slice(1)) || null;
  } catch {
    return null;
  }
}

// ── the map ──────────────────────────────────────────────────────────────────────────────────────────────

// Half-card columns: a step within a lane moves two on, a step across the line moves one, so that cards
// never overlap and every connection is one straight line.
function layOut(stages) {
  let column = 1;
  stages.forEach((stage, i) => {
    const card = cards.get(stage.stage).root;
    const front = IN_FRONT.has(stage.kind);
    const next = stages[i + 1];
    card.dataset.lane = front ? "front" : "back";
    card.dataset.next = !next ? "none" : IN_FRONT.has(next.kind) === front ? "along" : "across";
    card.style.setProperty("--column", column);
    column += card.dataset.next === "across" ? 1 : 2;
  });
  const lanes = new Set(stages.map((s) => IN_FRONT.has(s.kind)));
  at("map").dataset.lanes = lanes.size === 2 ? "both" : lanes.has(true) ? "front" : "back";
  at("map").dataset.columns = column - 1;
  at("map").style.setProperty("--columns", column - 1);
  // The lane the journey does not start in is empty until its first card: room for the weakest stage.
  const other = stages.length ? stages.find((s) => IN_FRONT.has(s.kind) !== IN_FRONT.has(stages[0].kind)) : undefined;
  const room = other ? Number(cards.get(other.stage).root.style.getPropertyValue("--column")) - 1 : 0;
  at("map").dataset.room = room < ROOM_COLUMNS ? "none" : IN_FRONT.has(other.kind) ? "front" : "back";
  at("map").style.setProperty("--room", room + 1);
  fit();
}

function fit() {
  const rem = parseFloat(getComputedStyle(document.documentElement).fontSize);
  const columns = Number(at("map").dataset.columns) || 2;
  const card = (at("map").clientWidth / columns) * 2;
  at("map").dataset.layout = card >= CARD_REM * rem ? "map" : "flow";
}

function card(stage, number) {
  const root = make("li", "card");
  const head = make("div", "card-head");
  const button = make("button", "pick", stage.title);
  button.type = "button";
  button.setAttribute("aria-controls", "failures");
  button.addEventListener("click", () => choose(stage.stage));
  const name = make("h3");
  name.append(button);
  const kind = make("p", "kind", kindOf(stage));
  if (!IN_FRONT.has(stage.kind)) kind.append(make("span", "tag", " · behind the line of visibility"));
  const headText = make("div");
  headText.append(name, kind);
  head.append(make("span", "station", String(number)), headText);

  const state = make("p", "state");
  const mark = make("span", "mark");
  const word = make("span");
  state.append(mark, word);
  const flow = make("span", "flow");
  const stateLine = make("div", "state-line");
  stateLine.append(state, flow);

  const quality = make("p", "quality");
  const figure = make("span", "figure");
  const unit = make("span", "unit");
  const goal = make("span");
  const delta = make("span");
  const against = make("span", "against");
  against.append(goal, delta);
  quality.append(figure, unit, against);

  const bullet = draw("svg", { class: "bullet", viewBox: "0 0 1000 14", preserveAspectRatio: "none", "aria-hidden": "true" });
  const fill = draw("rect", { class: "fill", x: 0, y: 3, height: 8, width: 0 });
  const tick = draw("rect", { class: "tick", y: 0, height: 14, width: 8 });
  bullet.append(draw("rect", { class: "track", x: 0, y: 3, width: 1000, height: 8 }), fill, tick);

  const facts = make("dl", "facts");
  const fact = (term, className) => {
    const value = make("dd", className);
    facts.append(make("dt", className, term), value);
    return value;
  };
  const weak = fact("Weakest experience", "weak");
  const hits = fact("Hits");
  const reason = fact("Reason");

  const trend = draw("svg", { class: "trend", viewBox: "0 0 600 100", preserveAspectRatio: "none", role: "img" });
  const shortfall = draw("path", { class: "short" });
  const goalLine = draw("path", { class: "goal-line" });
  const line = draw("path", { class: "line" });
  const dot = draw("path", { class: "dot" });
  trend.append(shortfall, goalLine, line, dot);
  const hour = make("div", "hour");
  hour.append(make("span", "", "1 h"), trend);
  const bad = make("p", "bad");
  const journeys = make("p", "bad hit");

  root.append(head, stateLine, quality, bullet, facts, hour, bad, journeys);
  return { root, button, mark, word, delta, figure, unit, goal, fill, tick, weak, hits, reason, bad, journeys, flow,
    trend, shortfall, goalLine, line, dot };
}

function paintCard(parts, stage, ready) {
  const state = stage.state in STATES ? stage.state : "quiet";
  parts.root.dataset.state = state;
  putSymbol(parts.mark, state);
  put(parts.word, ready ? STATES[state] : "Catching up");
  const known = hasQuality(stage);
  const hurts = known && stage.bad;
  put(parts.figure, known ? percent(stage.quality) : ready ? "no events" : "–");
  parts.figure.classList.toggle("none", !known);
  put(parts.unit, known ? " %" : "");
  put(parts.goal, stage.target === null ? "" : `target ${target(stage.target)}`);
  const points = known && stage.target !== null ? (stage.quality - stage.target) * 100 : null;
  put(parts.delta, points === null ? "" : `${points < 0 ? "−" : "+"}${Math.abs(points).toFixed(1)} points`);
  parts.fill.setAttribute("width", known ? stage.quality * 1000 : 0);
  parts.tick.setAttribute("x", stage.target === null ? -20 : Math.min(stage.target * 1000 - 4, 992));
  put(parts.weak, stage.weakest?.title ?? "–");
  put(parts.hits, !stage.weakest || !hurts ? "–" : stage.weakest.segment === null ? "everyone" : words(stage.weakest.segment));
  put(parts.reason, stage.top_reason && hurts ? words(stage.top_reason) : "–");
  put(parts.bad, badOf(stage));
  put(parts.journeys, answer.journeys && stage.kind !== "staff" ? `${amount(stage.journeys_hit, "journey")} hit in 5 min` : "");
  put(parts.flow, ready ? `${perMinute(stage.events_per_minute)}/min` : "");
  paintTrend(parts, stage);
}

function badOf({ silent, n, bad, window }) {
  if (silent) return `0 of ${number(silent.expected)} expected in ${span(silent.window)}`;
  return n ? `${number(bad)} of ${number(n)} bad in ${span(window)}` : "";
}

// The scale holds everything drawn and at least SPAN, so that noise stays small; minutes without events are gaps.
function paintTrend(parts, stage) {
  const points = stage.trend ?? [];
  const values = points.map(([, q]) => q).filter((q) => q !== null);
  const end = points.length ? points[points.length - 1][0] : 0;
  const drawn = stage.target === null ? values : [...values, stage.target];
  const middle = drawn.length ? (Math.max(...drawn) + Math.min(...drawn)) / 2 : 0.5;
  const reach = Math.max(SPAN, Math.max(...drawn) - Math.min(...drawn)) / 2;
  const x = (t) => (600 - ((end - t) / (HOUR_S - 60)) * 590 - 5).toFixed(1);
  const y = (q) => (50 - ((q - middle) / reach) * 46).toFixed(1);
  const runs = [];
  points.forEach(([t, q], i) => {
    if (q === null) return;
    if (i === 0 || points[i - 1][1] === null) runs.push([]);
    runs[runs.length - 1].push([t, q]);
  });
  const path = (run, lift) => `M${run.map(([t, q]) => `${x(t)} ${y(lift(q))}`).join("L")}`;
  parts.line.setAttribute("d", runs.map((run) => `${path(run, (q) => q)}h.1`).join(""));
  parts.dot.setAttribute("d", runs.length && points.at(-1)[1] !== null ? `M${x(end)} ${y(points.at(-1)[1])}h.1` : "");
  const goal = stage.target;
  parts.goalLine.setAttribute("d", goal === null ? "" : `M0 ${y(goal)}H600`);
  parts.shortfall.setAttribute("d", goal === null ? "" : runs.map((run) =>
    `${path(run, (q) => Math.min(q, goal))}L${x(run.at(-1)[0])} ${y(goal)}L${x(run[0][0])} ${y(goal)}Z`).join(""));
  const lowest = values.length ? `lowest ${percent(Math.min(...values))} %` : "no events";
  parts.trend.setAttribute("aria-label", `Quality over the last hour: ${lowest}`);
}

// ── header and strip ─────────────────────────────────────────────────────────────────────────────────────

function paintHeader() {
  const { stages, title, ready } = answer;
  put(at("title"), title);
  const counts = Object.keys(STATES).map((state) => [state, stages.filter((s) => s.state === state).length]);
  if (!at("counts").children.length) {
    for (const [state] of counts) {
      const item = make("li");
      item.append(symbol(state), make("b"), make("span", "", STATES[state].toLowerCase()));
      at("counts").append(item);
    }
  }
  counts.forEach(([, n], i) => {
    const item = at("counts").children[i];
    put(item.querySelector("b"), ready ? String(n) : "–");
    item.classList.toggle("zero", n === 0 || !ready);
  });

  const worst = weakest(stages);
  at("hero").dataset.state = worst?.state ?? "quiet";
  putSymbol(at("hero-symbol"), worst && worst.state in STATES ? worst.state : "quiet");
  put(at("hero-stage"), worst?.title ?? (ready ? "No events in any stage" : "Not yet known"));
  put(at("hero-quality"), !worst ? "" : hasQuality(worst) ? `${percent(worst.quality)} %` : "no events");
  put(at("hero-target"), worst && worst.target !== null ? `against a target of ${target(worst.target)}` : "");
  put(at("hero-title"), worst?.weakest?.title ?? "");
  put(at("hero-why"), why(worst, stages));
}

function why(worst, stages) {
  if (!worst) return "A journey is exactly as good as its weakest encounter.";
  if (worst.silent) return `No event came in ${span(worst.silent.window)}, ${number(worst.silent.expected)} were expected.`;
  if (worst.state !== "degraded" && worst.state !== "below") return wellBut(stages);
  const parts = [];
  if (worst.weakest?.segment) parts.push(`hits ${words(worst.weakest.segment)} hardest`);
  if (worst.top_reason) parts.push(`mostly ${words(worst.top_reason)}`);
  if (overshoot(worst) > 1) parts.push(`${tenths.format(overshoot(worst))} × the bad encounters the target allows`);
  const text = parts.join(" · ");
  return text.charAt(0).toUpperCase() + text.slice(1);
}

// The present where nothing surely misses its target, and no more than is known of it.
function wellBut(stages) {
  const few = stages.filter((s) => s.state === "too_few").length;
  const misses = stages.some((s) => s.state === "within_chance");
  if (!misses && !stages.some((s) => s.state === "good")) return "No stage has enough events to tell.";
  const which = few ? "with enough events" : "with events";
  const rest = few ? `; ${few} ${few === 1 ? "has" : "have"} too few to tell` : "";
  return `${misses ? `No stage ${which} misses its target beyond chance` : `Every stage ${which} meets its target`}${rest}.`;
}

// A worker of several sees its share of the events: what looks quiet or good here may be neither.
const partOf = ({ only_part: part }) => part ? `A part only: ${part}.` : "";

function paintStrip() {
  const still = answer && now() - movedAt > STILL_MS;
  let tone = "live";
  let text = "Live";
  if (trouble) {
    tone = "lost";
    text = answer ? `The worker cannot be reached (${trouble}). These numbers are old.`
      : `The worker cannot be reached (${trouble}). There is nothing to show yet.`;
  } else if (!answer) {
    tone = "wait";
    text = "Waiting for the worker’s first answer.";
  } else if (!answer.ready) {
    tone = "wait";
    text = "The worker is not ready: it is reading back its tables. Numbers appear when it has caught up.";
  } else if (still) {
    tone = "lost";
    text = "The worker answers, but its numbers stand still.";
  }
  at("strip").dataset.tone = tone;
  put(at("strip-state"), text);
  document.body.classList.toggle("stale", tone === "lost");
  if (answer) {
    const old = trouble ? ` · ${age(now() - answeredAt)} old` : still ? ` · ${age(now() - movedAt)} old` : "";
    put(at("strip-age"), `As of ${time(answer.at)}${old}`);
    const { owned, of } = answer.partitions ?? {};
    put(at("strip-worker"), `· ${answer.worker}${of ? `, ${owned} of ${of} partitions` : ""}`);
    put(at("part"), partOf(answer));
    at("part").hidden = !answer.only_part;
  }
  const count = (state) => answer ? answer.stages.filter((s) => s.state === state).length : 0;
  const paging = ["degraded", "silent"].filter(count).map((state) => `${count(state)} ${state}`).join(", ");
  const prefix = trouble ? "(unreachable) " : answer && !answer.ready ? "(not ready) " : paging ? `(${paging}) ` : "";
  document.title = `${prefix}${answer ? `${answer.title} · ` : ""}Touchpoint Monitor`;
}

// Journeys of a result each: those that met their goal, missed it, or had none.
const over = (n) => n ? `${whole.format(n.met)} met · ${whole.format(n.missed)} missed · ${amount(n.visit, "visit")}` : "–";

function overdue(promises) {
  if (!promises) return "–";
  const parts = Object.entries(promises).map(([partner, n]) => `${partner === "none" ? "ourselves" : words(partner)} ${whole.format(n)}`);
  return parts.length ? parts.join(" · ") : "none";
}

function judgedUntil(iso, by) {
  const source = by ? `${by.title} partition ${by.partition}` : "";
  if (!iso) return source ? `nothing heard of ${source}` : "–";
  const behind = new Date(answer.at) - new Date(iso); // two minutes at most when all is well
  if (behind <= HELD_UP_MS) return time(iso);
  return `${time(iso)}, ${age(behind)} ago: held up${source ? ` by ${source}` : ""}`;
}

function paintJourneys() {
  const { journeys } = answer;
  at("journeys").hidden = !journeys;
  if (!journeys) return;
  put(at("journeys-judged"), judgedUntil(journeys.judged_until, journeys.held_up_by));
  put(at("journeys-open"), number(journeys.open));
  put(at("journeys-1h"), over(journeys.over?.["1h"]));
  put(at("journeys-1d"), over(journeys.over?.["1d"]));
  const worst = journeys.weakest;
  put(at("journeys-weakest"), worst ? `${worst.title}, ${amount(worst.journeys, "journey")}` : journeys.over ? "none" : "–");
  put(at("journeys-overdue"), overdue(journeys.overdue));
  put(at("journeys-handoffs"), number(journeys.handoffs_lost));
  put(at("journeys-labyrinths"), number(journeys.labyrinths));
}

function paint() {
  at("main").hidden = false;
  const { stages, ready } = answer;
  if (stages.length !== cards.size || stages.some((s, i) => [...cards.keys()][i] !== s.stage)) {
    cards.clear();
    stages.forEach((stage, i) => cards.set(stage.stage, card(stage, i + 1)));
    at("stages").replaceChildren(...[...cards.values()].map((parts) => parts.root));
    layOut(stages);
  }
  for (const stage of stages) paintCard(cards.get(stage.stage), stage, ready);
  paintHeader();
  paintJourneys();
  paintSelection();
}

// ── the failures of one stage ────────────────────────────────────────────────────────────────────────────

const picked = () => answer?.stages.find((s) => s.stage === chosen) ?? null;
const selected = () => picked() ?? (answer && (weakest(answer.stages) ?? answer.stages[0])) ?? null;

function choose(name) {
  chosen = name;
  history.replaceState(null, "", name === null ? location.pathname : `#${encodeURIComponent(name)}`);
  if (!answer) return;
  paintSelection();
  readFailures();
}

function paintSelection() {
  const stage = selected();
  for (const [name, parts] of cards) {
    parts.button.setAttribute("aria-pressed", String(name === stage?.stage));
    parts.root.classList.toggle("selected", name === stage?.stage);
  }
  if (!stage) return;
  put(at("failures-title"), `Latest failures: ${stage.title}`);
  at("follow").hidden = picked() === null;
  const titles = (stage.depends_on ?? []).map((name) => answer.stages.find((s) => s.stage === name)?.title ?? words(name));
  const about = [make("span", "", kindOf(stage)), make("span", "", `Owner ${stage.owner}`)];
  if (titles.length) about.push(make("span", "", `Depends on ${titles.join(", ")}`));
  if (/^https?:/i.test(stage.runbook ?? "")) {
    const link = make("a", "", "Runbook");
    link.href = stage.runbook;
    link.rel = "noopener noreferrer";
    link.target = "_blank";
    about.push(link);
  }
  const signature = JSON.stringify([stage.stage, stage.kind, stage.owner, titles, stage.runbook]);
  if (at("failures-about").dataset.of !== signature) {
    at("failures-about").dataset.of = signature;
    at("failures-about").replaceChildren(...about);
  }
}

function someoneReads() {
  const marked = getSelection();
  if (marked && !marked.isCollapsed && at("table-box").contains(marked.anchorNode)) return true;
  return at("rows").contains(document.activeElement) || (at("table-box").matches(":hover") && now() - pointedAt < READING_MS);
}

async function readFailures() {
  const stage = selected();
  if (!stage) return;
  const following = picked() === null ? "Following the weakest stage" : "";
  if (shown === stage.stage && someoneReads()) {
    put(at("failures-note"), "Held while you read");
    return;
  }
  if (stage.kind === "staff") {
    shown = stage.stage;
    paintRows([]);
    put(at("failures-part"), "");
    put(at("failures-note"), following);
    put(at("empty"), "What single colleagues answered is nobody’s to see.");
    return;
  }
  try {
    const { failures, ...seen } = await read(`/api/stages/${encodeURIComponent(stage.stage)}/failures`);
    if (selected()?.stage !== stage.stage) return;
    shown = stage.stage;
    paintRows(failures);
    put(at("failures-part"), partOf(seen));
    put(at("failures-note"), following);
    put(at("empty"), failures.length ? "" : "No failures seen lately.");
  } catch (error) {
    if (selected()?.stage !== stage.stage) return;
    if (shown !== stage.stage) paintRows([]);
    put(at("failures-note"), `Failures could not be read (${reasonOf(error)})`);
    if (shown !== stage.stage) put(at("empty"), "Nothing to show.");
  }
}

function paintRows(failures) {
  const rows = at("rows");
  const kept = new Map([...rows.children].map((row) => [row.dataset.key, row]));
  const wanted = failures.map((failure) => {
    const key = JSON.stringify(failure);
    const row = kept.get(key) ?? makeRow(failure, key);
    kept.delete(key);
    return row;
  });
  for (const row of kept.values()) row.remove();
  wanted.forEach((row, i) => {
    if (rows.children[i] !== row) rows.insertBefore(row, rows.children[i] ?? null);
  });
}

function makeRow(failure, key) {
  const row = make("tr");
  row.setAttribute("role", "row");
  row.dataset.key = key;
  const place = [failure.channel, failure.location].filter(Boolean).join(" · ");
  const texts = [time(failure.time), failure.id, words(failure.outcome), failure.reason && words(failure.reason),
    (failure.experiences ?? []).map(words).join(", "), failure.segment, failure.partner, place, failure.journey_id];
  texts.forEach((text, i) => {
    const cell = make("td", i === 1 || i === 8 ? "id" : "", text || "–");
    cell.setAttribute("role", "cell");
    cell.dataset.label = COLUMNS[i];
    if (!text) cell.classList.add("absent");
    row.append(cell);
  });
  row.firstChild.title = failure.time;
  return row;
}

// ── polling ──────────────────────────────────────────────────────────────────────────────────────────────

const reasonOf = (error) => error.name === "TimeoutError" ? "no answer in time" : error instanceof TypeError ? "no connection" : error.message;

async function read(path) {
  const response = await fetch(path, { cache: "no-store", signal: AbortSignal.timeout(TIMEOUT_MS) });
  if (!response.ok) throw new Error(`HTTP ${response.status}`);
  try {
    return await response.json();
  } catch (error) {
    throw error instanceof SyntaxError ? new Error("not a JSON answer") : error;
  }
}

async function ask() {
  try {
    const fresh = await read("/api/stages");
    trouble = null;
    answeredAt = now();
    if (fresh.at !== answer?.at) movedAt = answeredAt;
    answer = fresh;
  } catch (error) {
    trouble = reasonOf(error);
  }
  paintStrip();
  if (trouble) return;
  paint();
  await readFailures();
}

const poll = () => ask().finally(() => setTimeout(poll, POLL_MS));

for (const column of COLUMNS) {
  const head = make("th", "", column);
  head.scope = "col";
  head.setAttribute("role", "columnheader");
  at("columns").append(head);
}
at("follow").addEventListener("click", () => choose(null));
at("table-box").addEventListener("pointermove", () => { pointedAt = now(); });
addEventListener("hashchange", () => {
  if (cards.has(fromHash())) choose(fromHash()); // the skip link changes the hash too
});
new ResizeObserver(() => requestAnimationFrame(fit)).observe(at("map")); // a frame later: fit changes what is observed
setInterval(paintStrip, 1000);
poll();
