// The details of a point, and two points beside each other.

function html(name, attributes, ...children) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  node.append(...children.filter((child) => child !== null));
  return node;
}

function tableOf(head, rows, caption) {
  const cell = (name, text, first) => html(name, first ? { scope: name === "th" ? "col" : "row" } : {}, text);
  const body = rows.map((row) => html("tr", {}, html("th", { scope: "row" }, row[0]), ...row.slice(1).map((t) => cell("td", t))));
  const table = html("table", {}, html("thead", {}, html("tr", {}, ...head.map((t) => html("th", { scope: "col" }, t)))), html("tbody", {}, ...body));
  return html("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": caption }, table);
}

const barOf = (known) => (known && known[1] !== "exact" ? known[1] : "");

// [name, number, unit, error] of a point, for lists and comparisons.
function factsOf(p) {
  const { member } = p;
  const rows = [
    ["test accuracy", member.test, "%", ""],
    ["validation accuracy", member.validation, "%", ""],
  ];
  for (const key of ["mean_k", "kb", "nj", "wired", "ips", "ms", "LUT", "FF", "BRAM", "DSP", "share"]) {
    const axis = AXES[key], value = axis.of(p);
    if (value !== null) rows.push([axis.label, value, axis.unit, barOf(axis.error(p))]);
  }
  return rows;
}

const told = (name, value) => (name.endsWith("accuracy") ? percent(value) : short(value));

function facts(p) {
  return tableOf(["", "value", "", "error"], factsOf(p).filter((r) => r[1] !== null).map(([name, value, unit, bar]) => [name, told(name, value), unit, bar]), "figures");
}

// Shares of filters at each k, a bar for each layer.
function kBars(members_) {
  const rows = [];
  const layers = members_[0].layers.map((layer) => layer.name);
  for (const name of layers) {
    members_.forEach((member, which) => {
      const layer = member.layers.find((one) => one.name === name);
      if (layer && layer.share) rows.push([members_.length > 1 ? `${name} ${"AB"[which]}` : name, layer]);
    });
  }
  if (!rows.length) return null;
  const start = 118, end = 330, step = 20;
  const svg = element("svg", { class: "bars", viewBox: `0 0 400 ${rows.length * step + 4}`, role: "img", "aria-label": "share of the filters at each k by layer; the table below has the numbers" });
  rows.forEach(([name, layer], row) => {
    const y = row * step + 2;
    svg.append(element("text", { x: start - 8, y: y + 12, "text-anchor": "end" }, name));
    let x = start;
    layer.share.forEach((part, k) => {
      const wide = part * (end - start);
      if (part) svg.append(element("rect", { class: `k${Math.min(k, 3)}`, x, y, width: wide, height: step - 5 }));
      x += wide;
    });
    svg.append(element("text", { x: end + 8, y: y + 12 }, `k ${layer.mean_k.toFixed(2)}`));
  });
  const note = html("p", { class: "hint" }, "Empty: k = 0. Pale: k = 1. Full: k = 2.");
  return html("div", {}, html("h3", {}, "k by layer"), svg, note);
}

const QUANTITIES = [
  ["nj", "energy of an image (nJ)"], ["cycles", "cycles of a batch"], ["LUT", "LUT"], ["BRAM", "BRAM"],
  ["kb", "weights (kB)"], ["products", "products"],
];
let quantity = "nj";

// [value, error] of a layer; of its step where the design decides.
function layerCost(p, row, key) {
  const layer = p.member.layers[row];
  if (key === "nj") return [layer.nj, p.member.nj_error];
  if (key === "kb" || key === "products") return [layer[key], EXACT];
  if (!p.sheet) return [null, null];
  const step = stepOf(p, row);
  return [step[key], p.sheet.errors[key === "cycles" ? "cycles" : `layer_${key}`]];
}

function stepOf(p, row) {
  const [folding, cycles, lut, bram] = p.sheet.steps[row][at(p.sheet.picks[row], p.i)];
  return { folding, cycles, LUT: lut, BRAM: bram };
}

