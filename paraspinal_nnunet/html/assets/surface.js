(function () {
  "use strict";

  const WIDTH = 720, HEIGHT = 600, START = [215, 18];
  const STEP_DEG = 10, MOST_TILT = 90;

  function element(tag, className, parent) {
    const made = document.createElement(tag);
    if (className) made.className = className;
    if (parent) parent.appendChild(made);
    return made;
  }

  async function inflated(text) {
    const raw = Uint8Array.from(atob(text), function (letter) { return letter.charCodeAt(0); });
    const stream = new Blob([raw]).stream().pipeThrough(new DecompressionStream("deflate"));
    return new Response(stream).arrayBuffer().then(function (buffer) { return new Uint8Array(buffer); });
  }

  // A style's "rgb(r, g, b)" as a pixel.
  function packedColour(text) {
    const parts = text.match(/[\d.]+/g).map(Number);
    return (0xff000000 | parts[2] << 16 | parts[1] << 8 | parts[0]) >>> 0;
  }

  function cross(a, b) {
    return [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]];
  }

  // Numbers were stored as differences from the one before, all first bytes before all second bytes and so on.
  function unpacked(packed, unit) {
    return inflated(packed.data).then(function (bytes) {
      const count = bytes.length / 4, numbers = new Int32Array(count), v = packed.vertices, q = packed.quads;
      let value = 0;
      for (let at = 0; at < count; at += 1) {
        value = (value + (bytes[at] | bytes[count + at] << 8 | bytes[2 * count + at] << 16 |
          bytes[3 * count + at] << 24)) | 0;
        numbers[at] = value;
      }
      const places = new Float32Array(3 * v), quads = numbers.slice(3 * v);
      for (let at = 0; at < v; at += 1) {
        for (let axis = 0; axis < 3; axis += 1) places[3 * at + axis] = numbers[axis * v + at] * unit;
      }
      return { name: packed.name, colour: packed.colour, places: places, quads: quads, count: q,
        normals: normalsOf(places, quads, q), shown: true };
    });
  }

  function normalsOf(places, quads, count) {
    const normals = new Float32Array(places.length);
    const side = function (one, two) {
      return [0, 1, 2].map(function (axis) { return places[3 * two + axis] - places[3 * one + axis]; });
    };
    for (let at = 0; at < count; at += 1) {
      const corners = [0, 1, 2, 3].map(function (n) { return quads[n * count + at]; });
      const face = cross(side(corners[0], corners[2]), side(corners[1], corners[3]));
      corners.forEach(function (corner) {
        for (let axis = 0; axis < 3; axis += 1) normals[3 * corner + axis] += face[axis];
      });
    }
    for (let at = 0; at < normals.length; at += 3) {
      const length = Math.hypot(normals[at], normals[at + 1], normals[at + 2]) || 1;
      for (let axis = 0; axis < 3; axis += 1) normals[at + axis] /= length;
    }
    return normals;
  }

  // Rows: directions to the right, to the top and out of the screen.
  function camera(turn, tilt) {
    const c = Math.cos(turn * Math.PI / 180), s = Math.sin(turn * Math.PI / 180);
    const cc = Math.cos(tilt * Math.PI / 180), ss = Math.sin(tilt * Math.PI / 180);
    return [[-c, -s, 0], [s * ss, -c * ss, cc], [-s * cc, c * cc, ss]];
  }

  function dot(a, b) { return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]; }

  // Paint triangles into pixels, nearest first kept by depth; brightness runs evenly over each.
  function paint(mesh, axes, scale, ambient, pixels, depths) {
    const count = mesh.places.length / 3;
    const x = new Float32Array(count), y = new Float32Array(count), z = new Float32Array(count);
    const light = new Float32Array(count);
    for (let at = 0; at < count; at += 1) {
      const p = mesh.places.subarray(3 * at, 3 * at + 3);
      x[at] = WIDTH / 2 + dot(axes[0], p) * scale;
      y[at] = HEIGHT / 2 - dot(axes[1], p) * scale;
      z[at] = dot(axes[2], p);
      light[at] = ambient + (1 - ambient) * Math.max(0, dot(axes[2], mesh.normals.subarray(3 * at, 3 * at + 3)));
    }
    const colour = [1, 3, 5].map(function (at) { return parseInt(mesh.colour.slice(at, at + 2), 16); });
    const triangle = function (a, b, c) {
      const area = (x[b] - x[a]) * (y[c] - y[a]) - (x[c] - x[a]) * (y[b] - y[a]);
      if (area >= 0) return;  // turned away: rows count downwards
      const left = Math.max(0, Math.ceil(Math.min(x[a], x[b], x[c])));
      const right = Math.min(WIDTH - 1, Math.floor(Math.max(x[a], x[b], x[c])));
      const top = Math.max(0, Math.ceil(Math.min(y[a], y[b], y[c])));
      const bottom = Math.min(HEIGHT - 1, Math.floor(Math.max(y[a], y[b], y[c])));
      for (let row = top; row <= bottom; row += 1) {
        for (let column = left; column <= right; column += 1) {
          const wb = ((column - x[a]) * (y[c] - y[a]) - (x[c] - x[a]) * (row - y[a])) / area;
          const wc = ((x[b] - x[a]) * (row - y[a]) - (column - x[a]) * (y[b] - y[a])) / area;
          const wa = 1 - wb - wc;
          if (wa < -1e-4 || wb < -1e-4 || wc < -1e-4) continue;
          const depth = wa * z[a] + wb * z[b] + wc * z[c], at = row * WIDTH + column;
          if (depth <= depths[at]) continue;
          depths[at] = depth;
          const shade = wa * light[a] + wb * light[b] + wc * light[c];
          pixels[at] = 0xff000000 | (colour[2] * shade) << 16 | (colour[1] * shade) << 8 | (colour[0] * shade);
        }
      }
    };
    const quads = mesh.quads, n = mesh.count;
    for (let at = 0; at < n; at += 1) {
      const a = quads[at], b = quads[n + at], c = quads[2 * n + at], d = quads[3 * n + at];
      triangle(a, b, c);
      triangle(a, c, d);
    }
  }

  function start(root) {
    const data = JSON.parse(root.querySelector("script[type='application/json']").textContent);
    const reach = Math.hypot(data.half[0], data.half[1], data.half[2]) || 1;
    const fits = Math.min(WIDTH / 2.35 / Math.hypot(data.half[0], data.half[1]), HEIGHT / 2.3 / Math.max(data.half[2], 0.6 * reach));
    const state = { turn: START[0], tilt: START[1], zoom: 1, level: null, meshes: [], waiting: false };
    const body = element("div", "ps-body", root);
    const stage = element("div", "ps-stage", body);
    const view = element("canvas", "", stage);
    view.width = WIDTH;
    view.height = HEIGHT;
    view.tabIndex = 0;
    view.setAttribute("role", "img");
    const side = element("div", "ps-side", body);
    const bar = element("div", "ps-bar", side);
    const button = function (name, press) {
      const made = element("button", "", bar);
      made.type = "button";
      made.textContent = name;
      made.addEventListener("click", press);
      return made;
    };
    Object.keys(data.views).forEach(function (name) {
      button(name, function () { turnTo(data.views[name][0], data.views[name][1]); });
    });
    button("+", function () { zoom(1.2); }).setAttribute("aria-label", "larger");
    button("\u2212", function () { zoom(1 / 1.2); }).setAttribute("aria-label", "smaller");
    const list = element("ul", "", side);
    element("p", "", side).textContent =
      "Drag or arrow keys: turn. + and -: size. R is the patient's right, A the front, S the head. Surfaces are " +
      "smoothed for looking; the numbers come from the voxels. The grey frame is the slice shown above.";

    function turnTo(turn, tilt) {
      state.turn = (turn % 360 + 360) % 360;
      state.tilt = Math.max(-MOST_TILT, Math.min(MOST_TILT, tilt));
      later();
    }

    function zoom(factor) {
      state.zoom = Math.max(0.5, Math.min(5, state.zoom * factor));
      later();
    }

    // Several changes at once are drawn once.
    function later() {
      if (state.waiting) return;
      state.waiting = true;
      setTimeout(function () { state.waiting = false; draw(); }, 5);
    }

    function draw() {
      const context = view.getContext("2d");
      const image = context.createImageData(WIDTH, HEIGHT);
      const pixels = new Uint32Array(image.data.buffer).fill(packedColour(getComputedStyle(view).backgroundColor));
      const depths = new Float32Array(WIDTH * HEIGHT).fill(-Infinity);
      const axes = camera(state.turn, state.tilt), scale = fits * state.zoom;
      state.meshes.forEach(function (mesh) {
        if (mesh.shown) paint(mesh, axes, scale, data.ambient, pixels, depths);
      });
      context.putImageData(image, 0, 0);
      const at = function (p) { return [WIDTH / 2 + dot(axes[0], p) * scale, HEIGHT / 2 - dot(axes[1], p) * scale]; };
      if (state.level !== null) drawSlice(context, at);
      drawMarks(context, axes, at);
      drawScale(context, scale);
      view.setAttribute("aria-label", "muscles in three dimensions, turned " + Math.round(state.turn) +
        " degrees and tilted " + Math.round(state.tilt));
      view.setAttribute("data-drawn", Math.round(state.turn) + "," + Math.round(state.tilt));
    }

    function drawMarks(context, axes, at) {
      const placed = {};
      context.textAlign = "center";
      context.textBaseline = "middle";
      context.font = "700 26px system-ui, sans-serif";
      Object.keys(data.marks).forEach(function (letter) {
        const direction = data.marks[letter], across = Math.hypot(dot(axes[0], direction), dot(axes[1], direction));
        if (across < 0.5) return;
        const p = at(direction.map(function (d, axis) { return d * (data.half[axis] + 14); }));
        const place = [Math.max(16, Math.min(WIDTH - 16, p[0])), Math.max(18, Math.min(HEIGHT - 18, p[1]))];
        context.globalAlpha = dot(axes[2], direction) < -0.5 ? 0.35 : 1;
        context.lineWidth = 5;
        context.strokeStyle = getComputedStyle(view).backgroundColor;
        context.strokeText(letter, place[0], place[1]);
        context.fillStyle = getComputedStyle(view).color;
        context.fillText(letter, place[0], place[1]);
        placed[letter] = place.map(Math.round);
      });
      context.globalAlpha = 1;
      view.setAttribute("data-marks", JSON.stringify(placed));
    }

    function drawSlice(context, at) {
      const z = state.level - data.centre[2];
      if (Math.abs(z) > data.half[2] + 1) return;
      const x = data.half[0] + 5, y = data.half[1] + 5;
      context.beginPath();
      [[-x, -y], [x, -y], [x, y], [-x, y]].forEach(function (corner, n) {
        const p = at([corner[0], corner[1], z]);
        if (n) context.lineTo(p[0], p[1]); else context.moveTo(p[0], p[1]);
      });
      context.closePath();
      context.lineWidth = 1.5;
      context.strokeStyle = getComputedStyle(view).color;
      context.globalAlpha = 0.6;
      context.stroke();
      context.globalAlpha = 1;
    }

    function drawScale(context, scale) {
      context.fillStyle = getComputedStyle(view).color;
      context.fillRect(18, HEIGHT - 20, 50 * scale, 3);
      context.font = "16px system-ui, sans-serif";
      context.textAlign = "left";
      context.fillText("50 mm", 18, HEIGHT - 34);
    }

    let from = null;
    view.addEventListener("pointerdown", function (event) {
      from = { x: event.clientX, y: event.clientY, turn: state.turn, tilt: state.tilt };
      view.setPointerCapture(event.pointerId);
    });
    view.addEventListener("pointermove", function (event) {
      if (from) turnTo(from.turn - (event.clientX - from.x) / 2, from.tilt + (event.clientY - from.y) / 2);
    });
    ["pointerup", "pointercancel"].forEach(function (name) {
      view.addEventListener(name, function () { from = null; });
    });
    view.addEventListener("keydown", function (event) {
      const turns = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      if (event.key in turns) {
        turnTo(state.turn - turns[event.key][0] * STEP_DEG, state.tilt - turns[event.key][1] * STEP_DEG);
      } else if (event.key === "+" || event.key === "=") zoom(1.2);
      else if (event.key === "-") zoom(1 / 1.2);
      else if (event.key === "0") { state.zoom = 1; turnTo(START[0], START[1]); }
      else return;
      event.preventDefault();
    });
    const viewer = document.querySelector(".paraspinal-viewer[data-mm]");
    if (viewer) state.level = Number(viewer.getAttribute("data-mm"));
    document.addEventListener("paraspinal-slice", function (event) {
      state.level = event.detail;
      later();
    }, true);

    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", later);

    Promise.all(data.meshes.map(function (mesh) { return unpacked(mesh, data.unit); })).then(function (meshes) {
      state.meshes = meshes;
      meshes.forEach(function (mesh) {
        const label = element("label", "", element("li", "", list)), box = element("input", "", label);
        box.type = "checkbox";
        box.checked = true;
        element("i", "", label).style.background = mesh.colour;
        label.appendChild(document.createTextNode(mesh.name));
        box.addEventListener("change", function () { mesh.shown = box.checked; later(); });
      });
      draw();
    }).catch(function () {
      stage.textContent = "This browser cannot show the surfaces; Chrome 80, Firefox 113, Safari 16.4 and later can.";
    });
  }

  document.querySelectorAll(".paraspinal-surface:not([data-started])").forEach(function (root) {
    root.setAttribute("data-started", "");
    start(root);
  });
})();
