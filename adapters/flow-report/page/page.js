// The live page: takes changes from the WebSocket and shows them. Nothing is loaded from elsewhere.

const CHART_SECONDS = 300;
const ALARMS_SHOWN = 100;
// A key that a statement goes on reporting is one alarm; after this pause it is a new one.
const ALARM_PAUSE_MS = 60_000;
// Statements with a place of their own on the page.
const PLACED = new Set(["flows_per_second", "bandwidth_per_second", "top_talkers", "top_connections",
  "highest_rates", "lowest_rates"]);

const $ = (selector, root = document) => root.querySelector(selector);

function element(name, attributes = {}, ...children) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key === "class") node.className = value;
    else node.setAttribute(key, value);
  }
  node.append(...children);
  return node;
}

// ---- numbers and times

const PREFIXES = ["", "k", "M", "G", "T", "P"];

function short(number, unit = "") {
  let power = 0;
  while (Math.abs(number) >= 1000 && power < PREFIXES.length - 1) { number /= 1000; power += 1; }
  const digits = power === 0 || Math.abs(number) >= 100 ? 0 : Math.abs(number) >= 10 ? 1 : 2;
  return `${number.toFixed(digits)} ${PREFIXES[power]}${unit}`.trimEnd();
}

const clock = (ms) => new Date(ms).toLocaleTimeString();

