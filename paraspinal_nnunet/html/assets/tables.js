// What pages with tables share: a button that saves a table as CSV, and details that stand open on paper.
(function () {
  "use strict";

  const NUMBER = /^[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?$/i;

  // A spreadsheet would run a text that begins so as a formula.
  function quoted(text) {
    const safe = /^[=+\-@\t\r]/.test(text) && text !== "-" && !NUMBER.test(text) ? "'" + text : text;
    return /[",\n\r]/.test(safe) ? '"' + safe.replace(/"/g, '""') + '"' : safe;
  }

  function textOf(cell) {
    const copy = cell.cloneNode(true);
    copy.querySelectorAll("button, img").forEach(function (each) { each.remove(); });
    copy.querySelectorAll("li, small, summary").forEach(function (each) { each.prepend(" "); });
    copy.querySelectorAll("sup").forEach(function (each) { each.textContent = " [" + each.textContent + "]"; });
    return copy.textContent.replace(/\s+/g, " ").trim();
  }

  function csv(table) {
    const rows = Array.from(table.rows).filter(function (row) { return !row.hidden && !row.closest("tfoot"); });
    return rows.map(function (row) {
      const cells = [];
      Array.from(row.cells).forEach(function (cell) {
        if (cell.classList.contains("thumb")) return;
        cells.push(quoted(textOf(cell)));
        for (let more = 1; more < cell.colSpan; more += 1) cells.push("");
      });
      return cells.join(",");
    }).join("\r\n") + "\r\n";
  }

  function save(table, name) {
    const link = document.createElement("a");
    // The mark at the start tells spreadsheets that the file is UTF-8.
    link.href = URL.createObjectURL(new Blob(["\ufeff" + csv(table)], { type: "text/csv;charset=utf-8" }));
    link.download = name + ".csv";
    document.body.appendChild(link);
    link.click();
    link.remove();
    setTimeout(function () { URL.revokeObjectURL(link.href); }, 60000);
  }

  window.addEventListener("beforeprint", function () {
    document.querySelectorAll("details").forEach(function (each) { each.open = true; });
  });

  document.querySelectorAll("table").forEach(function (table, place) {
    const titled = table.caption ? textOf(table.caption) : "";
    const name = titled.toLowerCase().replace(/[^a-z0-9]+/g, "_").replace(/^_+|_+$/g, "").slice(0, 60) ||
      "table_" + (place + 1);
    const button = document.createElement("button");
    button.type = "button";
    button.className = "download";
    button.textContent = "CSV";
    button.title = "Save this table as a CSV file";
    button.setAttribute("aria-label", "Save the table " + (titled || place + 1) + " as a CSV file");
    button.addEventListener("click", function () { save(table, name); });
    (table.caption || table.createCaption()).appendChild(button);
  });
})();
