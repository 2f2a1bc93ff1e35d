(function () {
  "use strict";

  const find = document.getElementById("find"), flagged = document.getElementById("flagged");
  const found = document.getElementById("found"), holder = document.getElementById("viewer");
  const rows = Array.from(document.querySelectorAll("tr[data-case]"));

  function narrow() {
    const text = find.value.trim().toLowerCase();
    let count = 0;
    rows.forEach(function (row) {
      row.hidden = !row.textContent.toLowerCase().includes(text) ||
        (flagged.checked && row.getAttribute("data-urgent") === "no");
      if (!row.hidden) count += 1;
    });
    found.textContent = text || flagged.checked ? count + " of " + rows.length + " cases" : "";
  }

  function open() {
    const asked = /^#case=(.*)$/.exec(location.hash);
    if (!asked || !holder) return;
    const name = decodeURIComponent(asked[1]);
    holder.querySelector(".paraspinal-viewer").dispatchEvent(new CustomEvent("paraspinal-case", { detail: name }));
    holder.scrollIntoView();
  }

  find.addEventListener("input", narrow);
  flagged.addEventListener("change", narrow);
  window.addEventListener("hashchange", open);
  open();
})();
