// The failures of one stage: the one picked, or the weakest.

import { latest, now, read, reasonOf } from "./answer.js";
import { at, make, put } from "./elements.js";
import { markSelected } from "./map.js";
import { offerWhere } from "./where.js";
import { kindOf, partOf, time, weakest, words } from "./words.js";

const READING_MS = 30000; // a pointer that moved over the table this recently belongs to someone reading it
const COLUMNS = ["Time", "Id", "Outcome", "Reason", "Experience missed", "Segment", "Partner", "Channel", "Journey"];

let chosen = fromHash(); // stage picked by hand; null follows the weakest
let shown = null; // stage the failure table shows
let pointedAt = -Infinity;

function fromHash() {
  try {
    return decodeURIComponent(location.hash.slice(1)) || null;
  } catch {
    return null;
  }
}

const picked = () => latest.answer?.stages.find((s) => s.stage === chosen) ?? null;
const selected = () => picked() ?? (latest.answer && (weakest(latest.answer.stages) ?? latest.answer.stages[0])) ?? null;

export function choose(name) {
  chosen = name;
  history.replaceState(null, "", name === null ? location.pathname : `#${encodeURIComponent(name)}`);
  if (!latest.answer) return;
  paintSelection();
  readFailures();
}

export function paintSelection() {
  const stage = selected();
  markSelected(stage?.stage);
  if (!stage) return;
  offerWhere(stage);
  put(at("failures-title"), `Latest failures: ${stage.title}`);
  at("follow").hidden = picked() === null;
  const titles = (stage.depends_on ?? []).map((name) => latest.answer.stages.find((s) => s.stage === name)?.title ?? words(name));
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

export async function readFailures() {
  const stage = selected();
  if (!stage) return;
  const following = picked() === null ? "Following the weakest stage" : "";
  if (shown === stage.stage && someoneReads()) {
    put(at("failures-note"), "Paused while you read");
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

for (const column of COLUMNS) {
  const head = make("th", "", column);
  head.scope = "col";
  head.setAttribute("role", "columnheader");
  at("columns").append(head);
}
at("follow").addEventListener("click", () => choose(null));
at("table-box").addEventListener("pointermove", () => { pointedAt = now(); });
addEventListener("hashchange", () => {
  // the skip link changes the hash too
  if (latest.answer?.stages.some((s) => s.stage === fromHash())) choose(fromHash());
});