function costBars(p) {
  const known = QUANTITIES.filter(([key]) => p.member.layers.some((_, row) => layerCost(p, row, key)[0] !== null));
  if (!known.length) return null;
  if (!known.some(([key]) => key === quantity)) quantity = known[0][0];
  const select = html("select", { id: "quantity" }, ...known.map(([key, label]) => html("option", { value: key }, label)));
  select.value = quantity;
  const box = html("div", { id: "cost-bars" });
  const fill = () => box.replaceChildren(barsOf(p, quantity));
  select.addEventListener("change", () => { quantity = select.value; fill(); });
  fill();
  return html("div", {}, html("h3", {}, "Cost by layer"), html("label", {}, "of ", select), box);
}

function barsOf(p, key) {
  const start = 118, end = 320, step = 20;
  const costs = p.member.layers.map((layer, row) => [layer.name, ...layerCost(p, row, key)]);
  const factor = Math.max(...costs.map(([, , known]) => (known && known[0]) || 1));
  const top = Math.max(...costs.map(([, value]) => (value || 0) * Math.min(factor, 3))) || 1;
  const label = QUANTITIES.find(([name]) => name === key)[1];
  const svg = element("svg", { class: "bars", viewBox: `0 0 400 ${costs.length * step + 4}`, role: "img", "aria-label": `${label} by layer; the table below has the numbers` });
  costs.forEach(([name, value, known], row) => {
    const y = row * step + 2, wide = ((value || 0) / top) * (end - start);
    svg.append(element("text", { x: start - 8, y: y + 12, "text-anchor": "end" }, name));
    svg.append(element("rect", { class: "bar", x: start, y, width: wide, height: step - 5 }));
    if (known && known[0] > 1) {
      const a = start + wide / known[0], b = Math.min(start + wide * known[0], end), mid = y + 7.5;
      svg.append(element("path", { class: "whisker", d: `M${a} ${mid - 4}v8M${a} ${mid}H${b}M${b} ${mid - 4}v8` }));
    }
    svg.append(element("text", { x: end + 8, y: y + 12 }, short(value)));
  });
  const bars = new Set(costs.map(([, , known]) => (known ? known[1] : "")).filter(Boolean));
  return html("div", {}, svg, html("p", { class: "hint" }, `error: ${[...bars].join(", ") || "none is known"}`));
}

function layerTable(p) {
  const head = ["layer", "filters", "mean k"];
  const certified = p.member.layers.some((layer) => layer.widths);
  if (certified) head.push("sum, bits", "affine, bits");
  head.push("products", "kB", "nJ");
  if (p.sheet) head.push("rounds", "cycles", "LUT", "BRAM");
  const rows = p.member.layers.map((layer, row) => {
    const cells = [layer.name, short(layer.filters), layer.mean_k === null ? "" : layer.mean_k.toFixed(2)];
    if (certified) cells.push(...(layer.widths || ["", ""]).map(short));
    cells.push(short(layer.products), short(layer.kb), short(layer.nj));
    if (p.sheet) {
      const step = stepOf(p, row);
      cells.push(short(step.folding), short(step.cycles), short(step.LUT), short(step.BRAM));
    }
    return cells;
  });
  const proof = certified
    ? "Widths are those of the certificate of its integers: no input overflows them."
    : "Not lowered to integers: widths are those of the worst weights.";
  return html("div", {}, html("h3", {}, "Layers"), tableOf(head, rows, "layers"), html("p", { class: "hint" }, proof));
}

function codeOf(title, lines) {
  if (!lines.length) return null;
  const text = html("pre", { tabindex: "0" }, lines.join("\n"));
  const copy = html("button", { type: "button", class: "no-print" }, "Copy");
  copy.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(text.textContent);
      copy.textContent = "Copied";
    } catch {
      getSelection().selectAllChildren(text);
      copy.textContent = "Selected: copy by Ctrl+C";
    }
  });
  return html("div", {}, html("h3", {}, title), text, copy);
}

function designTools(p) {
  if (!p.sheet) return html("p", {}, p.reason || "");
  const { sheet, i } = p;
  const device = devices[sheet.device];
  const text = `Design ${i + 1} of ${sheet.count} on ${device.name} at ${device.clock_mhz} MHz, style ${styles[sheet.style]}: batch ${at(sheet.batch, i)}, rounds ${p.member.layers.map((_, row) => stepOf(p, row).folding).join(" ")}.`;
  const go = (label, by) => {
    const button = html("button", { type: "button" }, label);
    button.disabled = !(i + by in Array.from({ length: sheet.count }));
    button.addEventListener("click", () => step(by));
    return button;
  };
  const tools = html("div", { class: "row no-print" }, go("Slower", 1), go("Faster", -1));
  return html("div", {}, html("h3", {}, "Design"), html("p", {}, text), tools, html("p", { class: "hint" }, DATA.notes_of_styles[styles[sheet.style]] || ""));
}

