// A field above the tables of a page, which shows only the rows that have all its words.
document.addEventListener("DOMContentLoaded", () => {
  for (const place of document.querySelectorAll(".filter-tables")) {
    const field = document.createElement("input");
    const count = document.createElement("span");
    field.type = "search";
    field.placeholder = "Filter, such as: nn lstm";
    field.setAttribute("aria-label", "Filter the rows");
    field.style.cssText = "width: 20em; max-width: 100%; padding: 0.4em; margin-right: 1em; border: 1px solid; border-radius: 0.2em";
    place.append(field, count);

    const rows = [...place.parentElement.querySelectorAll("tbody tr")];
    const texts = rows.map((row) => row.textContent.toLowerCase());
    const show = () => {
      const words = field.value.toLowerCase().split(/\s+/).filter(Boolean);
      const fits = texts.map((text) => words.every((word) => text.includes(word)));
      rows.forEach((row, i) => (row.hidden = !fits[i]));
      for (const table of place.parentElement.querySelectorAll("table")) {
        const empty = [...table.tBodies[0].rows].every((row) => row.hidden);
        const around = table.closest(".md-typeset__scrollwrap") || table;
        around.hidden = empty;
        let heading = around.previousElementSibling;
        if (heading && heading.tagName === "H2") heading.hidden = empty;
      }
      const left = fits.filter(Boolean).length;
      count.textContent = words.length ? `${left} of ${rows.length} classes` : `${rows.length} classes`;
    };
    field.addEventListener("input", show);
    show();
  }
});
