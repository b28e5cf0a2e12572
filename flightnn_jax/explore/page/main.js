// The controls, and what follows from a change.

let waiting = false;
let whole = true; // whether the points that are shown may be others

// Every change goes through here: it is drawn once before the next frame.
function update(change) {
  // Where a network stands for its designs, the chosen design of it is the one that is shown.
  const stepped = !everyDesign() && `${state.current} ${change.current}`.includes("@");
  const light = Object.keys(change).every((key) => key === "current" || key === "kept");
  if (!light || !Object.keys(change).length || stepped) whole = true;
  Object.assign(state, change);
  if (waiting) return;
  waiting = true;
  requestAnimationFrame(draw);
}

function draw() {
  waiting = false;
  if (whole) {
    whole = false;
    document.documentElement.dataset.theme = state.theme;
    shown = computed();
    drawControls();
    drawChart();
    drawTable();
  } else {
    drawRings();
    drawCurrentRow();
  }
  drawPanel();
  drawStatus();
  writeAddress();
}

let writing;

// Browsers refuse an address that changes too often, as it would while a slider moves.
function writeAddress() {
  const known = location.hash;
  clearTimeout(writing);
  writing = setTimeout(() => {
    const changed = location.hash === known && known !== toHash(); // not by the user meanwhile
    if (changed) history.replaceState(null, "", toHash());
  }, 200);
}

function drawStatus() {
  const { points, unfit } = shown;
  const ok = points.filter((q) => q.ok);
  const networks = new Set(ok.map((q) => q.p.member)).size;
  const designs = everyDesign() ? `, ${short(ok.length)} designs` : "";
  const parts = [`${short(networks)} of ${short(members.length)} networks meet the budget${designs}`];
  let best = null;
  for (const q of ok) {
    const axis = AXES[state.x], more = best && q.p.member.judged - best.p.member.judged;
    if (!best || more > 0 || (more === 0 && axis.sign * (q.x - best.x) > 0)) best = q;
  }
  if (best) parts.push(`best by validation: ${best.p.member.name}, ${percent(best.p.member.test)} % on the test split`);
  if (unfit) parts.push(`${unfit} have no design in this style on this device`);
  if (state.all && !everyDesign()) parts.push("designs of a network do not differ on this axis");
  setText($("status"), `${parts.join("; ")}.`);
  const p = pointOf(state.current);
  setText($("named"), p ? `${p.member.name}: ${numbersOf(p)}` : "");
}

// A live region is spoken when it is written to, so only changes are.
function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

// Ends of a budget's slider: all that the device and the style have.
const spans = new Map();
function spanOf(key) {
  const name = `${state.device} ${state.style} ${key}`;
  if (!spans.has(name)) {
    let low = Infinity, high = 0;
    for (const of of pointsOf(state.device, state.style)) {
      for (const p of of.designs.length ? of.designs : [of.plain]) {
        const value = AXES[key].of(p);
        if (value > 0 && Number.isFinite(value)) [low, high] = [Math.min(low, value), Math.max(high, value)];
      }
    }
    spans.set(name, low <= high ? [low / 1.001, high * 1.001] : null);
  }
  return spans.get(name);
}

const STEPS = 200;

function drawControls() {
  for (const id of ["x", "y", "theme"]) $(id).value = state[id];
  for (const id of ["device", "style"]) $(id).value = String(state[id]);
  for (const id of ["all", "linear", "fit"]) $(id).checked = state[id];
  const device = devices[state.device];
  if (device) $("device-text").textContent = `${device.name}, ${device.clock_mhz} MHz: ${RESOURCES.map((r) => `${short(device[r])} ${r}`).join(", ")}`;
  for (const box of $("schemes").querySelectorAll("input")) box.checked = !state.hidden.has(box.value);
  for (const { key, least } of BOUNDS) {
    const range = $(`range-${key}`), number = $(`number-${key}`), span = spanOf(key), bound = state.bounds[key];
    range.disabled = number.disabled = !span;
    if (document.activeElement !== number) number.value = bound === undefined ? "" : Number(bound.toPrecision(4));
    const free = least ? 0 : STEPS;
    const where = span && bound > 0 ? (STEPS * Math.log(bound / span[0])) / Math.log(span[1] / span[0]) : free;
    if (document.activeElement !== range) range.value = bound === undefined ? free : Math.max(0, Math.min(STEPS, where));
    const unit = AXES[key].unit;
    range.setAttribute("aria-valuetext", bound === undefined ? "no bound" : `${short(bound)} ${unit}`);
  }
}

