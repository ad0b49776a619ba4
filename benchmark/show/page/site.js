// The site's tables: a click on a header sorts, a class of cost filters and ranks within itself.
"use strict";

for (const board of document.querySelectorAll(".board")) {
  const table = board.querySelector("table");
  const rows = [...table.querySelectorAll("tbody tr")];
  const cell = (row, place) => row.children[place];
  const value = (row, place) => {
    const stored = cell(row, place).dataset.value;
    if (stored === undefined) return cell(row, place).firstChild.textContent.toLowerCase();
    return stored === "" ? Infinity : Number(stored);
  };
  const ranked = rows.filter((row) => cell(row, 0).dataset.value !== "")
    .sort((one, other) => value(one, 0) - value(other, 0));
  const ranks = new Map(ranked.map((row) => [row, value(row, 0)]));  // equal ones share one

  const choose = (kind) => {
    for (const row of rows) row.hidden = kind !== "all" && row.dataset.class !== kind;
    ranked.filter((row) => !row.hidden).forEach((row, _, shown) => {
      const place = shown.findIndex((other) => ranks.get(other) === ranks.get(row)) + 1;
      cell(row, 0).dataset.value = cell(row, 0).textContent = place;
    });
  };
  const headers = [...table.querySelectorAll("thead th")];
  const work = headers.findIndex((header) => header.textContent === "class of cost");
  const byWork = rows.toSorted((one, other) => value(one, work) - value(other, work) || 0);  // none: last
  const kinds = [...new Set(byWork.map((row) => row.dataset.class))];
  const fieldset = board.querySelector("fieldset");
  fieldset.hidden = kinds.length < 2;
  for (const kind of ["all", ...kinds]) {
    const radio = document.createElement("input"), label = document.createElement("label");
    const name = document.createElement("span");
    Object.assign(radio, { type: "radio", name: `class-${board.id}`, value: kind, checked: kind === "all" });
    name.textContent = kind;
    radio.addEventListener("change", () => choose(kind));
    label.append(radio, name);
    fieldset.append(label);
  }

  headers.forEach((header, place) => header.querySelector("button").addEventListener("click", () => {
    const falls = header.getAttribute("aria-sort") === "ascending";
    for (const other of headers) other.removeAttribute("aria-sort");
    header.setAttribute("aria-sort", falls ? "descending" : "ascending");
    for (const body of table.tBodies) {
      const compare = (one, other) => {
        const [first, second] = [value(one, place), value(other, place)];
        if (first === second) return 0;
        if (first === Infinity || second === Infinity) return first === Infinity ? 1 : -1;  // no number: last
        return (first < second ? -1 : 1) * (falls ? -1 : 1);
      };
      body.append(...[...body.rows].sort(compare));
    }
  }));
}
