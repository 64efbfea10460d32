// What the bad encounters of the stage shown have in common, for whoever asks: by the button, or by an address
// that has ?where, as links of alerts and boards have.

import { read, reasonOf } from "./answer.js";
import { at, make, put } from "./elements.js";

const TIMEOUT_MS = 60000; // a million events are read from Kafka in some ten seconds

let asked = null; // the stage shown
let asksAtOnce = new URLSearchParams(location.search).has("where");

export function offerWhere(stage) {
  if (asked === stage.stage) return;
  asked = stage.stage;
  at("where-ask").hidden = stage.kind === "staff";
  at("where-found").replaceChildren();
  put(at("where-note"), "");
  if (asksAtOnce && stage.kind !== "staff") {
    asksAtOnce = false;
    find();
  }
}

async function find() {
  const stage = asked;
  location.hash = encodeURIComponent(stage); // so that the page stays with it
  at("where-ask").disabled = true;
  at("where-found").replaceChildren();
  put(at("where-note"), "Reading the stage’s last two hours …");
  let said, found = [];
  try {
    ({ experiences: found } = await read(`/api/stages/${encodeURIComponent(stage)}/where`, TIMEOUT_MS));
    said = "Of the last five minutes, against the two hours before:";
  } catch (error) {
    said = `Nothing could be found (${reasonOf(error)})`;
  }
  at("where-ask").disabled = false;
  if (asked !== stage) return;
  put(at("where-note"), said);
  at("where-found").replaceChildren(...found.flatMap((one) => one.words).map((line) => make("li", "", line.trim())));
}

at("where-ask").addEventListener("click", find);
