(function () {
  "use strict";

  const LONGEST = 1000;  // pixels of the canvas along its longer side
  const WHEEL_PIXELS = 40, LINE_PIXELS = 16, TOUCH_PIXELS = 24;  // of turning or moving for one slice
  const OUTLINE_PIXELS = 2, OUTLINE_OPACITY = 0.95;

  function element(tag, className, parent) {
    const made = document.createElement(tag);
    if (className) made.className = className;
    if (parent) parent.appendChild(made);
    return made;
  }

  function button(parent, name, press) {
    const made = element("button", "", parent);
    made.type = "button";
    made.textContent = name;
    made.addEventListener("click", press);
    return made;
  }

  // A row of buttons of which one is pressed; `choose` is called with its position.
  function choices(parent, heading, names, choose) {
    const bar = element("div", "pv-bar", parent);
    element("span", "", bar).textContent = heading;
    const buttons = names.map(function (name, position) {
      return button(bar, name, function () { choose(position); });
    });
    return {
      bar: bar,
      press: function (position) {
        buttons.forEach(function (each, other) { each.setAttribute("aria-pressed", String(other === position)); });
      },
    };
  }

  function slider(parent, heading, key, low, high, change) {
    const label = element("label", "", parent);
    label.appendChild(document.createTextNode(heading + " "));
    const made = element("input", "", label);
    made.type = "range";
    made.min = low;
    made.max = high;
    made.setAttribute("data-key", key);
    made.addEventListener("input", function () { change(Number(made.value)); });
    return made;
  }

  function bytes(text) {
    return Uint8Array.from(atob(text), function (letter) { return letter.charCodeAt(0); });
  }

  async function inflated(text) {
    const stream = new Blob([bytes(text)]).stream().pipeThrough(new DecompressionStream("deflate"));
    return new Response(stream).arrayBuffer().then(function (buffer) { return new Uint8Array(buffer); });
  }

  function canvas(width, height) {
    const made = document.createElement("canvas");
    made.width = width;
    made.height = height;
    return made;
  }

  function rgb(colour) {
    return [1, 3, 5].map(function (at) { return parseInt(colour.slice(at, at + 2), 16); });
  }

  // Grey values between two limits spread over black to white; limits in 0 to 255.
  function windowed(picture, low, high) {
    const made = canvas(picture.naturalWidth, picture.naturalHeight);
    const context = made.getContext("2d");
    context.drawImage(picture, 0, 0);
    if (low === 0 && high === 255) return made;
    const table = new Uint8ClampedArray(256);
    for (let value = 0; value < 256; value += 1) table[value] = (value - low) / Math.max(high - low, 1) * 255;
    const data = context.getImageData(0, 0, made.width, made.height);
    for (let at = 0; at < data.data.length; at += 4) {
      data.data[at] = data.data[at + 1] = data.data[at + 2] = table[data.data[at]];
    }
    context.putImageData(data, 0, 0);
    return made;
  }

  // A plane of labels enlarged to the canvas, so that outlines are thin however large a voxel is.
  function enlarged(plane, columns, rows, width, height) {
    const large = new Uint8Array(width * height);
    for (let y = 0; y < height; y += 1) {
      const from = Math.min(rows - 1, Math.floor((y + 0.5) * rows / height)) * columns;
      for (let x = 0; x < width; x += 1) {
        large[y * width + x] = plane[from + Math.min(columns - 1, Math.floor((x + 0.5) * columns / width))];
      }
    }
    return large;
  }

  function overlaid(labels, width, height, colours, opacity, filled) {
    const made = canvas(width, height);
    const context = made.getContext("2d");
    const data = context.createImageData(width, height);
    const outline = Math.round(255 * Math.min(OUTLINE_OPACITY, opacity * 2.5) + (opacity === 1 ? 13 : 0));
    const inside = filled ? Math.round(255 * opacity) : 0;
    for (let y = 0; y < height; y += 1) {
      for (let x = 0; x < width; x += 1) {
        const at = y * width + x, label = labels[at];
        if (!label) continue;
        let edge = false;
        for (let step = 1; step <= OUTLINE_PIXELS && !edge; step += 1) {
          edge = x < step || x >= width - step || y < step || y >= height - step || labels[at - step] !== label ||
            labels[at + step] !== label || labels[at - step * width] !== label || labels[at + step * width] !== label;
        }
        const colour = colours[label] || [200, 200, 200];
        data.data.set([colour[0], colour[1], colour[2], edge ? outline : inside], at * 4);
      }
    }
    context.putImageData(data, 0, 0);
    return made;
  }

  function start(root) {
    const cases = JSON.parse(root.querySelector("script[type='application/json']").textContent);
    const state = {
      caseIndex: 0, overlay: cases[0].start, slice: 0, filled: true, opacity: null, width: 255, level: 127.5, turn: 0,
    };
    let inflatedLabels = {}, pictures = {}, overlayBar = null;

    const ui = element("div", "", root);
    const caseBar = choices(ui, "Case", cases.map(function (c) { return c.name; }), showCase);
    caseBar.bar.hidden = cases.length < 2;
    const overlays = element("div", "", ui);
    const caption = element("p", "pv-caption", ui);
    const body = element("div", "pv-body", ui);
    const column = element("div", "pv-column", body);
    const stage = element("div", "pv-stage", column);
    stage.tabIndex = 0;
    stage.setAttribute("role", "group");
    const shownCanvas = element("canvas", "", stage);
    shownCanvas.setAttribute("role", "img");
    [["R", "right"], ["L", "left"], ["A", "front"], ["P", "back"]].forEach(function (mark) {
      element("div", "pv-mark pv-" + mark[1], stage).textContent = mark[0];
    });
    const place = element("div", "pv-place", stage);
    const windowText = element("div", "pv-window", stage);
    const sliceSlider = slider(column, "", "slice", 0, 1, showSlice);
    sliceSlider.className = "pv-slider";
    sliceSlider.setAttribute("aria-label", "slice");
    const side = element("div", "pv-side", body);
    const legend = element("ul", "pv-legend", side);
    const style = choices(side, "Drawn", ["filled", "outlines"], function (position) {
      state.filled = position === 0;
      style.press(position);
      draw();
    });
    style.press(0);
    const opacity = slider(side, "Opacity", "opacity", 0, 100, function (value) { state.opacity = value / 100; draw(); });
    const width = slider(side, "Window", "window", 5, 510, function (value) { state.width = value; draw(); });
    const level = slider(side, "Level", "level", 0, 255, function (value) { state.level = value; draw(); });
    button(side, "Reset", reset);
    element("p", "pv-help", side).textContent =
      "Wheel, arrow keys or a finger up and down: slice, feet to head. Drag with the mouse: window and level. Keys 1 " +
      "to 9: overlay, o: outlines, 0: reset. R is the patient's right, A the front.";

    function current() { return cases[state.caseIndex]; }

    function showCase(index) {
      const relative = current().slices.length > 1 ? state.slice / (current().slices.length - 1) : 0.5;
      state.caseIndex = index;
      inflatedLabels = {};
      pictures = {};
      const shown = current();
      state.slice = Math.round(relative * (shown.slices.length - 1));
      state.overlay = Math.min(state.overlay, shown.overlays.length - 1);
      overlays.textContent = "";
      overlayBar = choices(overlays, "Overlay", shown.overlays.map(function (o) { return o.name; }), showOverlay);
      sliceSlider.max = shown.slices.length - 1;
      const scale = Math.min(4, Math.max(1, LONGEST / Math.max(shown.width, shown.height)));
      shownCanvas.width = Math.round(shown.width * scale);
      shownCanvas.height = Math.round(shown.height * scale);
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
      current().overlays[index].missing.forEach(function (name) {
        element("li", "missing", legend).textContent = name + ": missing";
      });
      showSlice(state.slice);
    }

    function showSlice(index) {
      const shown = current();
      state.slice = Math.max(0, Math.min(shown.slices.length - 1, index));
      const pictured = shown.slices[state.slice];
      sliceSlider.value = state.slice;
      place.textContent = (pictured.level ? pictured.level + ", " : "") + "slice " + pictured.number + " of " + shown.count + ", z = " + pictured.mm + " mm";
      shownCanvas.setAttribute("aria-label", shown.name + ", slice " + pictured.number + (pictured.level ? ", " + pictured.level : ""));
      root.setAttribute("data-mm", pictured.mm);
      root.dispatchEvent(new CustomEvent("paraspinal-slice", { detail: Number(pictured.mm) }));
      draw();
    }

    function reset() {
      state.width = 255;
      state.level = 127.5;
      state.opacity = null;
      draw();
    }

    function picture(index) {
      if (!pictures[index]) {
        const made = new Image();
        made.src = "data:image/jpeg;base64," + current().slices[index].image;
        pictures[index] = made.decode().then(function () { return made; });
      }
      return pictures[index];
    }

    function labelsOf(index) {
      const text = current().overlays[index].labels;
      if (!inflatedLabels[index]) inflatedLabels[index] = text ? inflated(text) : Promise.resolve(null);
      return inflatedLabels[index];
    }

    // Only the latest of several calls draws: pictures are decoded in their own time.
    function draw() {
      const turn = state.turn += 1, shown = current(), overlay = shown.overlays[state.overlay];
      const share = state.opacity === null ? overlay.opacity : state.opacity;
      opacity.value = Math.round(share * 100);
      width.value = state.width;
      level.value = state.level;
      const low = state.level - state.width / 2, high = state.level + state.width / 2;
      windowText.textContent = "window " + [low, high].map(function (value) {
        return Number((shown.window[0] + value / 255 * (shown.window[1] - shown.window[0])).toPrecision(3));
      }).join(" to ");
      Promise.all([picture(state.slice), labelsOf(state.overlay)]).then(function (ready) {
        if (turn !== state.turn) return;
        const w = shownCanvas.width, h = shownCanvas.height, pixels = shown.rows * shown.columns;
        const context = shownCanvas.getContext("2d");
        context.imageSmoothingQuality = "high";
        context.drawImage(windowed(ready[0], low, high), 0, 0, w, h);
        if (ready[1]) {
          const plane = ready[1].subarray(state.slice * pixels, (state.slice + 1) * pixels);
          const colours = {};
          overlay.legend.forEach(function (entry) { colours[entry.value] = rgb(entry.colour); });
          const large = enlarged(plane, shown.columns, shown.rows, w, h);
          context.drawImage(overlaid(large, w, h, colours, share, state.filled), 0, 0);
        }
        stage.setAttribute("data-drawn", shown.slices[state.slice].number);
        if (state.slice + 1 < shown.slices.length) picture(state.slice + 1);
        if (state.slice > 0) picture(state.slice - 1);
      }).catch(function () {
        // A slice without its overlay could be taken for an empty mask.
        shownCanvas.hidden = true;
        place.textContent = "This browser cannot show the slices with their overlay; Chrome 80, Firefox 113, " +
          "Safari 16.4 and later can.";
      });
    }

    // Pages that hold a viewer ask for a case by its name.
    root.addEventListener("paraspinal-case", function (event) {
      const index = cases.findIndex(function (c) { return c.name === event.detail; });
      if (index >= 0) showCase(index);
    });
    stage.addEventListener("wheel", function (event) {
      if (event.ctrlKey) return;
      event.preventDefault();
      turned += event.deltaMode === 1 ? event.deltaY * LINE_PIXELS : event.deltaY;
      const now = Date.now(), quick = now - turnedAt < 40;
      // A wheel's notch is one slice, however far the system lets it turn; a touch pad's many small steps are added up.
      if (Math.abs(turned) < (quick ? WHEEL_PIXELS : 1)) return;
      showSlice(state.slice + (turned < 0 ? 1 : -1));
      turned = 0;
      turnedAt = now;
    }, { passive: false });
    let turned = 0, turnedAt = 0, from = null, touched = null;
    stage.addEventListener("pointerdown", function (event) {
      if (event.pointerType === "touch") {
        touched = event.isPrimary ? { y: event.clientY, slice: state.slice } : null;
        return;
      }
      from = { x: event.clientX, y: event.clientY, width: state.width, level: state.level };
      stage.setPointerCapture(event.pointerId);
    });
    stage.addEventListener("pointermove", function (event) {
      if (touched && event.pointerType === "touch" && event.isPrimary) {
        const room = stage.clientHeight || 1, most = current().slices.length;
        showSlice(touched.slice + Math.round((touched.y - event.clientY) / Math.min(room / most, TOUCH_PIXELS)));
      }
      if (!from) return;
      state.width = Math.max(5, Math.min(510, from.width + event.clientX - from.x));
      state.level = Math.max(0, Math.min(255, from.level + (event.clientY - from.y) / 2));
      draw();
    });
    ["pointerup", "pointercancel"].forEach(function (name) {
      stage.addEventListener(name, function () { from = touched = null; });
    });
    stage.addEventListener("keydown", function (event) {
      const steps = { ArrowUp: 1, ArrowRight: 1, PageUp: 1, ArrowDown: -1, ArrowLeft: -1, PageDown: -1 };
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      if (event.key in steps) showSlice(state.slice + steps[event.key]);
      else if (event.key === "Home") showSlice(0);
      else if (event.key === "End") showSlice(current().slices.length - 1);
      else if (event.key >= "1" && event.key <= "9") showOverlay(Number(event.key) - 1);
      else if (event.key === "0") reset();
      else if (event.key === "o") { state.filled = !state.filled; style.press(state.filled ? 0 : 1); draw(); }
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
