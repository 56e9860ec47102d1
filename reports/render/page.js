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
  const element = (tag, properties) => Object.assign(document.createElement(tag), properties);
  const sortable = (table, body, original) => {
    const headings = [...table.tHead.rows[0].cells];
    headings.forEach((heading, at) => {
      if (heading.hasAttribute("data-fixed")) return;
      const button = element("button", { type: "button" });
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
  };

  // Rows that hold all words of the filter stay.
  const filter = (table, original) => {
    const name = `Filter the rows of: ${table.caption.textContent}`;
    const input = element("input", { type: "search", placeholder: "filter rows", ariaLabel: name });
    const count = element("output", {});
    input.addEventListener("input", () => {
      const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
      for (const row of original) {
        const text = row.textContent.toLowerCase();
        row.hidden = !words.every((word) => text.includes(word));
      }
      const left = original.filter((row) => !row.hidden).length;
      count.value = words.length ? `${left} of ${original.length} rows` : "";
    });
    return [input, count];
  };

  // Whole numbers in base units where there are some; no text begins as a formula does.
  const csv = (table) => {
    const quoted = (text) => `"${(/^[=+\-@]/.test(text) && Number.isNaN(Number(text)) ? "'" : "") + text.replaceAll('"', '""')}"`;
    const said = (cell) => (cell.dataset.v ?? [...cell.childNodes].filter((one) => !["SUP", "SPAN"].includes(one.nodeName)).map((one) => one.textContent).join(" ")).trim();
    const named = (cell) => [...cell.querySelector("button")?.childNodes ?? cell.childNodes].map((one) => one.textContent).join(" ") + (cell.dataset.b ? `, in ${cell.dataset.b}` : "");
    const lines = [...table.rows].map((row) => [...row.cells].filter((cell) => !cell.classList.contains("records")));
    return lines.map((cells, at) => cells.map((cell) => quoted(at ? said(cell) : named(cell))).join(",")).join("\n") + "\n";
  };
  const save = (table) => {
    const button = element("button", { type: "button", className: "save", textContent: "Save as CSV" });
    button.ariaLabel = `Save as CSV: ${table.caption.textContent}`;
    button.addEventListener("click", () => {
      const address = URL.createObjectURL(new Blob([csv(table)], { type: "text/csv" }));
      const name = table.caption.textContent.toLowerCase().replace(/[^a-z0-9]+/g, "-");
      element("a", { href: address, download: `${name}.csv` }).click();
      setTimeout(() => URL.revokeObjectURL(address), 1000);
    });
    return button;
  };
  for (const table of document.querySelectorAll("table")) {
    const body = table.tBodies[0];
    const original = [...body.rows];
    const tools = element("div", { className: "tools" });
    if (original.length > 1) sortable(table, body, original);
    if (original.length > 7) tools.append(...filter(table, original));
    tools.append(save(table));
    table.parentElement.before(tools);
  }
  document.documentElement.classList.add("sortable");

  // A number shows itself whole in its base unit.
  document.addEventListener("pointerover", (event) => {
    const cell = event.target.closest?.("[data-v]");
    if (!cell || cell.title) return;
    const heading = cell.closest("table").tHead.rows[0].cells[cell.cellIndex];
    cell.title = `${cell.dataset.v} ${heading.dataset.b ?? ""}`.trim();
  });

  // The nearest point of a drawing says what it stands for.
  const tip = document.getElementById("tip");
  const REACH = 24;
  for (const drawing of document.querySelectorAll(".drawing")) {
    let points = null;
    const near = (event) => {
      points ??= [...drawing.querySelectorAll("title")].map((title) => {
        const found = { point: title.parentElement, text: title.textContent };
        title.remove();
        return found;
      });
      let [best, least] = [null, REACH];
      for (const one of points) {
        const box = one.point.getBoundingClientRect();
        const away = Math.hypot(event.clientX - (box.left + box.right) / 2, event.clientY - (box.top + box.bottom) / 2);
        if (away < least) [best, least] = [one, away];
      }
      tip.hidden = !best;
      if (!best) return;
      tip.textContent = best.text;
      const box = best.point.getBoundingClientRect();
      const left = Math.min(box.right + 8, document.documentElement.clientWidth - tip.offsetWidth - 8);
      tip.style.left = `${Math.max(8, left)}px`;
      tip.style.top = `${Math.max(8, box.top - tip.offsetHeight - 6)}px`;
    };
    drawing.addEventListener("pointermove", near);
    drawing.addEventListener("pointerdown", near);
    drawing.addEventListener("pointerleave", () => { tip.hidden = true; });
  }

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