// Another design of the current network: later ones are slower.
function step(by) {
  const p = pointOf(state.current);
  if (p && p.sheet && p.i + by >= 0 && p.i + by < p.sheet.count) update({ current: `${p.member.name}@${p.i + by}` });
}

function details(p) {
  const { member } = p;
  const seeds = member.seeds ? `; over ${member.seeds.count} seeds ${percent(member.seeds.mean)} \u00b1 ${percent(member.seeds.error)} %` : "";
  const verilog = member.verilog
    ? `${member.verilog.files} files, ${short(member.verilog.lines)} lines, ${short(member.verilog.bytes / 1000)} kB in ${member.verilog.folder}`
    : "none was made below its directory";
  return [
    html("p", {}, `${member.title}, seed ${member.seed}: ${percent(member.test)} % on the test split${seeds}.`),
    html("p", { class: "hint" }, member.setting),
    facts(p), designTools(p), kBars([member]), costBars(p), layerTable(p),
    html("p", {}, html("strong", {}, "Verilog: "), verilog),
    codeOf("Made by", member.made), codeOf("Build it", member.build),
  ];
}

function comparison(a, b) {
  const others = new Map(factsOf(b).map((row) => [row[0], row]));
  const rows = [];
  for (const [name, value, unit, bar] of factsOf(a)) {
    const other = others.get(name);
    if (value === null || !other || other[1] === null) continue;
    const ratio = name.endsWith("accuracy")
      ? `${other[1] >= value ? "+" : "\u2212"}${percent(Math.abs(other[1] - value))}`
      : value ? `\u00d7${short(other[1] / value)}` : "";
    rows.push([name + (unit ? ` (${unit})` : ""), told(name, value), told(name, other[1]), ratio, bar]);
  }
  return [
    html("p", {}, `A: ${a.member.name}, ${a.member.title}. B: ${b.member.name}, ${b.member.title}.`),
    tableOf(["", "A", "B", "B to A", "error"], rows, "comparison"),
    kBars([a.member, b.member]),
  ];
}

function drawPanel() {
  const p = pointOf(state.current), kept = pointOf(state.kept);
  const title = $("panel-title"), body = $("panel-body");
  if (!p) {
    title.textContent = "No point is chosen";
    body.replaceChildren(html("p", {}, "Choose a point in the chart or a name in the table."));
    return;
  }
  const two = kept && idOf(kept) !== idOf(p);
  title.textContent = two ? `A ${kept.member.name} and B ${p.member.name}` : p.member.name;
  const held = Boolean(kept);
  const keep = html("button", { type: "button", id: "keep", "aria-pressed": String(held) }, held ? "Stop comparing" : "Compare with others");
  keep.addEventListener("click", toggleKept);
  const mark = html("button", { type: "button", id: "mark", "aria-pressed": String(state.marked.has(idOf(p))) }, state.marked.has(idOf(p)) ? "Marked to be saved" : "Mark to be saved");
  mark.addEventListener("click", () => toggleMark(idOf(p)));
  const tools = html("div", { class: "row no-print" }, keep, mark);
  const hint = held && !two ? html("p", { class: "hint" }, "This point is A. Choose another one.") : null;
  const had = document.activeElement && body.contains(document.activeElement) ? document.activeElement.id || document.activeElement.textContent : null;
  body.replaceChildren(tools, ...[hint, ...(two ? comparison(kept, p) : details(p))].filter((part) => part !== null));
  // What held the focus has been made anew.
  if (had) [...body.querySelectorAll("button, select")].find((n) => n.id === had || n.textContent === had)?.focus();
}

function toggleKept() {
  const p = pointOf(state.current);
  update({ kept: state.kept ? null : p ? idOf(p) : null });
}

function toggleMark(id) {
  if (!state.marked.delete(id)) state.marked.add(id);
  update({});
}
