// The chart: scales, points, and how to move among them by pointer and by keys.

const SVG = "http://www.w3.org/2000/svg";
const SHAPES = [
  "M0-5.5A5.5 5.5 0 1 0 0 5.5A5.5 5.5 0 1 0 0-5.5Z", "M-2-6H2V-2H6V2H2V6H-2V2H-6V-2H-2Z",
  "M-5-5H5V5H-5Z", "M0-6.5L6 4.5H-6Z", "M0-7L6 0L0 7L-6 0Z",
];
const MARGIN = { left: 62, right: 22, top: 16, bottom: 50 };
const DENSE = 400; // points, from which on they are drawn smaller
const NEAR = 28; // pixels from the pointer to a point
const shapeOf = (p) => schemes.findIndex((s) => s.name === p.member.scheme) % SHAPES.length;

let shown = { points: [], front: [], unfit: 0, linear: false };
let elements = []; // of shown.points
let drawnKey = null;
let scale = { x: () => 0, y: () => 0 };
let focused = false; // whether a point holds the focus

function element(name, attributes, text) {
  const node = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  if (text !== undefined) node.textContent = text;
  return node;
}

// Ends of an axis with some room, as numbers on the scale.
function ends(values, room) {
  let low = Infinity, high = -Infinity;
  for (const v of values) [low, high] = [Math.min(low, v), Math.max(high, v)];
  if (!(low <= high)) [low, high] = [0, 1];
  const margin = room * (high - low) || 0.05 * (Math.abs(high) || 1);
  return [low - margin, high + margin];
}

function evenTicks([low, high], count) {
  const raw = (high - low) / count, power = 10 ** Math.floor(Math.log10(raw));
  const step = power * [1, 2, 5, 10].find((f) => f * power >= raw);
  const ticks = [];
  for (let i = Math.ceil(low / step); i * step <= high + 1e-9 * step; i += 1) ticks.push(i * step);
  return ticks;
}

function logTicks([low, high], count) {
  for (const steps of [[1, 2, 3, 5, 7], [1, 2, 5], [1, 3], [1]]) {
    const ticks = [];
    for (let e = Math.floor(low); e <= high; e += 1) {
      for (const f of steps) {
        const tick = e + Math.log10(f);
        if (tick >= low && tick <= high) ticks.push(tick);
      }
    }
    if (ticks.length <= count) return ticks.length > 1 ? ticks : evenTicks([low, high], 3);
  }
  return evenTicks([low, high], count).filter((t) => Number.isInteger(t));
}

function drawChart() {
  const box = $("chart").getBoundingClientRect();
  const width = box.width || 800, height = box.height || 480;
  const axis = AXES[state.x], used = shown.points.filter((q) => q.ok || !state.fit);
  const map = shown.linear ? (v) => v : Math.log10;
  const xs = ends(used.map((q) => map(q.x)), 0.05), ys = ends(used.map((q) => q.y), 0.07);
  ys[1] = Math.min(ys[1], Math.max(100.5, ...used.map((q) => q.y + 0.01)));
  const [left, right] = [MARGIN.left, width - MARGIN.right];
  const [top, bottom] = [MARGIN.top, height - MARGIN.bottom];
  scale = {
    x: (v) => left + ((map(v) - xs[0]) / (xs[1] - xs[0])) * (right - left),
    y: (v) => bottom - ((v - ys[0]) / (ys[1] - ys[0])) * (bottom - top),
  };
  for (const id of ["chart", "marks"]) $(id).setAttribute("viewBox", `0 0 ${width} ${height}`);
  const count = Math.max(3, Math.floor(width / 90));
  const xTicks = (shown.linear ? evenTicks : logTicks)(xs, count);
  const back = shown.linear ? (v) => v : (v) => 10 ** v;
  const grid = [];
  for (const tick of xTicks) {
    const x = scale.x(back(tick));
    grid.push(element("line", { x1: x, x2: x, y1: top, y2: bottom }));
    grid.push(element("text", { x, y: bottom + 18, "text-anchor": "middle" }, short(Number(back(tick).toPrecision(4)))));
  }
  for (const tick of evenTicks(ys, 7)) {
    if (tick > 100 + 1e-9) continue;
    const y = scale.y(tick);
    grid.push(element("line", { x1: left, x2: right, y1: y, y2: y }));
    grid.push(element("text", { x: left - 8, y: y + 4, "text-anchor": "end" }, short(Number(tick.toPrecision(6)))));
  }
  grid.push(element("line", { class: "axis", x1: left, x2: right, y1: bottom, y2: bottom }));
  grid.push(element("line", { class: "axis", x1: left, x2: left, y1: top, y2: bottom }));
  const better = axis.sign > 0 ? "more is better \u2192" : "\u2190 less is better";
  grid.push(element("text", { class: "title", x: (left + right) / 2, y: height - 10, "text-anchor": "middle" }, `${withUnit(axis)}, ${better}`));
  grid.push(element("text", { class: "title", transform: `translate(14 ${(top + bottom) / 2}) rotate(-90)`, "text-anchor": "middle" }, withUnit(HEIGHTS[state.y])));
  $("grid").replaceChildren(...grid);
  $("chart-title").textContent = `${HEIGHTS[state.y].label} against ${axis.label}`.replace(/^./, (c) => c.toUpperCase());
  drawPoints();
  const line = shown.front.map((i) => `${scale.x(shown.points[i].x).toFixed(1)} ${scale.y(shown.points[i].y).toFixed(1)}`);
  $("front").setAttribute("d", line.length > 1 ? `M${line.join("L")}` : "");
}

