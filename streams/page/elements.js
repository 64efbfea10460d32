// Elements of the page and the shapes of states: what comes from outside enters as text, never as markup.

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

export const at = (id) => document.getElementById(id);

export function make(tag, className, text) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text !== undefined) element.textContent = text;
  return element;
}

export function draw(tag, attributes) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return element;
}

export function put(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

export function symbol(state) {
  const svg = draw("svg", { viewBox: "0 0 16 16", class: `symbol ${state}`, "aria-hidden": "true" });
  for (const [tag, attributes] of SHAPES[state]) svg.append(draw(tag, attributes));
  return svg;
}

export function putSymbol(holder, state) {
  if (holder.dataset.symbol === state) return;
  holder.dataset.symbol = state;
  holder.replaceChildren(symbol(state));
}
