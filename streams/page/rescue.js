// Customers under way who were hurt or are about to be, those in time first.

import { latest, now, read, reasonOf, titleOf } from "./answer.js";
import { at, put } from "./elements.js";
import { head, paintRows } from "./rows.js";
import { age, partOf, words } from "./words.js";

const EVERY_MS = 15000; // for each answer every worker looks into journeys that it keeps
const SHOWN = 5; // who calls them needs no more at once; the terminal lists the others
const COLUMNS = ["Left", "Journey", "What went wrong", "What is owed"];
const JOURNEY = [1]; // the column of ids

let askedAt = -Infinity;

export async function readRescue() {
  const { journeys, ready } = latest.answer;
  at("rescue").hidden = !journeys || !ready; // who is catching up lists nobody, and knows of nobody
  if (at("rescue").hidden || now() - askedAt < EVERY_MS) return;
  askedAt = now();
  try {
    const { journeys: found, ...seen } = await read("/api/rescue");
    paintRows(at("rescue-rows"), found.slice(0, SHOWN), COLUMNS, textsOf, JOURNEY);
    const more = found.length > SHOWN ? `The first ${SHOWN} of ${found.length}; all: touchpoint rescue` : "";
    put(at("rescue-note"), more);
    put(at("rescue-empty"), found.length ? "" : "Nobody under way was hurt or is about to be.");
    put(at("rescue-part"), partOf(seen));
  } catch (error) {
    put(at("rescue-note"), `Could not be read anew (${reasonOf(error)})`);
  }
}

function textsOf({ left_s: leftS, journey_id: id, happened, promised }) {
  return [leftS === null ? "" : left(leftS), id, happened.map(wrong).join(" · "), promised.map(owed).join(" · ")];
}

const left = (s) => (s > 0 ? age(s * 1000) : `${age(-s * 1000)} late`);
const wrong = ({ stage, reason, bad_for: bad }) => `${titleOf(stage)}: ${words(reason ?? bad[0])}`;

function owed({ what, kind, from, to, partner, called_off: calledOff, left_s: leftS }) {
  const named = what === "promise" ? words(kind) : `${titleOf(from)} to ${titleOf(to)}`;
  const by = partner ? ` by ${words(partner)}` : "";
  return `${named}${by}${calledOff ? ", called off" : leftS > 0 ? "" : ", late"}`;
}

head(at("rescue-columns"), COLUMNS);
