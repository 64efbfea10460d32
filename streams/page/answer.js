// The last good answer of /api/stages, and what the page knows of the worker that gave it.

import { words } from "./words.js";

const TIMEOUT_MS = 5000; // an answer takes milliseconds: a worker this slow is shown as unreachable

export const now = () => performance.now(); // our monotonic clock, ms

export const latest = {
  answer: null, // the last good one
  answeredAt: 0, // when it came, ms of `now`
  movedAt: 0, // when the worker's own clock in it last moved, ms of `now`
  trouble: null, // why the latest poll failed, or null
};

export const titleOf = (name) => latest.answer.stages.find((s) => s.stage === name)?.title ?? words(name);

export const reasonOf = (error) => error.name === "TimeoutError" ? "no answer in time" : error instanceof TypeError ? "no connection" : error.message;

export async function read(path, timeoutMs = TIMEOUT_MS) {
  const response = await fetch(path, { cache: "no-store", signal: AbortSignal.timeout(timeoutMs) });
  if (!response.ok) throw new Error(await whyOf(response));
  try {
    return await response.json();
  } catch (error) {
    throw error instanceof SyntaxError ? new Error("not a JSON answer") : error;
  }
}

async function whyOf(response) {
  try {
    return (await response.json()).error ?? `HTTP ${response.status}`;
  } catch {
    return `HTTP ${response.status}`;
  }
}

export async function ask() {
  try {
    const answer = await read("/api/stages");
    latest.trouble = null;
    latest.answeredAt = now();
    if (answer.at !== latest.answer?.at) latest.movedAt = latest.answeredAt;
    latest.answer = answer;
  } catch (error) {
    latest.trouble = reasonOf(error);
  }
}
