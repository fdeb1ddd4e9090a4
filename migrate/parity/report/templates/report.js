"use strict";
(() => {
  const table = document.getElementById("table");
  if (table) {
    const body = table.tBodies[0];
    const rows = Array.from(body.rows);
    const filter = document.getElementById("filter");
    const words = document.getElementById("words");
    const failing = document.getElementById("failing");
    const shown = document.getElementById("shown");
    const headings = Array.from(table.tHead.rows[1].cells);

    const valueOf = (cell, kind) => {
      if (kind === "text" || kind === "path") return cell.textContent.trim();
      const data = cell.querySelector("data");
      const text = cell.dataset.sort ?? (data ? data.value : cell.textContent);
      return text === "" ? NaN : text === "inf" ? Infinity : Number(text);
    };
    const compare = (a, b, kind) =>
      kind === "text" || kind === "path" ? a.localeCompare(b, "en", { numeric: true }) : a - b;
    const missing = (value) => value === "" || Number.isNaN(value);

    headings.forEach((heading, index) => {
      const button = document.createElement("button");
      button.type = "button";
      const printed = document.createElement("span"); // browsers leave buttons out where a heading is repeated
      printed.className = "printed";
      printed.textContent = heading.textContent;
      button.append(...heading.childNodes);
      heading.append(button, printed);
      button.addEventListener("click", () => {
        const kind = heading.dataset.kind;
        const numbers = kind === "number" && index > 0;
        const now = heading.getAttribute("aria-sort");
        const up = now ? now === "descending" : !numbers; // the worst first
        headings.forEach((each) => each.removeAttribute("aria-sort"));
        heading.setAttribute("aria-sort", up ? "ascending" : "descending");
        const keyed = rows.map((row, place) => ({ row, place, value: valueOf(row.cells[index], kind) }));
        keyed.sort((a, b) => {
          if (missing(a.value) || missing(b.value)) return missing(a.value) - missing(b.value) || a.place - b.place;
          return (up ? 1 : -1) * compare(a.value, b.value, kind) || a.place - b.place;
        });
        body.append(...keyed.map((entry) => entry.row));
      });
    });

    const apply = () => {
      const wanted = words.value.toLowerCase().split(/\s+/).filter(Boolean);
      let count = 0;
      for (const row of rows) {
        const text = Array.from(row.cells).slice(1, 4).map((cell) => cell.textContent).join(" ").toLowerCase();
        const hit = wanted.every((word) => text.includes(word)) && !(failing.checked && row.dataset.state === "ok");
        row.hidden = !hit;
        count += hit;
      }
      shown.textContent = `${count} of ${rows.length} shown`;
    };
    words.addEventListener("input", apply);
    failing.addEventListener("change", apply);
    filter.addEventListener("submit", (event) => event.preventDefault());
    filter.hidden = false;
    apply();
  }
  const unfold = () => document.querySelectorAll("details").forEach((each) => { each.open = true; });
  window.addEventListener("beforeprint", unfold);
})();