// Elements are made anew only where other points are shown; a moved slider changes classes.
function drawPoints() {
  const { points } = shown;
  const key = `${state.device} ${state.style} ${everyDesign()} ${[...state.hidden]} ${points.length} ${state.x}`;
  if (key !== drawnKey) {
    const parts = points.map((q, i) => `<path data-i="${i}" d="${SHAPES[shapeOf(q.p)]}"/>`);
    $("points").innerHTML = parts.join("");
    elements = [...$("points").children];
    drawnKey = key;
  }
  const dense = points.length > DENSE, size = dense ? " scale(0.65)" : "";
  $("points").classList.toggle("dense", dense);
  points.forEach((q, i) => {
    const node = elements[i];
    const place = `translate(${scale.x(q.x).toFixed(1)} ${scale.y(q.y).toFixed(1)})${size}`;
    const look = `s${shapeOf(q.p)}${q.ok ? "" : " out"}${q.best ? " best" : ""}`;
    if (node.place !== place) node.setAttribute("transform", (node.place = place));
    if (node.look !== look) node.setAttribute("class", (node.look = look));
    const gone = state.fit && !q.ok;
    if (node.gone !== gone) node.toggleAttribute("hidden", (node.gone = gone));
  });
  drawRings();
}

// Which of the points shown is the current one: its place, or -1.
function placeOf(p) {
  if (!p) return -1;
  return shown.points.findIndex((q) => q.p.member === p.member && (!everyDesign() || q.p.i === p.i));
}

// Marks the points that are current, kept and marked; the current one is where Tab leads to.
function drawRings() {
  const rings = [], whiskers = [];
  const axis = AXES[state.x], height = HEIGHTS[state.y];
  const ring = (p, name, radius, text) => {
    const x = axis.of(p), y = height.of(p);
    if (x === null || y === null || (!shown.linear && x <= 0)) return;
    rings.push(element("circle", { class: name, cx: scale.x(x), cy: scale.y(y), r: radius }));
    if (text) rings.push(element("text", { x: scale.x(x) + 13, y: scale.y(y) - 9 }, text));
    const known = axis.error(p);
    if (name !== "marked" && known && known[0] > 1) {
      const [a, b] = [scale.x(x / known[0]), scale.x(x * known[0])], mid = scale.y(y);
      whiskers.push(element("path", { d: `M${a} ${mid - 5}v10M${a} ${mid}H${b}M${b} ${mid - 5}v10` }));
    }
  };
  for (const id of state.marked) {
    const p = pointOf(id);
    if (p) ring(p, "marked", 9);
  }
  const current = pointOf(state.current), kept = pointOf(state.kept);
  if (kept) ring(kept, "kept", 13, "A");
  if (current) ring(current, "current", 10, kept && kept !== current ? "B" : "");
  $("rings").replaceChildren(...rings);
  $("whiskers").replaceChildren(...whiskers);
  let place = placeOf(current);
  if (place < 0) place = shown.front[0] ?? (shown.points.length ? 0 : -1);
  const node = elements[place];
  if (node) {
    node.setAttribute("tabindex", "0");
    node.setAttribute("role", "button");
    node.setAttribute("aria-label", nameOf(shown.points[place]));
    if (focused && document.activeElement !== node) node.focus({ preventScroll: true });
  }
  // Last, for what loses its tabindex loses the focus.
  for (const other of $("points").querySelectorAll("[tabindex]")) {
    if (other === node) continue;
    for (const name of ["tabindex", "role", "aria-label"]) other.removeAttribute(name);
  }
}

function nameOf(q) {
  const design = everyDesign() ? `, design ${q.p.i + 1} of ${q.p.sheet.count}` : "";
  const where = q.best ? ", on the front" : q.ok ? "" : ", beyond the budget";
  return `${q.p.member.name}, ${q.p.member.title}${design}${where}`;
}