function age(ms) {
  const seconds = Math.max(0, Math.round((Date.now() - ms) / 1000));
  if (seconds < 90) return `${seconds} s ago`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min ago`;
  return new Date(ms).toLocaleString();
}

function shown(value, column = "") {
  if (value === null || value === undefined) return "–";
  if (typeof value !== "number") return String(value);
  if (/(^|_)(time|start|end|first|last|seen)$/.test(column) && value > 1e12) return clock(value);
  return Number.isInteger(value) ? value.toLocaleString() : value.toLocaleString(undefined, { maximumFractionDigits: 2 });
}

// ---- charts

class Chart {
  constructor(id, unit) {
    this.root = document.getElementById(id);
    this.unit = unit;
    this.points = new Map();
  }

  add(time, value) {
    this.points.set(Math.floor(time / 1000), value ?? 0);
  }

  draw() {
    if (this.points.size === 0) return;
    const last = Math.max(...this.points.keys());
    const first = last - CHART_SECONDS + 1;
    for (const second of this.points.keys()) if (second < first) this.points.delete(second);
    const values = [];
    const begin = Math.max(first, Math.min(...this.points.keys()));
    // Seconds without a delivery had no flows.
    for (let second = begin; second <= last; second += 1) values.push([second, this.points.get(second) ?? 0]);
    const peak = Math.max(...values.map(([, value]) => value), 1);
    const x = (second) => (600 * (second - first)) / (CHART_SECONDS - 1);
    const y = (value) => 156 - (150 * value) / peak;
    const line = values.map(([second, value], index) => `${index ? "L" : "M"}${x(second).toFixed(1)} ${y(value).toFixed(1)}`).join("");
    $(".line", this.root).setAttribute("d", line);
    $(".area", this.root).setAttribute("d", `${line}L600 160L${x(begin).toFixed(1)} 160Z`);
    const now = values.at(-1)[1];
    $(".now", this.root).textContent = short(now, this.unit);
    $(".from", this.root).textContent = `${Math.round(CHART_SECONDS / 60)} min ago`;
    $(".peak", this.root).textContent = `peak ${short(peak, this.unit)}`;
    $("svg", this.root).setAttribute("aria-label",
      `${$("h2", this.root).textContent}, last five minutes: now ${short(now, this.unit)}, peak ${short(peak, this.unit)}`);
  }
}

const flowsChart = new Chart("flows-chart", "");
const bitsChart = new Chart("bits-chart", "bit/s");

// ---- tables

const names = new Map();

function hostCell(address) {
  return element("td", { class: "host" }, address ?? "–");
}

function hostWithSubnet(address) {
  const cell = hostCell(address);
  const name = names.get(address);
  if (name) cell.append(element("div", { class: "subnet" }, name));
  return cell;
}

function barCell(value, most) {
  const cell = element("td", { class: "number bar" });
  const meter = element("meter", { min: 0, max: Math.max(most, 1), "aria-hidden": "true" });
  meter.value = value;
  cell.append(meter, element("span", {}, short(value, "B")));
  return cell;
}

function fill(table, rows, empty) {
  const columns = $("thead tr", table).children.length;
  const body = $("tbody", table);
  body.replaceChildren(...(rows.length ? rows : [element("tr", {}, element("td", { colspan: columns, class: "empty" }, empty))]));
}

function showTalkers({ rows }) {
  const most = Math.max(...rows.map((row) => row.total ?? 0), 1);
  fill($("#talkers"), rows.map((row) => element("tr", {}, hostCell(row.src_addr),
    element("td", { class: "subnet" }, names.get(row.src_addr) ?? "outside"), barCell(row.total ?? 0, most))), "No flows in the last minute");
}

function showConnections({ rows }) {
  const most = Math.max(...rows.map((row) => row.total ?? 0), 1);
  fill($("#connections"), rows.map((row) => element("tr", {}, hostWithSubnet(row.src_addr), hostWithSubnet(row.dst_addr),
    element("td", { class: "number" }, shown(row.flows)), barCell(row.total ?? 0, most))), "No flows in the last minute");
}

// ---- alarms

const alarms = new Map();

// The same subject found by the same statement again is the same alarm, with newer evidence.
function subject(row) {
  const addresses = Object.entries(row).filter(([column]) => /addr|host|src|victim|target/.test(column) && typeof row[column] === "string");
  return JSON.stringify(addresses.length ? addresses : row);
}

function noteAlarms(statement, time) {
  const list = $("#alarms");
  for (const row of statement.rows) {
    const key = `${statement.name} ${subject(row)}`;
    let alarm = alarms.get(key);
    if (!alarm || time - alarm.time > ALARM_PAUSE_MS) {
      alarm = { since: time, item: element("li") };
      alarms.set(key, alarm);
      $(".empty", list)?.remove();
      list.prepend(alarm.item);
      while (list.children.length > ALARMS_SHOWN) list.lastElementChild.remove();
    }
    alarm.time = time;
    const evidence = Object.entries(row).map(([column, value]) => {
      const name = typeof value === "string" ? names.get(value) : undefined;
      return `${column.replaceAll("_", " ")} ${shown(value, column)}${name ? ` (${name})` : ""}`;
    });
    alarm.item.replaceChildren(element("time", { datetime: new Date(alarm.since).toISOString() }, clock(alarm.since)),
      element("strong", {}, statement.name.replaceAll("_", " ")), " ",
      element("span", { class: "evidence" }, evidence.join(" · ")));
  }
  if (alarms.size > 10 * ALARMS_SHOWN) {
    for (const [key, alarm] of alarms) if (time - alarm.time > ALARM_PAUSE_MS) alarms.delete(key);
  }
}

// ---- probes

const seenFlows = new Map();

function flowRate(key, flows) {
  const now = performance.now();
  const past = seenFlows.get(key) ?? [];
  past.push([now, flows]);
  while (past.length > 2 && now - past[0][0] > 5000) past.shift();
  seenFlows.set(key, past);
  const [[then, before]] = past;
  return now > then ? (1000 * (flows - before)) / (now - then) : 0;
}

function showProbes(probes) {
  const rows = probes.flatMap((probe) => probe.exporters.map((exporter) => {
    const rate = flowRate(`${probe.name} ${exporter.address} ${exporter.domain} ${exporter.version}`, exporter.flows);
    const first = element("th", { scope: "row" }, probe.name);
    if (probe.area) first.append(element("div", { class: "subnet" }, probe.area));
    const lost = exporter.lost_unit ? `${shown(exporter.lost)} ${exporter.lost_unit}` : "–";
    return element("tr", {}, first,
      element("td", { class: "host" }, exporter.address, element("div", { class: "subnet" }, `domain ${exporter.domain}`)),
      element("td", {}, exporter.version),
      element("td", { class: "number" }, short(rate)),
      element("td", { class: "number" }, shown(exporter.flows)),
      element("td", { class: exporter.lost > 0 ? "number bad" : "number" }, lost),
      element("td", { class: "number" }, shown(exporter.templates)),
      element("td", { class: Date.now() - exporter.last_seen > 60_000 ? "number bad" : "number" }, age(exporter.last_seen)));
  }));
  fill($("#probes"), rows, "No exporter was heard yet");
}

// ---- statements

const panels = new Map();

function panel(name) {
  let known = panels.get(name);
  if (!known) {
    const when = element("span", { class: "when" });
    const rows = element("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": `Latest rows of ${name}` });
    const text = element("pre");
    const details = element("details", {}, element("summary", {}, element("strong", {}, name), when), rows, text);
    details.addEventListener("toggle", () => { if (details.open) drawPanel(known); });
    known = { details, when, rows, text, statement: null };
    panels.set(name, known);
    const root = $("#statements");
    const next = [...root.children].find((other) => other.dataset.name > name);
    details.dataset.name = name;
    root.insertBefore(details, next ?? null);
  }
  return known;
}

function drawPanel({ details, rows, text, statement }) {
  if (!details.open || !statement) return;
  text.textContent = statement.text.trim();
  if (!statement.rows.length) {
    rows.replaceChildren(element("p", { class: "empty" }, statement.time === null ? "Has not delivered yet" : "The latest delivery has no rows"));
    return;
  }
  const columns = Object.keys(statement.rows[0]);
  const numeric = (value) => typeof value === "number";
  const head = element("tr", {}, ...columns.map((column) =>
    element("th", { scope: "col", class: numeric(statement.rows[0][column]) ? "number" : "" }, column)));
  const body = statement.rows.slice(0, 200).map((row) => element("tr", {}, ...columns.map((column) =>
    element("td", { class: numeric(row[column]) ? "number" : "host" }, shown(row[column], column)))));
  const table = element("table", { "aria-label": `Latest rows of ${statement.name}` },
    element("thead", {}, head), element("tbody", {}, ...body));
  rows.replaceChildren(table);
}

function showStatement(statement) {
  const known = panel(statement.name);
  known.statement = statement;
  const count = statement.rows.length + statement.rows_left_out;
  known.when.textContent = statement.time === null ? "no delivery yet" : `${count} ${count === 1 ? "row" : "rows"} at ${clock(statement.time)}`;
  drawPanel(known);
  if (statement.time === null) return;
  switch (statement.name) {
    case "flows_per_second": flowsChart.add(statement.time, statement.rows[0]?.flows); flowsChart.draw(); break;
    case "bandwidth_per_second": bitsChart.add(statement.time, statement.rows[0]?.bits); bitsChart.draw(); break;
    case "top_talkers": showTalkers(statement); break;
    case "top_connections": showConnections(statement); break;
    default: if (!PLACED.has(statement.name)) noteAlarms(statement, statement.time);
  }
}

// ---- connection

async function history(name, use) {
  const answer = await fetch(`/api/statements/${name}/history`);
  if (answer.ok) for (const past of await answer.json()) use(past);
}

function connection(state, text) {
  const status = $("#connection");
  if (status.textContent !== text) status.textContent = text;
  status.dataset.state = state;
}

let wait = 500;

function connect() {
  const socket = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/ws`);
  socket.addEventListener("open", () => {
    wait = 500;
    connection("live", "Live");
    history("flows_per_second", ({ time, rows }) => flowsChart.add(time, rows[0]?.flows)).then(() => flowsChart.draw(), () => {});
    history("bandwidth_per_second", ({ time, rows }) => bitsChart.add(time, rows[0]?.bits)).then(() => bitsChart.draw(), () => {});
  });
  socket.addEventListener("message", ({ data }) => {
    const change = JSON.parse(data);
    for (const [address, name] of Object.entries(change.names ?? {})) names.set(address, name);
    if (names.size > 20_000) names.clear();
    for (const statement of change.statements ?? []) showStatement(statement);
    if (change.probes) showProbes(change.probes);
  });
  socket.addEventListener("close", () => {
    connection("lost", "Connection lost, trying again …");
    setTimeout(connect, wait);
    wait = Math.min(wait * 2, 10_000);
  });
}

connect();
