// What stands above the map: the strip, the counts, the weakest stage and the whole journeys.

import { latest, now } from "./answer.js";
import { at, make, put, putSymbol, symbol } from "./elements.js";
import { age, amount, hasQuality, lossOf, number, overshoot, partOf, percent, STATES, target, tenths, time, weakest, whole, words } from "./words.js";

const HELD_UP_MS = 900000; // what MonitorBlind calls held up
const NO_PARTNER = { none: "no partner", unassigned: "not yet with a partner", other: "other partners" };
const STILL_MS = 20000; // ten polls without the worker's own clock moving: its numbers stand still

export function paintHeader({ stages, title, ready }) {
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
  put(at("hero-quality"), !worst ? "" : hasQuality(worst) ? `${percent(worst.quality)} %` : "none to judge");
  put(at("hero-target"), worst && hasQuality(worst) ? `against a target of ${target(worst.target)}` : "");
  put(at("hero-title"), worst?.weakest?.title ?? "");
  put(at("hero-why"), why(worst, stages));
}

function why(worst, stages) {
  if (!worst) return "A journey is exactly as good as its weakest encounter.";
  if (worst.silent) return worst.silent.text;
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

// Whose counts are added up here; a worker that did not answer is named below, with why.
function answering({ worker, workers = [] }) {
  const names = workers.filter((one) => !one.missing).map((one) => one.worker);
  return names.length > 1 ? `${names.length} workers (${names.join(", ")})` : worker;
}

export function paintStrip() {
  const { answer, answeredAt, movedAt, trouble } = latest;
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
    put(at("strip-worker"), `· ${answering(answer)}${of ? `, ${owned} of ${of} partitions` : ""}`);
    put(at("part"), partOf(answer));
    at("part").hidden = !answer.only_part;
    put(at("loss"), lossOf(answer));
    at("loss").hidden = !lossOf(answer);
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
  const parts = Object.entries(promises).map(([partner, n]) => `${NO_PARTNER[partner] ?? words(partner)} ${whole.format(n)}`);
  return parts.length ? parts.join(" · ") : "none";
}

function judgedUntil(iso, by, answeredIso) {
  const source = by ? `${by.title} partition ${by.partition}` : "";
  if (!iso) return source ? `nothing heard of ${source}` : "–";
  const behind = new Date(answeredIso) - new Date(iso); // two minutes at most when all is well
  if (behind <= HELD_UP_MS) return time(iso);
  return `${time(iso)}, ${age(behind)} ago: held up${source ? ` by ${source}` : ""}`;
}

export function paintJourneys({ journeys, at: answeredIso }) {
  at("journeys").hidden = !journeys;
  if (!journeys) return;
  put(at("journeys-judged"), judgedUntil(journeys.judged_until, journeys.held_up_by, answeredIso));
  put(at("journeys-open"), number(journeys.open));
  put(at("journeys-1h"), over(journeys.over?.["1h"]));
  put(at("journeys-1d"), over(journeys.over?.["1d"]));
  const worst = journeys.weakest;
  put(at("journeys-weakest"), worst ? `${worst.title}, ${amount(worst.journeys, "journey")}` : journeys.over ? "none" : "–");
  put(at("journeys-overdue"), overdue(journeys.overdue));
  put(at("journeys-handoffs"), number(journeys.handoffs_lost));
  put(at("journeys-labyrinths"), number(journeys.labyrinths));
}
