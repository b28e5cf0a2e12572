// The data of the page, and what follows from it and from what is chosen: points, front, state.

const $ = (id) => document.getElementById(id);
const DATA = JSON.parse($("data").textContent);
const { members, devices, styles, schemes } = DATA;
const RESOURCES = ["BRAM", "DSP", "FF", "LUT"];

// A column of a sheet is an array, or one number where all designs have the same.
const at = (column, i) => (Array.isArray(column) ? column[i] : column);
const column = (key) => (p) => (p.sheet ? at(p.sheet[key], p.i) : null);
const error = (key) => (p) => (p.sheet ? p.sheet.errors[key] : null);
const EXACT = [1, "exact"];

// What a point can be placed by. `of` gives the number, null where there is none; `error` the
// factor of its error and its text; `design` says whether designs of a network differ in it.
const AXES = {
  kb: { label: "weights", unit: "kB", sign: -1, of: (p) => p.member.kb, error: () => EXACT },
  nj: { label: "energy of an image", unit: "nJ", sign: -1, of: (p) => p.member.nj, error: (p) => p.member.nj_error },
  wired: { label: "hard-wired on any FPGA", unit: "LUT", sign: -1, of: (p) => p.member.wired, error: (p) => p.member.wired_error },
  mean_k: { label: "mean k", unit: "", sign: -1, of: (p) => p.member.mean_k, error: () => EXACT },
  ips: { label: "throughput", unit: "images/s", sign: 1, design: true, of: column("ips"), error: error("ips") },
  ms: { label: "latency of a batch", unit: "ms", sign: -1, design: true, of: column("ms"), error: error("ms") },
  share: { label: "share of the device", unit: "%", sign: -1, design: true, of: share, error: () => null },
  LUT: { label: "tables", unit: "LUT", sign: -1, design: true, of: column("LUT"), error: error("LUT") },
  FF: { label: "flip-flops", unit: "FF", sign: -1, design: true, of: column("FF"), error: error("FF") },
  BRAM: { label: "memory blocks", unit: "BRAM", sign: -1, design: true, of: column("BRAM"), error: error("BRAM") },
  DSP: { label: "multiplier blocks", unit: "DSP", sign: -1, design: true, of: column("DSP"), error: error("DSP") },
};
const HEIGHTS = {
  test: { label: "test accuracy", unit: "%", of: (p) => p.member.test },
  validation: { label: "validation accuracy", unit: "%", of: (p) => p.member.validation },
};
const BOUNDS = [
  { key: "kb", least: false }, { key: "nj", least: false }, { key: "ips", least: true },
  { key: "ms", least: false }, { key: "LUT", least: false }, { key: "share", least: false },
];

function share(p) {
  if (!p.sheet) return null;
  const device = devices[p.sheet.device];
  const parts = RESOURCES.map((name) => {
    const needed = at(p.sheet[name], p.i);
    return needed ? needed / device[name] : 0;
  });
  return 100 * Math.max(...parts);
}

const withUnit = (axis) => (axis.unit ? `${axis.label} (${axis.unit})` : axis.label);

// A number for people: three digits, or whole with commas.
function short(value) {
  if (value === null || value === undefined) return "";
  if (Math.abs(value) >= 1000 || Number.isInteger(value)) {
    return Math.round(value).toLocaleString("en-US");
  }
  return String(Number(value.toPrecision(3)));
}
const percent = (value) => (value === null ? "" : value.toFixed(2));

const FIRST = members.some((m) => m.nj !== null) ? "nj" : "kb";
const state = {
  x: FIRST, y: "test", device: 0, style: 0,
  all: false, linear: false, fit: false, theme: "auto",
  hidden: new Set(), bounds: {}, marked: new Set(),
  current: null, kept: null, sort: "test", descending: true, page: 0,
};

// A point is a network and, where a device and a style are known, one of its designs. Those of one
// device and style are made once.
const made = new Map();
function pointsOf(device, style) {
  const key = `${device} ${style}`;
  if (!made.has(key)) {
    made.set(key, members.map((member) => {
      const sheet = member.sheets.find((s) => s.device === device && s.style === style);
      const count = sheet && !sheet.reason ? sheet.count : 0;
      const designs = Array.from({ length: count }, (_, i) => ({ member, sheet, i }));
      const reason = sheet ? sheet.reason : "";
      return { plain: { member, sheet: null, i: -1, reason }, designs, reason };
    }));
  }
  return made.get(key);
}

const idOf = (p) => (p.i < 0 ? p.member.name : `${p.member.name}@${p.i}`);
function pointOf(id) {
  if (!id) return null;
  const cut = id.lastIndexOf("@");
  const known = pointsOf(state.device, state.style);
  let of = known.find((one) => one.plain.member.name === id);
  if (of) return chosenOf(of) || of.plain;
  of = known.find((one) => one.plain.member.name === id.slice(0, cut));
  return of ? of.designs[Number(id.slice(cut + 1))] || chosenOf(of) || of.plain : null;
}

