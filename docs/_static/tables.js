// Tables of the class "sortable": a click on a heading sorts the rows by it, a second click the other way round.
"use strict";

// What a cell is worth: the number that it begins with, or its text.
function worth(text) {
  const number = parseFloat(text.replace(/^[+<>~ ]*/, "").replace(/,(?=\d{3})/g, "").replace("\u2212", "-"));
  return Number.isNaN(number) ? text.toLowerCase() : number;
}

// The places of the cells in order: numbers before words, empty ones last; equal ones stay as they are.
function order(texts, descending) {
  const keys = texts.map((text) => worth(text.trim()));
  const rank = (key) => (key === "" ? 2 : typeof key === "number" ? 0 : 1);
  const compare = (a, b) => {
    if (rank(keys[a]) !== rank(keys[b])) return rank(keys[a]) - rank(keys[b]);
    const sign = keys[a] < keys[b] ? -1 : keys[a] > keys[b] ? 1 : 0;
    return descending ? -sign : sign;
  };
  return texts.map((_, place) => place).sort(compare);
}

function makeSortable(table) {
  const headings = [...table.tHead.rows[0].cells];
  headings.forEach((heading, column) => {
    const sort = () => {
      const body = table.tBodies[0], rows = [...body.rows];
      const descending = heading.getAttribute("aria-sort") === "ascending";
      headings.forEach((other) => other.removeAttribute("aria-sort"));
      heading.setAttribute("aria-sort", descending ? "descending" : "ascending");
      body.append(...order(rows.map((row) => row.cells[column].textContent), descending).map((place) => rows[place]));
    };
    heading.tabIndex = 0;
    heading.title = "Sort by this column";
    heading.addEventListener("click", sort);
    heading.addEventListener("keydown", (event) => { if (event.key === "Enter") sort(); });
  });
}

if (typeof document !== "undefined") {
  document.addEventListener("DOMContentLoaded", () => document.querySelectorAll("table.sortable").forEach(makeSortable));
}
