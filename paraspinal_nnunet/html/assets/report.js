(function () {
  "use strict";

  const data = JSON.parse(document.getElementById("report-data").textContent);
  const SVG = "http://www.w3.org/2000/svg";
  const WIDTH = 380, HEIGHT = 300, LEFT = 48, RIGHT = 12, TOP = 12, BOTTOM = 42;
  const tip = document.getElementById("tip");
  const pick = { structure: document.getElementById("pick-structure"), model: document.getElementById("pick-model") };

  function add(parent, tag, attributes, text) {
    const made = document.createElementNS(SVG, tag);
    Object.keys(attributes).forEach(function (name) { made.setAttribute(name, attributes[name]); });
    if (text !== undefined) made.textContent = text;
    parent.appendChild(made);
    return made;
  }

  function isNumber(value) { return typeof value === "number"; }
  function text(value, digits) { return isNumber(value) ? value.toFixed(digits) : "undefined"; }

  // Round tick values that cover low to high.
  function ticks(low, high) {
    const raw = (high - low) / 5;
    const power = Math.pow(10, Math.floor(Math.log10(raw)));
    const step = [1, 2, 5, 10].map(function (m) { return m * power; }).find(function (s) { return s >= raw; });
    const found = [];
    for (let k = Math.ceil(low / step); k * step <= high + step * 1e-9; k += 1) found.push(k * step);
    return { values: found, digits: Math.max(0, -Math.floor(Math.log10(step) + 1e-9)) };
  }

  function range(values, share) {
    const low = Math.min.apply(null, values), high = Math.max.apply(null, values);
    const extra = (high - low || Math.abs(high) || 1) * share;
    return [low - extra, high + extra];
  }

  // Empty axes; returns the SVG element and the functions from numbers to places.
  function frame(holder, yRange, yName, xRange, xName) {
    holder.textContent = "";
    const svg = add(holder, "svg", { viewBox: "0 0 " + WIDTH + " " + HEIGHT, role: "img", "aria-label": yName });
    const y = function (v) { return TOP + (yRange[1] - v) / (yRange[1] - yRange[0]) * (HEIGHT - TOP - BOTTOM); };
    const x = xRange && function (v) { return LEFT + (v - xRange[0]) / (xRange[1] - xRange[0]) * (WIDTH - LEFT - RIGHT); };
    const marks = ticks(yRange[0], yRange[1]);
    marks.values.forEach(function (v) {
      add(svg, "line", { class: "grid", x1: LEFT, x2: WIDTH - RIGHT, y1: y(v), y2: y(v) });
      add(svg, "text", { x: LEFT - 5, y: y(v) + 4, "text-anchor": "end" }, v.toFixed(marks.digits));
    });
    if (x) {
      const across = ticks(xRange[0], xRange[1]);
      across.values.forEach(function (v) {
        add(svg, "text", { x: x(v), y: HEIGHT - BOTTOM + 15, "text-anchor": "middle" }, v.toFixed(across.digits));
      });
      add(svg, "text", { x: (LEFT + WIDTH - RIGHT) / 2, y: HEIGHT - 8, "text-anchor": "middle" }, xName);
    }
    add(svg, "text", { transform: "rotate(-90)", x: -(TOP + HEIGHT - BOTTOM) / 2, y: 11, "text-anchor": "middle" }, yName);
    add(svg, "path", { class: "axis", d: "M" + LEFT + " " + TOP + "V" + (HEIGHT - BOTTOM) + "H" + (WIDTH - RIGHT) });
    return { svg: svg, x: x, y: y };
  }

  function empty(holder, message) {
    holder.textContent = "";
    const line = document.createElement("p");
    line.className = "soft";
    line.textContent = message;
    holder.appendChild(line);
  }

  function dot(svg, x, y, colour, caseIndex, words) {
    const name = data.cases[caseIndex].name;
    const made = add(svg, "circle", {
      class: "dot", cx: x, cy: y, r: 5, fill: colour, tabindex: 0, role: "link",
      "data-case": caseIndex, "aria-label": name + ", " + words,
    });
    made.addEventListener("pointerenter", function () { highlight(caseIndex, made, name + "\n" + words); });
    made.addEventListener("focus", function () { highlight(caseIndex, made, name + "\n" + words); });
    made.addEventListener("pointerleave", fade);
    made.addEventListener("blur", fade);
    made.addEventListener("click", function () { go(name); });
    made.addEventListener("keydown", function (event) { if (event.key === "Enter") go(name); });
  }

  function highlight(caseIndex, made, words) {
    document.querySelectorAll(".dot").forEach(function (other) {
      other.classList.toggle("on", other.getAttribute("data-case") === String(caseIndex));
    });
    const box = made.getBoundingClientRect();
    tip.textContent = words;
    tip.hidden = false;
    const left = Math.min(box.right + 8, document.documentElement.clientWidth - tip.offsetWidth - 4);
    tip.style.left = window.scrollX + left + "px";
    tip.style.top = window.scrollY + box.top - 10 + "px";
  }

  function fade() {
    tip.hidden = true;
    document.querySelectorAll(".dot.on").forEach(function (other) { other.classList.remove("on"); });
  }

  function average(rows) {
    const cases = {};
    rows.forEach(function (row) { if (isNumber(row[1])) (cases[row[0]] = cases[row[0]] || []).push(row[1]); });
    return Object.keys(cases).map(function (index) {
      return [Number(index), cases[index].reduce(function (a, b) { return a + b; }, 0) / cases[index].length];
    });
  }

  // Dice of every case and model, for one structure or the mean of all.
  function drawDice(structure) {
    const holder = document.getElementById("plot-dice");
    const columns = data.models.map(function (model) {
      const all = data.values[model.name];
      if (structure === "") return average([].concat.apply([], Object.values(all)));
      return (all[structure] || []).filter(function (row) { return isNumber(row[1]); });
    });
    const values = [].concat.apply([], columns).map(function (row) { return row[1]; });
    if (!values.length) return empty(holder, "no values");
    const place = frame(holder, range(values, 0.06), "Dice");
    const room = (WIDTH - LEFT - RIGHT) / columns.length;
    columns.forEach(function (rows, column) {
      const middle = LEFT + room * (column + 0.5);
      const label = data.models[column].name;
      const most = Math.max(4, Math.floor(room / 6));
      const shown = label.length > most ? label.slice(0, most - 1) + "\u2026" : label;
      add(add(place.svg, "text", { x: middle, y: HEIGHT - BOTTOM + 16, "text-anchor": "middle" }, shown), "title", {}, label);
      if (rows.length) {
        const mean = rows.reduce(function (sum, row) { return sum + row[1]; }, 0) / rows.length;
        add(place.svg, "line", {
          class: "mean", x1: middle - room * 0.32, x2: middle + room * 0.32, y1: place.y(mean), y2: place.y(mean),
        });
      }
      rows.forEach(function (row) {
        // The same sideways place for a case in all columns.
        const aside = ((row[0] * 0.618) % 1 - 0.5) * room * 0.5;
        dot(place.svg, middle + aside, place.y(row[1]), data.models[column].colour, row[0], label + ": Dice " + text(row[1], 3));
      });
    });
    add(place.svg, "text", { class: "note", x: WIDTH - RIGHT, y: HEIGHT - 6, "text-anchor": "end" }, "bar: mean");
  }

  function pairs(structure, model) {
    return (data.values[model][structure] || []).filter(function (row) { return isNumber(row[2]) && isNumber(row[3]); });
  }

  function drawAgreement(structure, model) {
    const holder = document.getElementById("plot-agreement");
    const rows = pairs(structure, model), lines = (data.agreement[model] || {})[structure];
    if (!rows.length) return empty(holder, "no volumes");
    const x = rows.map(function (row) { return (row[2] + row[3]) / 2; });
    const y = rows.map(function (row) { return row[3] - row[2]; });
    const ends = lines ? y.concat([lines.loa_low, lines.loa_high]) : y;
    const place = frame(holder, range(ends, 0.12), "prediction - reference (ml)", range(x, 0.08), "mean of both (ml)");
    if (lines) {
      [["bias", "bias"], ["loa_low", "limit"], ["loa_high", "limit"]].forEach(function (line) {
        const value = lines[line[0]];
        add(place.svg, "line", { class: line[1], x1: LEFT, x2: WIDTH - RIGHT, y1: place.y(value), y2: place.y(value) });
        add(place.svg, "text", { x: WIDTH - RIGHT, y: place.y(value) - 4, "text-anchor": "end" }, value.toFixed(1));
      });
    }
    rows.forEach(function (row, i) {
      dot(place.svg, place.x(x[i]), place.y(y[i]), colourOf(structure), row[0],
        "reference " + text(row[2], 1) + " ml, prediction " + text(row[3], 1) + " ml, Dice " + text(row[1], 3));
    });
  }

  function drawCorrelation(structure, model) {
    const holder = document.getElementById("plot-correlation");
    const rows = pairs(structure, model), lines = (data.agreement[model] || {})[structure];
    if (!rows.length) return empty(holder, "no volumes");
    const both = range([].concat.apply([], rows.map(function (row) { return [row[2], row[3]]; })), 0.06);
    const place = frame(holder, both, "prediction (ml)", both, "reference (ml)");
    add(place.svg, "line", { class: "equal", x1: place.x(both[0]), x2: place.x(both[1]), y1: place.y(both[0]), y2: place.y(both[1]) });
    if (lines && isNumber(lines.fit_slope)) {
      const references = rows.map(function (row) { return row[2]; });
      const from = Math.min.apply(null, references), to = Math.max.apply(null, references);
      const fit = function (v) { return lines.fit_slope * v + lines.fit_intercept_ml; };
      add(place.svg, "line", { class: "bias", x1: place.x(from), x2: place.x(to), y1: place.y(fit(from)), y2: place.y(fit(to)) });
      add(place.svg, "text", { x: LEFT + 8, y: TOP + 14 }, "r = " + text(lines.r, 3));
      add(place.svg, "text", { x: LEFT + 8, y: TOP + 30 },
        "ICC = " + text(lines.icc, 3) + " (" + text(lines.icc_ci_low, 3) + " to " + text(lines.icc_ci_high, 3) + ")");
    }
    rows.forEach(function (row) {
      dot(place.svg, place.x(row[2]), place.y(row[3]), colourOf(structure), row[0],
        "reference " + text(row[2], 1) + " ml, prediction " + text(row[3], 1) + " ml, Dice " + text(row[1], 3));
    });
  }

  function colourOf(structure) {
    return data.structures.find(function (each) { return each.name === structure; }).colour;
  }

  function draw() {
    fade();
    const structure = pick.structure.value;
    const measured = structure === "" ? data.structures[0].name : structure;
    drawDice(structure);
    drawAgreement(measured, pick.model.value);
    drawCorrelation(measured, pick.model.value);
    document.getElementById("dice-of").textContent = structure === "" ? "mean of all structures" : structure;
    document.querySelectorAll(".plot-of").forEach(function (each) { each.textContent = measured + ", " + pick.model.value; });
  }

  function go(name) {
    const hash = "#case=" + encodeURIComponent(name);
    if (location.hash === hash) show(); else location.hash = hash;
  }

  // Bring the case that the address names into the viewer: built in, or from its own file.
  function show() {
    if (location.hash.indexOf("#case=") !== 0) return;
    let name;
    try { name = decodeURIComponent(location.hash.slice(6)); } catch (error) { return; }
    const found = data.cases.find(function (each) { return each.name === name; });
    const shown = document.getElementById("shown-case");
    const viewer = document.querySelector("#embedded .paraspinal-viewer");
    const other = document.getElementById("other-case");
    if (!found) { shown.textContent = "There is no case " + name + " in this evaluation."; return; }
    shown.textContent = found.embedded ? "" : "Shown: " + name;
    other.textContent = "";
    document.getElementById("embedded").hidden = !found.embedded;
    if (found.embedded) viewer.dispatchEvent(new CustomEvent("paraspinal-case", { detail: name }));
    else if (found.file) {
      const inner = document.createElement("iframe");
      inner.title = name;
      inner.src = found.file;
      other.appendChild(inner);
    } else shown.textContent += ", which has no image to look at.";
    document.getElementById("cases-section").scrollIntoView();
  }

  pick.structure.addEventListener("change", draw);
  pick.model.addEventListener("change", draw);
  window.addEventListener("hashchange", show);
  draw();
  show();
})();