function meets(p) {
  return BOUNDS.every(({ key, least }) => {
    const bound = state.bounds[key];
    if (bound === undefined) return true;
    const value = AXES[key].of(p);
    return value !== null && (least ? value >= bound : value <= bound);
  });
}

// The design that stands for a network: of those that meet the budget the best on the axis across;
// where that does not tell, the smallest that is fast enough, or the fastest if no speed is asked.
function chosenOf(of) {
  const axis = AXES[state.x];
  const fast = state.bounds.ips === undefined;
  let best = null, rank = null;
  for (const p of of.designs) {
    const first = axis.design ? -axis.sign * axis.of(p) : fast ? -AXES.ips.of(p) : AXES.share.of(p);
    const now = [meets(p) ? 0 : 1, first, AXES.share.of(p)];
    const before = rank === null ? -1 : now.findIndex((v, i) => v !== rank[i]);
    if (rank === null || (before >= 0 && now[before] < rank[before])) [best, rank] = [p, now];
  }
  return best;
}

// The design of the network to which a user went by hand.
function steppedOf(of) {
  const start = `${of.plain.member.name}@`;
  const stepped = state.current !== null && state.current.startsWith(start);
  return stepped ? of.designs[Number(state.current.slice(start.length))] : undefined;
}

// Whether every design is a point of its own; on other axes those of a network are one place.
const everyDesign = () => state.all && Boolean(AXES[state.x].design);

// What is shown: {points: [{p, x, y, ok, best}], front: [places, the cheapest first], unfit,
// linear: whether the axis across is, as it must be for numbers that are 0}.
function computed() {
  const axis = AXES[state.x], height = HEIGHTS[state.y], points = [];
  let unfit = 0;
  for (const of of pointsOf(state.device, state.style)) {
    if (state.hidden.has(of.plain.member.scheme)) continue;
    if (!of.designs.length && of.reason) unfit += 1;
    const shown = everyDesign() ? of.designs : [steppedOf(of) || chosenOf(of) || of.plain];
    for (const p of shown) {
      const x = axis.of(p), y = height.of(p);
      if (x === null || y === null) continue;
      points.push({ p, x, y, ok: meets(p), best: false });
    }
  }
  const order = points.map((_, i) => i).filter((i) => points[i].ok);
  const judged = (i) => points[i].p.member.judged;
  order.sort((a, b) => -axis.sign * (points[a].x - points[b].x) || judged(b) - judged(a));
  const front = [];
  let most = -1;
  for (const i of order) {
    if (judged(i) > most) {
      most = judged(i);
      front.push(i);
      points[i].best = true;
    }
  }
  return { points, front, unfit, linear: state.linear || points.some((q) => q.x <= 0) };
}

// The address holds what is chosen.
function toHash() {
  const words = new URLSearchParams();
  words.set("x", state.x);
  words.set("y", state.y);
  words.set("device", devices.length ? devices[state.device].name : "");
  words.set("style", styles.length ? styles[state.style] : "");
  for (const flag of ["all", "linear", "fit"]) if (state[flag]) words.set(flag, "1");
  if (state.theme !== "auto") words.set("theme", state.theme);
  for (const name of state.hidden) words.append("hide", name);
  for (const [key, value] of Object.entries(state.bounds)) words.set(`budget_${key}`, value);
  if (state.current) words.set("point", state.current);
  if (state.kept) words.set("kept", state.kept);
  if (state.marked.size <= 50) for (const id of state.marked) words.append("mark", id);
  return `#${words}`;
}

function fromHash(hash) {
  const words = new URLSearchParams(hash.replace(/^#/, ""));
  state.x = words.get("x") in AXES ? words.get("x") : FIRST;
  state.y = words.get("y") in HEIGHTS ? words.get("y") : "test";
  state.device = Math.max(0, devices.findIndex((d) => d.name === words.get("device")));
  state.style = Math.max(0, styles.indexOf(words.get("style")));
  for (const flag of ["all", "linear", "fit"]) state[flag] = words.get(flag) === "1";
  const theme = words.get("theme");
  state.theme = ["light", "dark"].includes(theme) ? theme : "auto";
  state.hidden = new Set(words.getAll("hide"));
  state.bounds = {};
  for (const { key } of BOUNDS) {
    const value = Number(words.get(`budget_${key}`) || NaN);
    if (Number.isFinite(value)) state.bounds[key] = value;
  }
  state.current = words.get("point");
  state.kept = words.get("kept");
  state.marked = new Set(words.getAll("mark"));
}
