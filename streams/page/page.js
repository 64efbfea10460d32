// Everything shown comes from the last good answer of the API, and enters the page as text, never as markup.

import { ask, latest } from "./answer.js";
import { at } from "./elements.js";
import { choose, paintSelection, readFailures } from "./failures.js";
import { paintHeader, paintJourneys, paintStrip } from "./header.js";
import { fit, paintMap } from "./map.js";
import { readRescue } from "./rescue.js";

const POLL_MS = 2000; // detection is promised within a minute; the table is re-read as fast as people look

async function refresh() {
  await ask();
  paintStrip();
  const { answer, trouble } = latest;
  if (trouble) return;
  at("main").hidden = false;
  paintMap(answer, choose);
  paintHeader(answer);
  paintJourneys(answer);
  paintSelection();
  await Promise.all([readRescue(), readFailures()]);
}

const poll = () => refresh().finally(() => setTimeout(poll, POLL_MS));
new ResizeObserver(() => requestAnimationFrame(fit)).observe(at("map")); // a frame later: fit changes what is observed
setInterval(paintStrip, 1000);
poll();
