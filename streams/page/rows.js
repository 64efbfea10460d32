// Tables whose rows stay where they are while they say the same: a reader can mark and copy them.

import { make } from "./elements.js";

export function head(line, columns) {
  for (const column of columns) {
    const cell = make("th", "", column);
    cell.scope = "col";
    cell.setAttribute("role", "columnheader");
    line.append(cell);
  }
}

// One row for each of `shown`, with what `textsOf` says of it in each column; `ids` are the columns of ids.
export function paintRows(rows, shown, columns, textsOf, ids) {
  const kept = new Map([...rows.children].map((row) => [row.dataset.key, row]));
  const wanted = shown.map((one) => {
    const key = JSON.stringify(one);
    const row = kept.get(key) ?? makeRow(key, one, columns, textsOf(one), ids);
    kept.delete(key);
    return row;
  });
  for (const row of kept.values()) row.remove();
  wanted.forEach((row, i) => {
    if (rows.children[i] !== row) rows.insertBefore(row, rows.children[i] ?? null);
  });
}

function makeRow(key, { time }, columns, texts, ids) {
  const row = make("tr");
  row.setAttribute("role", "row");
  row.dataset.key = key;
  texts.forEach((text, i) => {
    const cell = make("td", ids.includes(i) ? "id" : "", text || "–");
    cell.setAttribute("role", "cell");
    cell.dataset.label = columns[i];
    if (!text) cell.classList.add("absent");
    row.append(cell);
  });
  row.firstChild.title = time; // as it was published, to look for elsewhere
  return row;
}