// The numbers of a point in a line.
function numbersOf(p) {
  const axis = AXES[state.x], height = HEIGHTS[state.y];
  const known = axis.error(p);
  const bar = known && known[1] !== "exact" ? ` (${known[1]})` : "";
  return `${percent(height.of(p))} % ${height.label}, ${short(axis.of(p))} ${axis.unit || axis.label}${bar}`;
}

function choosePlace(i) {
  const { p } = shown.points[i];
  update({ current: everyDesign() ? idOf(p) : p.member.name });
}

// The point that is nearest on one side: distance, with what is off the direction counted thrice.
// Of points at one place the later ones lie to the right and below, so that each can be reached.
function neighbour(from, dx, dy) {
  const x0 = scale.x(shown.points[from].x), y0 = scale.y(shown.points[from].y);
  let best = -1, least = Infinity;
  shown.points.forEach((q, i) => {
    if (state.fit && !q.ok) return;
    const x = scale.x(q.x) - x0, y = scale.y(q.y) - y0;
    const along = x * dx + y * dy, across = Math.abs(x * dy) + Math.abs(y * dx);
    const after = (i - from) * (dx + dy);
    const same = Math.abs(x) <= 0.5 && Math.abs(y) <= 0.5;
    const far = same ? after / (2 * shown.points.length) : along + 3 * across;
    if ((same ? after > 0 : along > 0.5) && far < least) [best, least] = [i, far];
  });
  return best;
}

function keyInChart(event) {
  if (!elements.includes(event.target) || event.ctrlKey || event.altKey || event.metaKey) return;
  if (waiting) draw(); // a key before this one has moved on, and its frame is still to come
  const place = Math.max(placeOf(pointOf(state.current)), 0);
  const { front } = shown;
  const sides = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  // On the screen, the front goes from left to right.
  const ordered = [...front].sort((a, b) => shown.points[a].x - shown.points[b].x);
  const x = shown.points[place].x;
  let next = -1;
  if (event.key in sides) next = neighbour(place, ...sides[event.key]);
  else if (event.key === "Home") next = ordered[0] ?? -1;
  else if (event.key === "End") next = ordered[ordered.length - 1] ?? -1;
  else if (event.key === "PageUp") next = ordered.filter((i) => shown.points[i].x < x).pop() ?? -1;
  else if (event.key === "PageDown") next = ordered.find((i) => shown.points[i].x > x) ?? -1;
  else if (event.key === "Enter") {
    event.preventDefault();
    choosePlace(place);
    focused = false;
    draw();
    $("panel-title").focus();
    return;
  } else if (event.key === " ") {
    event.preventDefault();
    toggleMark(idOf(shown.points[place].p));
    return;
  } else return;
  event.preventDefault();
  if (next >= 0) choosePlace(next);
}

function pointerPlace(event) {
  const box = $("chart").getBoundingClientRect();
  const x = event.clientX - box.left, y = event.clientY - box.top;
  let best = -1, least = NEAR ** 2;
  shown.points.forEach((q, i) => {
    if (state.fit && !q.ok) return;
    const far = (scale.x(q.x) - x) ** 2 + (scale.y(q.y) - y) ** 2;
    if (far <= least) [best, least] = [i, far];
  });
  return best;
}

function hover(event) {
  const i = pointerPlace(event), tip = $("tip");
  tip.hidden = i < 0;
  if (i < 0) return;
  const q = shown.points[i], box = $("chart").getBoundingClientRect();
  tip.textContent = `${nameOf(q)}: ${numbersOf(q.p)}`;
  const x = scale.x(q.x), y = scale.y(q.y);
  tip.style.left = `${Math.max(0, Math.min(x + 14, box.width - tip.offsetWidth))}px`;
  tip.style.top = `${y > tip.offsetHeight + 16 ? y - tip.offsetHeight - 12 : y + 14}px`;
}

function startChart() {
  // On the box, not the group: Chromium lets a part of an SVG that listens to focus have it.
  const box = $("chart-box");
  box.addEventListener("keydown", keyInChart);
  box.addEventListener("focusin", (event) => {
    focused = true;
    const i = elements.indexOf(event.target);
    if (i >= 0 && i !== placeOf(pointOf(state.current))) choosePlace(i);
  });
  box.addEventListener("focusout", () => { focused = false; });
  $("chart").addEventListener("pointermove", hover);
  $("chart").addEventListener("pointerleave", () => { $("tip").hidden = true; });
  $("chart").addEventListener("click", (event) => {
    const i = pointerPlace(event);
    if (i < 0) return;
    choosePlace(i);
    draw();
    elements[i].focus({ preventScroll: true });
  });
  new ResizeObserver(() => drawChart()).observe($("chart-box"));
}
