(function () {
  "use strict";

  function element(tag, className, parent) {
    const made = document.createElement(tag);
    if (className) made.className = className;
    if (parent) parent.appendChild(made);
    return made;
  }

  // A row of buttons of which one is pressed; `choose` is called with its position.
  function choices(parent, heading, names, choose) {
    const bar = element("div", "pv-bar", parent);
    element("span", "", bar).textContent = heading;
    const buttons = names.map(function (name, position) {
      const button = element("button", "", bar);
      button.type = "button";
      button.textContent = name;
      button.addEventListener("click", function () { choose(position); });
      return button;
    });
    return {
      bar: bar,
      press: function (position) {
        buttons.forEach(function (button, other) { button.setAttribute("aria-pressed", String(other === position)); });
      },
    };
  }

  function start(root) {
    const cases = JSON.parse(root.querySelector("script[type='application/json']").textContent);
    const state = { caseIndex: 0, overlay: cases[0].start, slice: 0 };

    const ui = element("div", "", root);
    const caseBar = choices(ui, "Case", cases.map(function (c) { return c.name; }), showCase);
    caseBar.bar.hidden = cases.length < 2;
    const overlays = element("div", "", ui);
    const caption = element("p", "pv-caption", ui);
    const body = element("div", "pv-body", ui);
    const column = element("div", "", body);
    column.className = "pv-column";
    const stage = element("div", "pv-stage", column);
    stage.tabIndex = 0;
    stage.setAttribute("role", "group");
    const base = element("img", "", stage);
    const layer = element("img", "pv-overlay", stage);
    layer.alt = "";
    element("div", "pv-mark pv-right", stage).textContent = "R";
    element("div", "pv-mark pv-left", stage).textContent = "L";
    const place = element("div", "pv-place", stage);
    const slider = element("input", "pv-slider", column);
    slider.type = "range";
    slider.min = 0;
    slider.setAttribute("aria-label", "slice");
    element("p", "pv-help", column).textContent =
      "Scroll or arrow keys: slice, feet to head. Keys 1 to 9: overlay. R is the patient's right.";
    const legend = element("ul", "pv-legend", body);
    let overlayBar = null;

    function current() { return cases[state.caseIndex]; }

    function showCase(index) {
      const relative = current().slices.length > 1 ? state.slice / (current().slices.length - 1) : 0.5;
      state.caseIndex = index;
      const shown = current();
      state.slice = Math.round(relative * (shown.slices.length - 1));
      state.overlay = Math.min(state.overlay, shown.overlays.length - 1);
      overlays.textContent = "";
      overlayBar = choices(overlays, "Overlay", shown.overlays.map(function (o) { return o.name; }), showOverlay);
      slider.max = shown.slices.length - 1;
      stage.style.aspectRatio = shown.width + " / " + shown.height;
      caption.textContent = shown.caption;
      caption.hidden = !shown.caption;
      stage.setAttribute("aria-label", "axial slices of " + shown.name);
      caseBar.press(index);
      showOverlay(state.overlay);
    }

    function showOverlay(index) {
      if (index >= current().overlays.length) return;
      state.overlay = index;
      overlayBar.press(index);
      legend.textContent = "";
      current().overlays[index].legend.forEach(function (entry) {
        const item = element("li", "", legend);
        element("i", "", item).style.background = entry.colour;
        item.appendChild(document.createTextNode(entry.name));
      });
      showSlice(state.slice);
    }

    function showSlice(index) {
      const shown = current();
      state.slice = Math.max(0, Math.min(shown.slices.length - 1, index));
      const pictured = shown.slices[state.slice];
      const drawn = shown.overlays[state.overlay].layers[state.slice];
      base.src = "data:image/jpeg;base64," + pictured.image;
      base.alt = shown.name + ", slice " + pictured.number;
      layer.hidden = !drawn;
      if (drawn) layer.src = "data:image/png;base64," + drawn;
      slider.value = state.slice;
      place.textContent = "slice " + pictured.number + " of " + shown.count + ", z = " + pictured.mm + " mm";
    }

    // Pages that hold a viewer ask for a case by its name.
    root.addEventListener("paraspinal-case", function (event) {
      const index = cases.findIndex(function (c) { return c.name === event.detail; });
      if (index >= 0) showCase(index);
    });
    slider.addEventListener("input", function () { showSlice(Number(slider.value)); });
    stage.addEventListener("wheel", function (event) {
      event.preventDefault();
      showSlice(state.slice + (event.deltaY < 0 ? 1 : -1));
    }, { passive: false });
    stage.addEventListener("keydown", function (event) {
      const steps = { ArrowUp: 1, ArrowRight: 1, PageUp: 1, ArrowDown: -1, ArrowLeft: -1, PageDown: -1 };
      if (event.key in steps) showSlice(state.slice + steps[event.key]);
      else if (event.key === "Home") showSlice(0);
      else if (event.key === "End") showSlice(current().slices.length - 1);
      else if (event.key >= "1" && event.key <= "9") showOverlay(Number(event.key) - 1);
      else return;
      event.preventDefault();
    });

    state.slice = Math.floor((current().slices.length - 1) / 2);
    showCase(0);
  }

  document.querySelectorAll(".paraspinal-viewer:not([data-started])").forEach(function (root) {
    root.setAttribute("data-started", "");
    start(root);
  });
})();
