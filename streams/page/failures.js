// The failures of one stage: the one picked, or the weakest.

import { latest, now, read, reasonOf, titleOf } from "./answer.js";
import { at, make, put } from "./elements.js";
import { markSelected } from "./map.js";
import { head, paintRows } from "./rows.js";
import { offerWhere } from "./where.js";
import { kindOf, partOf, time, weakest, words } from "./words.js";

const READING_MS = 30000; // a pointer that moved over the table this recently belongs to someone reading it
const COLUMNS = ["Time", "Id", "Outcome", "Reason", "Experience missed", "Segment", "Partner", "Channel", "Journey"];
const IDS = [1, 8]; // columns of ids

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
  const titles = (stage.depends_on ?? []).map(titleOf);
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

const paint = (failures) => paintRows(at("rows"), failures, COLUMNS, textsOf, IDS);

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
    paint([]);
    put(at("failures-part"), "");
    put(at("failures-note"), following);
    put(at("empty"), "What single colleagues answered is nobody’s to see.");
    return;
  }
  try {
    const { failures, ...seen } = await read(`/api/stages/${encodeURIComponent(stage.stage)}/failures`);
    if (selected()?.stage !== stage.stage) return;
    shown = stage.stage;
    paint(failures);
    put(at("failures-part"), partOf(seen));
    put(at("failures-note"), following);
    put(at("empty"), failures.length ? "" : "No failures seen lately.");
  } catch (error) {
    if (selected()?.stage !== stage.stage) return;
    if (shown !== stage.stage) paint([]);
    put(at("failures-note"), `Failures could not be read (${reasonOf(error)})`);
    if (shown !== stage.stage) put(at("empty"), "Nothing to show.");
  }
}

function textsOf(failure) {
  const place = [failure.channel, failure.location].filter(Boolean).join(" · ");
  return [time(failure.time), failure.id, words(failure.outcome), failure.reason && words(failure.reason),
    (failure.experiences ?? []).map(words).join(", "), failure.segment, failure.partner, place, failure.journey_id];
}

head(at("columns"), COLUMNS);
at("follow").addEventListener("click", () => choose(null));
at("table-box").addEventListener("pointermove", () => { pointedAt = now(); });
addEventListener("hashchange", () => {
  // the skip link changes the hash too
  if (latest.answer?.stages.some((s) => s.stage === fromHash())) choose(fromHash());
});
