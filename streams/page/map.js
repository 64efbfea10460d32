// The map: a card for each stage, in two lanes along the line of visibility.

import { at, draw, make, put, putSymbol } from "./elements.js";
import { age, amount, hasQuality, IN_FRONT, kindOf, number, percent, perMinute, span, STATES, target, words } from "./words.js";

const CARD_REM = 14.5; // narrower than this, a card of the map would break its words: use the flow layout
const ROOM_COLUMNS = 4; // the weakest stage, written large, needs the width of two cards
const HOUR_S = 3600;
const SPAN = 0.08; // share of quality that a sparkline shows at least from bottom to top

const cards = new Map(); // stage name -> the parts of its card that change

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

export function fit() {
  const rem = parseFloat(getComputedStyle(document.documentElement).fontSize);
  const columns = Number(at("map").dataset.columns) || 2;
  const card = (at("map").clientWidth / columns) * 2;
  at("map").dataset.layout = card >= CARD_REM * rem ? "map" : "flow";
}

function card(stage, number, choose) {
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
  const queue = make("p", "bad queue");
  const journeys = make("p", "bad hit");

  root.append(head, stateLine, quality, bullet, facts, hour, bad, queue, journeys);
  return { root, button, mark, word, delta, figure, unit, goal, fill, tick, weak, hits, reason, bad, queue, journeys, flow,
    trend, shortfall, goalLine, line, dot };
}

function paintCard(parts, stage, { ready, journeys }) {
  const state = stage.state in STATES ? stage.state : "quiet";
  parts.root.dataset.state = state;
  putSymbol(parts.mark, state);
  put(parts.word, ready ? STATES[state] : "Catching up");
  const known = hasQuality(stage);
  const hurts = known && stage.bad;
  put(parts.figure, known ? percent(stage.quality) : ready ? "none to judge" : "–");
  parts.figure.classList.toggle("none", !known);
  put(parts.unit, known ? " %" : "");
  put(parts.goal, stage.target === null ? "" : `target ${target(stage.target)}`);
  const points = known && stage.target !== null ? (stage.quality - stage.target) * 100 : null;
  put(parts.delta, points === null ? "" : `${points < 0 ? "−" : "+"}${Math.abs(points).toFixed(1)} points`);
  parts.fill.setAttribute("width", known ? stage.quality * 1000 : 0);
  parts.tick.setAttribute("x", stage.target === null ? -20 : Math.min(stage.target * 1000 - 4, 992));
  put(parts.weak, stage.weakest?.title ?? "");
  put(parts.hits, !stage.weakest || !hurts ? "–" : stage.weakest.segment === null ? "everyone" : words(stage.weakest.segment));
  put(parts.reason, stage.top_reason && hurts ? words(stage.top_reason) : "–");
  put(parts.bad, badOf(stage));
  parts.bad.classList.toggle("silence", Boolean(stage.silent));
  put(parts.queue, ready ? openNow(stage.open ?? {}) : "");
  parts.queue.hidden = !parts.queue.textContent;
  put(parts.journeys, journeys && stage.kind !== "staff" ? `${amount(stage.journeys_hit, "journey")} hit in 5 min` : "");
  put(parts.flow, ready && !stage.silent ? `${perMinute(stage.events_per_minute)}/min` : "");
  paintTrend(parts, stage);
}

// Who waits now, if services say when encounters begin.
function openNow({ queued, started }) {
  const said = [];
  if (queued) said.push(`${number(queued.n)} in the queue`);
  if (queued?.n) said.push(`the oldest for ${age(queued.oldest_s * 1000)}`);
  if (queued?.n && queued.expected_wait_s !== null) said.push(`who comes now waits about ${age(queued.expected_wait_s * 1000)}`);
  if (started) said.push(`${number(started.n)} being served`);
  return said.join(", ");
}

function badOf({ silent, n, bad, window }) {
  if (silent) return silent.text;
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
  const lowest = values.length ? `lowest ${percent(Math.min(...values))} %` : "none to judge";
  parts.trend.setAttribute("aria-label", `Quality over the last hour: ${lowest}`);
}

// A card that is clicked calls `choose` with its stage's name.
export function paintMap(answer, choose) {
  const { stages } = answer;
  if (stages.length !== cards.size || stages.some((s, i) => [...cards.keys()][i] !== s.stage)) {
    cards.clear();
    stages.forEach((stage, i) => cards.set(stage.stage, card(stage, i + 1, choose)));
    at("stages").replaceChildren(...[...cards.values()].map((parts) => parts.root));
    layOut(stages);
  }
  for (const stage of stages) paintCard(cards.get(stage.stage), stage, answer);
}

export function markSelected(stage) {
  for (const [name, parts] of cards) {
    parts.button.setAttribute("aria-pressed", String(name === stage));
    parts.root.classList.toggle("selected", name === stage);
  }
}
