(function () {
  "use strict";

  const MOST_FOUND = 30;
  const find = document.getElementById("find"), flagged = document.getElementById("flagged");
  const found = document.getElementById("found"), holder = document.getElementById("viewer");
  const elsewhere = document.getElementById("elsewhere"), every = document.getElementById("every-case");
  const rows = Array.from(document.querySelectorAll("tr[data-case]"));
  const texts = rows.map(function (row) { return row.textContent.toLowerCase(); });
  const all = every ? JSON.parse(every.textContent) : null;

  function narrow() {
    const text = find.value.trim().toLowerCase();
    let count = 0;
    rows.forEach(function (row, place) {
      row.hidden = !texts[place].includes(text) || (flagged.checked && row.getAttribute("data-urgent") === "no");
      if (!row.hidden) count += 1;
    });
    const where = document.querySelector("nav") ? " cases of this page" : " cases";
    found.textContent = text || flagged.checked ? count + " of " + rows.length + where : "";
    if (all) listElsewhere(text);
  }

  // Links to the cases of the other pages whose names hold the text.
  function listElsewhere(text) {
    elsewhere.textContent = "";
    if (!text) return;
    let count = 0;
    for (let place = all.rows; place < all.names.length; place += 1) {
      if (!all.names[place].toLowerCase().includes(text)) continue;
      count += 1;
      if (count > MOST_FOUND) continue;
      const page = Math.floor(place / all.rows) + 1, item = document.createElement("li");
      const link = document.createElement("a");
      link.href = "index_" + page + ".html#find=" + encodeURIComponent(all.names[place]);
      link.textContent = all.names[place];
      item.append(link, ", page " + page);
      elsewhere.appendChild(item);
    }
    if (count > MOST_FOUND) {
      elsewhere.appendChild(document.createElement("li")).textContent = count - MOST_FOUND + " more on other pages";
    }
  }

  function open() {
    const asked = /^#(case|find)=(.*)$/.exec(location.hash);
    if (!asked) return;
    let name;
    try { name = decodeURIComponent(asked[2]); } catch (error) { return; }
    if (asked[1] === "find") {
      find.value = name;
      narrow();
    } else if (holder) {
      holder.querySelector(".paraspinal-viewer").dispatchEvent(new CustomEvent("paraspinal-case", { detail: name }));
      holder.scrollIntoView();
    }
  }

  find.addEventListener("input", narrow);
  flagged.addEventListener("change", narrow);
  window.addEventListener("hashchange", open);
  open();
})();
