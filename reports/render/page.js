"use strict";
// Headings become buttons that sort: up, down, as it was. Rows without a number stay last.
(() => {
  const next = { none: "ascending", ascending: "descending", descending: "none" };
  const compare = (at, sign) => (one, other) => {
    const [a, b] = [one.cells[at], other.cells[at]];
    const [x, y] = [a, b].map((cell) => parseFloat(cell.dataset.v));
    if (Number.isNaN(x) !== Number.isNaN(y)) return Number.isNaN(x) ? 1 : -1;
    if (!Number.isNaN(x)) return sign * (x - y);
    return sign * a.textContent.localeCompare(b.textContent, "en", { numeric: true });
  };
  for (const table of document.querySelectorAll("table")) {
    const body = table.tBodies[0];
    const original = [...body.rows];
    if (original.length < 2) continue;
    const headings = [...table.tHead.rows[0].cells];
    headings.forEach((heading, at) => {
      if (heading.hasAttribute("data-fixed")) return;
      const button = document.createElement("button");
      button.type = "button";
      button.append(...heading.childNodes);
      heading.append(button);
      heading.setAttribute("aria-sort", "none");
      button.addEventListener("click", () => {
        const order = next[heading.getAttribute("aria-sort")];
        for (const one of headings) if (one.hasAttribute("aria-sort")) one.setAttribute("aria-sort", "none");
        heading.setAttribute("aria-sort", order);
        table.classList.toggle("sorted", order !== "none");
        const sign = order === "descending" ? -1 : 1;
        body.append(...(order === "none" ? original : [...original].sort(compare(at, sign))));
      });
    });
  }
  document.documentElement.classList.add("sortable");
  addEventListener("beforeprint", () => {
    for (const one of document.querySelectorAll("details:not([open])")) {
      one.open = true;
      one.dataset.closed = "";
    }
  });
  addEventListener("afterprint", () => {
    for (const one of document.querySelectorAll("details[data-closed]")) {
      one.open = false;
      delete one.dataset.closed;
    }
  });
})();