function setBound(key, value) {
  const bounds = { ...state.bounds };
  if (value === null || !Number.isFinite(value)) delete bounds[key];
  else bounds[key] = value;
  update({ bounds, page: 0 });
}

function startBounds() {
  for (const { key, least } of BOUNDS) {
    const axis = AXES[key], label = `${least ? "at least" : "at most"}, ${withUnit(axis)}`;
    const range = html("input", { type: "range", id: `range-${key}`, min: 0, max: STEPS, step: 1, "aria-label": label });
    const number = html("input", { type: "number", id: `number-${key}`, min: 0, step: "any", "aria-label": label, placeholder: "no bound" });
    range.addEventListener("input", () => {
      const span = spanOf(key), value = Number(range.value);
      const free = value === (least ? 0 : STEPS);
      setBound(key, free ? null : Number((span[0] * (span[1] / span[0]) ** (value / STEPS)).toPrecision(3)));
    });
    number.addEventListener("input", () => setBound(key, number.value === "" ? null : Number(number.value)));
    $("bounds").append(html("div", { class: "bound" }, html("span", {}, label), range, number));
  }
  $("reset").addEventListener("click", () => update({ bounds: {} }));
}

function startControls() {
  const options = (id, pairs) => $(id).replaceChildren(...pairs.map(([value, label]) => html("option", { value }, label)));
  options("x", Object.entries(AXES).map(([key, axis]) => [key, withUnit(axis)]));
  options("y", Object.entries(HEIGHTS).map(([key, axis]) => [key, withUnit(axis)]));
  options("device", devices.map((device, i) => [i, device.name]));
  options("style", styles.map((style, i) => [i, style]));
  for (const id of ["x", "y", "theme"]) $(id).addEventListener("change", () => update({ [id]: $(id).value }));
  for (const id of ["device", "style"]) $(id).addEventListener("change", () => update({ [id]: Number($(id).value), page: 0 }));
  for (const id of ["all", "linear", "fit"]) $(id).addEventListener("change", () => update({ [id]: $(id).checked, page: 0 }));
  schemes.forEach((scheme, i) => {
    const count = members.filter((m) => m.scheme === scheme.name).length;
    if (!count) return;
    const box = html("input", { type: "checkbox", value: scheme.name });
    box.addEventListener("change", () => {
      const hidden = new Set(state.hidden);
      if (box.checked) hidden.delete(scheme.name);
      else hidden.add(scheme.name);
      update({ hidden, page: 0 });
    });
    const shape = element("svg", { viewBox: "-8 -8 16 16", "aria-hidden": "true" });
    shape.append(element("path", { class: `s${i % SHAPES.length}`, d: SHAPES[i % SHAPES.length] }));
    $("schemes").append(html("label", {}, box, shape, `${scheme.label} (${count})`));
  });
  startBounds();
}

function startSummary() {
  $("made").textContent = DATA.made;
  const parts = DATA.summary.map(({ setting, tables }) => [
    html("h2", {}, setting),
    ...tables.map((rows) => tableOf(rows[0], rows.slice(1), rows[0][0])),
  ]);
  $("summary").replaceChildren(...parts.flat(), html("p", { class: "hint" }, DATA.summary_note));
  $("notes").replaceChildren(...DATA.notes.map((note) => html("p", {}, note)));
}

function startKeys() {
  const help = $("help");
  $("help-open").addEventListener("click", () => help.showModal());
  document.addEventListener("keydown", (event) => {
    if (help.open || event.ctrlKey || event.altKey || event.metaKey) return;
    const typing = event.target.matches("select, input:not([type=checkbox]):not([type=range])");
    if (event.key === "Escape" && $("panel").contains(event.target)) {
      $("points").querySelector("[tabindex]")?.focus();
    } else if (typing) return;
    else if (event.key === "?") help.showModal();
    else if (event.key === "c") toggleKept();
    else if (event.key === "[") step(1);
    else if (event.key === "]") step(-1);
  });
}

fromHash(location.hash);
startControls();
startChart();
startTable();
startSummary();
startKeys();
addEventListener("hashchange", () => {
  fromHash(location.hash);
  whole = true;
  draw();
});
draw();
document.documentElement.dataset.ready = "yes";
