// The table with the same points as the chart, and the files that it is saved as.

const ROWS = 50; // on a page

const COLUMNS = [
  { key: "name", label: "network", of: (p) => p.member.name, text: true },
  { key: "scheme", label: "scheme", of: (p) => p.member.title, text: true },
  { key: "seed", label: "seed", of: (p) => p.member.seed },
  { key: "test", label: "test (%)", of: (p) => p.member.test, show: percent },
  { key: "validation", label: "validation (%)", of: (p) => p.member.validation, show: percent },
  { key: "mean_k", label: "mean k", of: AXES.mean_k.of },
  { key: "kb", label: "kB", of: AXES.kb.of },
  { key: "nj", label: "nJ", of: AXES.nj.of },
  { key: "batch", label: "batch", of: column("batch") },
  { key: "ips", label: "images/s", of: AXES.ips.of },
  { key: "ms", label: "ms", of: AXES.ms.of },
  ...RESOURCES.map((name) => ({ key: name, label: name, of: AXES[name].of })),
  { key: "share", label: "of device (%)", of: AXES.share.of },
  { key: "front", label: "front", of: (p, q) => (q.best ? "yes" : ""), text: true },
];
// What a file has besides: it must tell a point without the page.
const FILE_COLUMNS = [
  ...COLUMNS, { key: "wired", of: AXES.wired.of },
  { key: "device", of: () => devices[state.device]?.name ?? "" },
  { key: "style", of: () => styles[state.style] ?? "" },
  { key: "rounds", of: (p) => (p.sheet ? p.member.layers.map((_, row) => stepOf(p, row).folding).join(" ") : "") },
  { key: "workdir", of: (p) => p.member.workdir },
];

function sortedRows() {
  const by = COLUMNS.find((c) => c.key === state.sort) || COLUMNS[0];
  const rows = shown.points.filter((q) => q.ok);
  const order = state.descending ? -1 : 1;
  const keyed = rows.map((q) => [by.of(q.p, q) ?? (by.text ? "" : -Infinity), q.p.member.name, q]);
  keyed.sort(([u, a], [v, b]) => order * (u < v ? -1 : u > v ? 1 : 0) || (a < b ? -1 : a > b ? 1 : 0));
  return keyed.map(([, , q]) => q);
}

function drawTable() {
  const rows = sortedRows();
  const pages = Math.max(1, Math.ceil(rows.length / ROWS));
  state.page = Math.min(state.page, pages - 1);
  const some = rows.slice(state.page * ROWS, (state.page + 1) * ROWS);
  for (const button of $("table").querySelectorAll("thead button")) {
    const sorted = button.dataset.key === state.sort;
    button.parentNode.setAttribute("aria-sort", sorted ? (state.descending ? "descending" : "ascending") : "none");
    const arrow = sorted ? (state.descending ? " \u25bc" : " \u25b2") : "";
    button.textContent = COLUMNS.find((c) => c.key === button.dataset.key).label + arrow;
  }
  const held = document.activeElement?.closest("#table tbody") ? document.activeElement.dataset.id : null;
  $("table").tBodies[0].replaceChildren(...some.map(rowOf));
  drawCurrentRow();
  if (held) [...$("table").querySelectorAll("[data-id]")].find((n) => n.dataset.id === held)?.focus();
  const first = state.page * ROWS;
  $("rows").textContent = rows.length ? `rows ${short(first + 1)} to ${short(first + some.length)} of ${short(rows.length)}` : "no point meets the budget";
  $("before").disabled = state.page === 0;
  $("after").disabled = state.page >= pages - 1;
  const marked = markedPoints().length;
  $("what-is-saved").textContent = marked ? `saves the ${marked} marked` : `saves all ${short(rows.length)} of the table; mark some to save only these`;
  $("unmark").disabled = !state.marked.size;
}

// Shows which row is the current point.
function drawCurrentRow() {
  const current = pointOf(state.current);
  for (const row of $("table").tBodies[0].rows) {
    const same = current && (everyDesign() ? row.dataset.point === idOf(current) : row.dataset.network === current.member.name);
    row.classList.toggle("current", Boolean(same));
  }
}

function rowOf(q) {
  const { p } = q, id = idOf(p);
  const box = html("input", { type: "checkbox", "aria-label": `mark ${nameOf(q)}`, "data-id": `mark ${id}` });
  box.checked = state.marked.has(id);
  box.addEventListener("change", () => toggleMark(id));
  const cells = COLUMNS.map((c, i) => {
    const value = c.of(p, q);
    if (i === 0) {
      const button = html("button", { type: "button", "data-id": id }, value);
      button.addEventListener("click", () => update({ current: everyDesign() ? id : p.member.name }));
      return html("td", { class: "left" }, button);
    }
    const text = value === null ? "" : c.show ? c.show(value) : c.text ? value : short(value);
    return html("td", c.text ? { class: "left" } : {}, text);
  });
  return html("tr", { "data-point": id, "data-network": p.member.name }, html("td", {}, box), ...cells);
}

function startTable() {
  const heads = COLUMNS.map((c) => {
    const button = html("button", { type: "button", "data-key": c.key }, c.label);
    button.addEventListener("click", () => {
      const again = state.sort === c.key;
      update({ sort: c.key, descending: again ? !state.descending : !c.text, page: 0 });
    });
    return html("th", c.text ? { scope: "col", class: "left" } : { scope: "col" }, button);
  });
  $("table").tHead.replaceChildren(html("tr", {}, html("th", { scope: "col" }, "mark"), ...heads));
  $("before").addEventListener("click", () => update({ page: state.page - 1 }));
  $("after").addEventListener("click", () => update({ page: state.page + 1 }));
  $("csv").addEventListener("click", () => save("points.csv", "text/csv", csvOf(records())));
  $("json").addEventListener("click", () => save("points.json", "application/json", `${JSON.stringify(records(), null, 1)}\n`));
  $("unmark").addEventListener("click", () => { state.marked.clear(); update({}); });
}

function markedPoints() {
  const rows = [];
  for (const id of state.marked) {
    const p = pointOf(id);
    if (p) rows.push(shown.points.find((q) => q.p === p) || { p, best: false });
  }
  return rows;
}

// The selection as objects: what is marked, or everything that meets the budget.
function records() {
  const marked = markedPoints();
  const rows = marked.length ? marked : sortedRows();
  return rows.map((q) => Object.fromEntries(FILE_COLUMNS.map((c) => [c.key, c.of(q.p, q)])));
}

function csvOf(rows) {
  const quoted = (value) => {
    const text = value === null ? "" : String(value);
    return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  };
  const keys = FILE_COLUMNS.map((c) => c.key);
  return [keys, ...rows.map((row) => keys.map((key) => row[key]))].map((line) => line.map(quoted).join(",")).join("\r\n") + "\r\n";
}

function save(name, type, text) {
  const address = URL.createObjectURL(new Blob([text], { type }));
  const link = html("a", { href: address, download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(address), 10_000);
}
