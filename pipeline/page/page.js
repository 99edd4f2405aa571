/*
 * The status page: asks the node once a second, keeps ten minutes in the page (the node's /history is where it begins), and redraws.
 * Everything that others have sent is put in as text, never as markup. Only this port is asked.
 */
"use strict";

const SPAN_S = 600, TICK_MS = 1000, HIDDEN_MS = 10000, TIMEOUT_MS = 4000, RATES_S = 30, LISTED = 10;
const ACTIONS = ["", "impression", "click", "watch", "like", "unlike", "comment", "share", "follow", "unfollow", "gift", "add_to_cart",
  "remove_from_cart", "purchase", "refund", "enter_room", "leave_room", "room_start", "room_end", "item_on", "item_off", "dislike", "report",
  "search"];
const $ = (id) => document.getElementById(id);

/* ---- Numbers as people read them ---- */

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const short = (x) =>
  x >= 1e9 ? (x / 1e9).toFixed(2) + " G" : x >= 1e6 ? (x / 1e6).toFixed(2) + " M" : x >= 1e4 ? (x / 1e3).toFixed(1) + " k" : whole.format(x);
const rate = (x) => (x === null ? "–" : x > 0 && x < 9.95 ? x.toFixed(1) : short(Math.round(x)));
const value = (x) => (Number.isInteger(x) ? whole.format(x) : Math.abs(x) >= 1000 ? whole.format(x) : Number(x.toPrecision(4)).toString());
const bytes = (x) => {
  const at = Math.min(4, Math.max(0, Math.floor(Math.log2(Math.max(x, 1)) / 10)));
  return `${(x / 1024 ** at).toFixed(at ? 1 : 0)} ${["B", "KiB", "MiB", "GiB", "TiB"][at]}`;
};
function span(ms) {
  if (ms === null || !Number.isFinite(ms)) return ["–", ""];
  if (ms === 0) return ["0", "ms"];
  if (ms < 1) return [(ms * 1000).toFixed(0), "µs"];
  if (ms < 1000) return [ms < 10 ? ms.toFixed(1) : ms.toFixed(0), "ms"];
  const few = (x) => (x < 10 ? x.toFixed(1).replace(".0", "") : x.toFixed(0));
  if (ms < 120e3) return [few(ms / 1e3), "s"];
  return ms < 7200e3 ? [few(ms / 60e3), "min"] : ms < 172800e3 ? [few(ms / 3600e3), "h"] : [few(ms / 86400e3), "d"];
}
const spanned = (ms) => span(ms).join(" ").trim();
const time = (ms) => new Date(ms).toISOString().slice(11, 19);

/* ---- Elements ---- */

function make(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, given] of Object.entries(properties))
    if (name in made) made[name] = given;
    else made.setAttribute(name, given);
  made.append(...children);
  return made;
}
function draw(tag, attributes) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, given] of Object.entries(attributes)) made.setAttribute(name, given);
  return made;
}
function put(node, text) {
  if (node.textContent !== text) node.textContent = text;
}
function big(id, [number, unit], level = "") {
  const node = $(id);
  if (node.dataset.shown === number + unit + level) return;
  node.dataset.shown = number + unit + level;
  node.className = level;
  node.replaceChildren(number, make("small", {}, unit));
}

/* Rows by key: those that stay keep their elements, so that nothing that has the focus or is read goes away. */
function rows(body, list, key, create, update) {
  const old = new Map([...body.children].map((child) => [child.dataset.key, child]));
  let at = body.firstElementChild;
  for (const [i, one] of list.entries()) {
    const name = String(key(one));
    let child = old.get(name);
    if (!child) {
      child = create(one);
      child.dataset.key = name;
    }
    old.delete(name);
    if (child === at) at = at.nextElementSibling;
    else body.insertBefore(child, at);
    update(child, one, i);
  }
  for (const child of old.values()) child.remove();
}
const row = (...cells) => make("tr", {}, ...cells.map((cell) => make("td", {}, cell)));
function cells(tr, texts, from = 0) {
  texts.forEach((text, i) => text !== null && put(tr.cells[from + i], text));
}
function empty(body, columns, say) {
  if (body.dataset.none === say) return;
  body.replaceChildren(make("tr", {}, make("td", { className: "none", colSpan: columns }, say)));
  body.dataset.none = say;
}
function filled(body) {
  if (body.dataset.none === undefined) return;
  delete body.dataset.none;
  body.replaceChildren();
}

/* ---- Charts ---- */

/* How far back charts of the page's own history reach, in s: no further than there is something to see. */
const REACHES = [[60, "last minute"], [120, "last 2 min"], [300, "last 5 min"], [SPAN_S, "last 10 min"]];
let reach = REACHES[0];
function setReach(now) {
  const oldest = series.get("applied")?.[0]?.[0] ?? now;
  reach = REACHES.find(([s]) => (now - oldest) / 1000 <= s) ?? REACHES.at(-1);
  for (const node of document.querySelectorAll(".reach")) put(node, reach[1]);
}

/* Points [seconds before now, value or null] as a line over the reach, its ground at 0 or at `least`. */
function line(svg, points, { least = 0, most = null, label }) {
  const known = points.filter(([, v]) => v !== null && Number.isFinite(v));
  const high = most ?? Math.max(least + 1e-9, ...known.map(([, v]) => v));
  const x = (age) => ((reach[0] - age) * 300) / reach[0];
  const y = (v) => 39 - (37 * (Math.min(Math.max(v, least), high) - least)) / (high - least || 1);
  if (!svg.firstChild) {
    svg.setAttribute("viewBox", "0 0 300 40");
    svg.setAttribute("preserveAspectRatio", "none");
    svg.setAttribute("role", "img");
    svg.append(draw("path", { class: "wash" }), draw("path", { class: "stroke" }), draw("path", { class: "rule", d: "M0 39.5H300" }));
  }
  const path = known.map(([age, v], i) => `${i ? "L" : "M"}${x(age).toFixed(1)} ${y(v).toFixed(1)}`).join("");
  svg.children[1].setAttribute("d", path);
  svg.children[0].setAttribute("d", path ? `${path}L${x(known.at(-1)[0]).toFixed(1)} 39.5L${x(known[0][0]).toFixed(1)} 39.5Z` : "");
  svg.setAttribute("aria-label", label);
}

/* Bars [from, to, height], from and to in 0…1. */
function bars(svg, list, label) {
  const most = Math.max(1e-9, ...list.map(([, , height]) => height));
  svg.setAttribute("viewBox", "0 0 300 60");
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("role", "img");
  svg.setAttribute("aria-label", label);
  svg.replaceChildren(draw("path", { class: "rule", d: "M0 59.5H300" }), ...list.filter(([, , height]) => height > 0).map(([from, to, height]) => {
    const tall = Math.max(1, (57 * height) / most);
    const gap = (to - from) * 300 > 3 ? 0.8 : 0;
    return draw("rect", { class: "bar", x: (from * 300).toFixed(2), y: (59 - tall).toFixed(2), width: Math.max(0.6, (to - from) * 300 - gap).toFixed(2), height: tall.toFixed(2) });
  }));
}

/* ---- What the page remembers: name → [[ms by the node's or the page's clock, value]] ---- */

const series = new Map();
function note(name, at, v) {
  let list = series.get(name);
  if (!list) series.set(name, (list = []));
  list.push([at, v]);
  while (list.length > 0 && at - list[0][0] > (SPAN_S + 5) * 1000) list.shift();
}
/* What of it is within reach, as points; of a counter its increase a second. */
function points(name, now, isCounter = false) {
  const list = series.get(name) ?? [];
  const found = [];
  for (let i = isCounter ? 1 : 0; i < list.length; i++) {
    const age = (now - list[i][0]) / 1000;
    if (age > reach[0]) continue;
    if (!isCounter) found.push([Math.max(0, age), list[i][1]]);
    else found.push([Math.max(0, age), Math.max(0, list[i][1] - list[i - 1][1]) / Math.max(0.2, (list[i][0] - list[i - 1][0]) / 1000)]);
  }
  return isCounter ? smooth(found) : found;
}
/* Kafka's batches come in lumps: an average of five samples shows the rate. */
function smooth(found) {
  return found.map(([age], i) => {
    const near = found.slice(Math.max(0, i - 4), i + 1);
    return [age, near.reduce((sum, [, v]) => sum + v, 0) / near.length];
  });
}
/* A counter's increase a second over the last `seconds`; null where too little is known. */
function speed(name, seconds) {
  const list = series.get(name) ?? [];
  const last = list.at(-1);
  if (!last) return null;
  const first = list.find(([at]) => last[0] - at <= seconds * 1000 + 200);
  return first && last[0] > first[0] ? Math.max(0, ((last[1] - first[1]) * 1000) / (last[0] - first[0])) : null;
}

/* ---- Asking ---- */

let token = "";
class Refused extends Error {
  constructor(status, say) {
    super(say);
    this.status = status;
  }
}
async function ask(path) {
  const response = await fetch(path, {
    cache: "no-store",
    headers: token ? { authorization: `Bearer ${token}` } : {},
    signal: AbortSignal.timeout(TIMEOUT_MS),
  });
  const text = await response.text();
  if (response.ok) return text;
  let say = text.trim();
  try {
    say = JSON.parse(text).message;
  } catch {
    /* a page says it in words */
  }
  throw new Refused(response.status, say);
}
const askJson = async (path, query = {}) => {
  const text = new URLSearchParams(query).toString();
  return JSON.parse(await ask(text ? `${path}?${text}` : path));
};

/* Prometheus text: name → [{labels, value}]. */
function parse(text) {
  const found = new Map();
  for (const one of text.split("\n")) {
    if (one === "" || one[0] === "#") continue;
    const at = one.lastIndexOf(" "), brace = one.indexOf("{");
    const name = one.slice(0, brace > 0 ? brace : at);
    const labels = {};
    if (brace > 0) for (const [, label, text] of one.slice(brace).matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g)) labels[label] = text.replace(/\\(.)/g, "$1");
    if (!found.has(name)) found.set(name, []);
    found.get(name).push({ labels, value: Number(one.slice(at + 1)) });
  }
  return found;
}
const all = (metrics, name) => metrics.get(name) ?? [];
const one = (metrics, name) => all(metrics, name)[0]?.value ?? null;
const sum = (metrics, name, wanted = () => true) => all(metrics, name).filter(({ labels }) => wanted(labels)).reduce((total, { value: v }) => total + v, 0);

/* Of a histogram's buckets of now and before, in s; null: nothing came between. */
function quantile(q, now, before) {
  const edges = [...now.entries()].map(([edge, count]) => [edge, count - (before?.get(edge) ?? 0)]).sort((a, b) => a[0] - b[0]);
  const total = edges.at(-1)?.[1] ?? 0;
  if (total <= 0) return null;
  let low = 0, below = 0;
  for (const [edge, count] of edges) {
    if (count >= q * total) return edge === Infinity ? low : low + ((edge - low) * (q * total - below)) / Math.max(1, count - below);
    low = edge;
    below = count;
  }
  return low;
}
function buckets(metrics, name, by) {
  const found = new Map();
  for (const { labels, value: v } of all(metrics, `${name}_bucket`)) {
    const key = by ? labels[by] : "";
    if (!found.has(key)) found.set(key, new Map());
    const edge = labels.le === "+Inf" ? Infinity : Number(labels.le);
    found.get(key).set(edge, (found.get(key).get(edge) ?? 0) + v);
  }
  return found;
}

/* ---- State of the node, as it is told ---- */

let seenAt = 0;
function say(state, pill, notice = "") {
  if (document.body.dataset.state !== state) document.body.dataset.state = state;
  put($("state"), pill);
  put($("notice"), notice);
  document.title = state === "ready" ? "Freshet" : `${pill} · Freshet`;
}
function sayStatus(status) {
  const stale = Number(status.staleMs);
  if (!status.ready) say("unready", "not ready", `Not ready: ${status.notReadyReason}.${Number(status.lagEvents) ? ` ${whole.format(Number(status.lagEvents))} events to go.` : ""}`);
  else if (stale > 5000) say("stale", "stale", `${spanned(stale)} behind Kafka; reads are answered with what was applied by then. ${Number(status.lagEvents) ? "Events wait to be applied." : "Does the broker answer?"}`);
  else say("ready", "ready");
  put($("node"), `${status.brokers} · cluster ${status.clusterId || "unknown"} · clock ${status.clock}`);
  put($("version"), `Freshet ${status.version}`);
}

/* ---- Tiles and tables ---- */

function tile(name, text, pointsOf, options) {
  big(`v-${name}`, text, options.level ?? "");
  line($(`s-${name}`), pointsOf, { ...options, label: `${options.label}, ${reach[1]}, now ${text.join(" ")}` });
}
function showTiles(status, metrics, now) {
  const behind = Number(status.streamTimeMs) ? (one(metrics, "freshet_event_time_lag_seconds") ?? 0) * 1000 : null;
  const lag = Number(status.lagEvents), stale = Number(status.staleMs), memory = Number(status.memoryBytes);
  const budget = one(metrics, "freshet_state_budget_bytes") || null;
  note("behind", now, behind);
  note("lag", now, lag);
  note("stale", now, stale);
  note("applied", now, Number(status.appliedEvents));
  note("memory", now, memory);
  note("calls", now, sum(metrics, "freshet_request_seconds_count"));
  setReach(now);
  const fresh = change("fresh", now, buckets(metrics, "freshet_freshness_seconds").get("") ?? new Map());
  tile("behind", span(behind), points("behind", now), { label: "Wall clock less stream time" });
  const p99 = quantile(0.99, ...fresh);
  const sung = change("canary", now, buckets(metrics, "freshet_canary_seconds").get("") ?? new Map()), canary = quantile(0.99, ...sung);
  if (canary !== null) put($("n-behind"), `canary p99 ${spanned(canary * 1000)}`);
  else put($("n-behind"), p99 === null ? "wall clock − stream time" : `p99 ${spanned(p99 * 1000)} after Kafka`);
  tile("lag", [short(lag), ""], points("lag", now), { label: "Events not applied yet", level: lag > 100000 ? "warn" : "" });
  put($("n-lag"), lag && behind !== null ? `applied lag ${spanned(behind)}` : "events not applied yet");
  tile("stale", span(stale), points("stale", now), { label: "Staleness", level: stale > 30000 ? "bad" : stale > 5000 ? "warn" : "" });
  tile("rate", [rate(speed("applied", 5)), "/s"], points("applied", now, true), { label: "Events finished a second" });
  put($("n-rate"), `${short(Number(status.appliedEvents))} finished`);
  const calls = change("calls", now, merged(buckets(metrics, "freshet_request_seconds", "method")));
  const callP99 = quantile(0.99, ...calls);
  tile("calls", [rate(speed("calls", 5)), "/s"], points("calls", now, true), { label: "Calls a second" });
  put($("n-calls"), callP99 === null ? "none of late" : `p50 ${spanned(quantile(0.5, ...calls) * 1000)}, p99 ${spanned(callP99 * 1000)}`);
  const share = budget ? memory / budget : null;
  tile("memory", bytes(memory).split(" "), points("memory", now), { label: "Memory of the state", most: budget, level: share > 0.95 ? "bad" : share > 0.85 ? "warn" : "" });
  put($("n-memory"), budget ? `${(share * 100).toFixed(share < 0.1 ? 1 : 0)} % of ${bytes(budget)}` : "budget not told yet");
}

/* [now, before] of a histogram, `before` as it was RATES_S ago. */
const kept = new Map();
function change(name, now, found) {
  if (!kept.has(name)) kept.set(name, []);
  const list = kept.get(name);
  list.push([now, found]);
  while (list.length > 2 && now - list[1][0] >= RATES_S * 1000) list.shift();
  return [found, list.length > 1 ? list[0][1] : found];
}
function merged(byKey) {
  const total = new Map();
  for (const found of byKey.values()) for (const [edge, count] of found) total.set(edge, (total.get(edge) ?? 0) + count);
  return total;
}

function lineTable(body, list, now, say) {
  if (list.length === 0) return empty(body, 4, say);
  filled(body);
  rows(body, list, ({ name }) => name, ({ name }) => row(name, draw("svg", { class: "small" }), "", ""), (tr, { name, total, key }) => {
    line(tr.cells[1].firstChild, points(key, now, true), { label: `${name} a second, ${reach[1]}` });
    cells(tr, [rate(speed(key, 5)), short(total)], 2);
    tr.classList.toggle("dim", total === 0);
  });
}
function showEvents(status, metrics, now) {
  const actions = new Map();
  for (const { labels, value: v } of all(metrics, "freshet_events_total")) if (labels.outcome === "applied") actions.set(labels.action, (actions.get(labels.action) ?? 0) + v);
  for (const [name, total] of actions) note(`action ${name}`, now, total);
  const seen = [...actions].filter(([, total]) => total > 0).sort((a, b) => b[1] - a[1]);
  lineTable($("actions").tBodies[0], seen.map(([name, total]) => ({ name, total, key: `action ${name}` })), now, "No event was applied since the node started.");
  for (const { outcome, events } of status.outcomes) note(`outcome ${outcome}`, now, Number(events));
  const outcomes = status.outcomes.filter(({ outcome, events }) => Number(events) > 0 || ["applied", "duplicate"].includes(outcome));
  const dead = sum(metrics, "freshet_dead_letters_total"), lost = one(metrics, "freshet_dead_letters_lost_total") ?? 0;
  note("dead letters", now, dead);
  const list = outcomes.map(({ outcome, events }) => ({ name: outcome.replaceAll("_", " "), total: Number(events), key: `outcome ${outcome}` }));
  list.push({ name: "dead letters sent", total: dead, key: "dead letters" });
  if (lost > 0) {
    note("dead lost", now, lost);
    list.push({ name: "dead letters lost", total: lost, key: "dead lost" });
  }
  lineTable($("outcomes").tBodies[0], list, now, "");
}

function showPartitions(status) {
  const body = $("partitions").tBodies[0];
  const behind = status.partitions.filter(({ lagEvents }) => Number(lagEvents) > 0).length;
  put($("partitions-how"), status.partitions.length ? `${status.partitions.length}, ${behind ? `${behind} behind` : "none behind"}` : "");
  if (status.partitions.length === 0) return empty(body, 5, "No partition is assigned yet.");
  filled(body);
  const isOne = new Set(status.partitions.map(({ topic }) => topic)).size === 1;
  rows(body, status.partitions, (p) => `${p.topic}/${p.partition}`, (p) => row(isOne ? `${p.topic} ${p.partition}` : `${p.topic} ${p.partition}`, "", "", "", ""), (tr, p) => {
    const next = Number(p.nextOffset), end = Number(p.endOffset);
    cells(tr, [next < 0 ? "–" : whole.format(next), end < 0 ? "–" : whole.format(Math.max(end, next)), whole.format(Number(p.lagEvents)), whole.format(Number(p.gapEvents))], 1);
    tr.cells[3].className = Number(p.lagEvents) > 10000 ? "warn" : "";
    tr.cells[4].className = Number(p.gapEvents) > 0 ? "bad" : "";
  });
}

function showMethods(metrics, now) {
  const body = $("methods").tBodies[0];
  const found = buckets(metrics, "freshet_request_seconds", "method");
  const list = [];
  for (const [method, counts] of found) {
    const total = counts.get(Infinity) ?? 0;
    const pair = change(`method ${method}`, now, counts);
    const errors = sum(metrics, "freshet_requests_total", (labels) => labels.method === method && labels.code !== "ok");
    note(`method ${method}`, now, total);
    if (total > 0 || errors > 0) list.push({ method, total, pair, errors });
  }
  const shed = sum(metrics, "freshet_calls_shed_total");
  if (list.length === 0) return empty(body, 5, "Nobody has called since the node started.");
  filled(body);
  list.sort((a, b) => b.total - a.total);
  if (shed > 0) list.push({ method: "shed without work", errors: shed });
  rows(body, list, ({ method }) => method, ({ method }) => {
    const tr = row(method.replace(/^freshet\.v1\./, ""), "", "", "", "");
    tr.cells[0].title = method;
    return tr;
  }, (tr, { method, pair, errors }) => {
    const [p50, p99] = pair ? [quantile(0.5, ...pair), quantile(0.99, ...pair)] : [null, null];
    const shown = (s) => (s === null ? "–" : spanned(s * 1000));
    cells(tr, [pair ? rate(speed(`method ${method}`, RATES_S)) : "", shown(p50), shown(p99), whole.format(errors)], 1);
    tr.cells[4].className = errors > 0 ? "warn" : "";
  });
}

function fact(list, name, text, share = null, level = "") {
  let dd = list.querySelector(`[data-key="${name}"]`);
  if (!dd) {
    dd = make("dd", {}, make("span"));
    dd.dataset.key = name;
    list.append(make("div", {}, make("dt", {}, name), dd));
    if (share !== null) dd.append(make("div", { className: "track" }, make("i")));
  }
  put(dd.firstChild, text);
  dd.firstChild.className = level;
  if (share !== null && dd.lastChild !== dd.firstChild) {
    dd.lastChild.className = `track ${level}`;
    dd.lastChild.firstChild.style.transform = `scaleX(${Math.min(1, Math.max(0, share))})`;
  }
}
function showFacts(status, metrics, now) {
  const epochs = change("epochs", now, buckets(metrics, "freshet_epoch_seconds").get("") ?? new Map());
  const p99 = quantile(0.99, ...epochs), level0 = one(metrics, "freshet_level0_files") ?? 0, age = one(metrics, "freshet_epoch_age_seconds");
  const failed = one(metrics, "freshet_epochs_failed_total") ?? 0, free = one(metrics, "freshet_disk_free_bytes");
  fact($("epochs"), "last epoch", whole.format(Number(status.epoch)));
  fact($("epochs"), "its age", age === null ? "–" : spanned(age * 1000), null, age > 60 ? "bad" : age > 20 ? "warn" : "");
  fact($("epochs"), "takes, p99", p99 === null ? "–" : spanned(p99 * 1000));
  fact($("epochs"), "its size", bytes(one(metrics, "freshet_epoch_bytes") ?? 0));
  fact($("epochs"), "failed", whole.format(failed), null, failed > 0 ? "warn" : "");
  fact($("epochs"), "level-0 files", whole.format(level0), null, level0 > 12 ? "warn" : "");
  fact($("epochs"), "free disk", free === null ? "–" : bytes(free), null, free !== null && free < 2 ** 30 ? "warn" : "");
  const budget = one(metrics, "freshet_state_budget_bytes") || 1, dirty = one(metrics, "freshet_state_dirty_bytes") ?? 0;
  const share = Number(status.memoryBytes) / budget;
  fact($("memory"), "of the budget", `${(share * 100).toFixed(1)} %`, share, share > 0.95 ? "bad" : share > 0.85 ? "warn" : "");
  fact($("memory"), "changed, not durable", bytes(dirty), dirty / budget, dirty / budget > 0.6 ? "warn" : "");
  fact($("memory"), "entities", short(Number(status.entities)));
  fact($("memory"), "in memory", short(one(metrics, "freshet_state_table_entities") ?? 0));
  fact($("memory"), "evicted", short(one(metrics, "freshet_state_evictions_total") ?? 0));
  fact($("memory"), "resident", bytes(one(metrics, "freshet_resident_memory_bytes") ?? 0));
}

/* ---- Models ---- */

const JUDGED = [["log loss", "logLoss"], ["normalised entropy", "normalizedEntropy"], ["calibration", "calibration"]];
function showModels(status, now) {
  $("models-section").hidden = status.models.length === 0;
  const tasks = status.models.flatMap((model) => model.tasks.map((task) => ({ model, task })));
  tasks.forEach(({ task }, i) => JUDGED.forEach(([, field], j) => note(`task ${i} ${j}`, now, Number(task.examples) > 0 ? task[field] : null)));
  rows($("models"), tasks.map((one, i) => ({ ...one, i })), ({ i }) => i, ({ model, task }) =>
    make("div", { className: "card" }, make("h3", {}, `${model.name} · ${task.name}`), make("p", { className: "quiet" }),
      ...JUDGED.flatMap(([name]) => [make("p", { className: "windows" }, make("span", {}, name, " ", make("b"))), draw("svg", { class: "spark" })])),
  (card, { model, task, i }) => {
    put(card.children[1], `${model.role}, version ${model.version}, ${short(Number(task.examples))} examples, AUC ${task.auc.toFixed(3)}`);
    card.children[1].className = model.role === "frozen" ? "quiet warn" : "quiet";
    JUDGED.forEach(([name, field], j) => {
      const shown = points(`task ${i} ${j}`, now), known = shown.map(([, v]) => v).filter((v) => v !== null);
      const low = Math.min(...known), high = Math.max(...known), room = Math.max((high - low) / 4, 0.005);
      put(card.children[2 + 2 * j].querySelector("b"), Number(task.examples) > 0 ? task[field].toFixed(4) : "–");
      line(card.children[3 + 2 * j], shown, { least: known.length ? low - room : 0, most: known.length ? high + room : 1, label: `${name} of ${model.name} ${task.name}` });
    });
  });
}

/* ---- Rankings ---- */

let catalogue = null;
async function know() {
  catalogue ??= await askJson("/describe");
  return catalogue;
}
const linkTo = (kind, id) => make("button", { className: "link", type: "button", title: `Look ${kind} ${id} up`, onclick: () => look(kind, id, true) }, id);
function ranks(list, kind, entries) {
  const most = Math.max(1e-9, ...entries.map(({ score }) => score ?? 0));
  if (entries.length === 0 || list.dataset.none) {
    list.replaceChildren();
    delete list.dataset.none;
  }
  rows(list, entries, ({ id }) => id, ({ id }) => make("li", {}, make("span"), linkTo(kind, id), make("div", { className: "track" }, make("i")), make("span")), (li, { score, shown }, i) => {
    put(li.children[0], String(i + 1));
    li.children[2].firstChild.style.transform = `scaleX(${(score ?? 0) / most})`;
    put(li.children[3], shown);
  });
  if (entries.length === 0) unranked(list, "Nothing yet.");
}
function unranked(list, text) {
  list.replaceChildren(make("li", {}, make("span"), text));
  list.dataset.none = "1";
}
const entriesOf = (found) => found.ids.map((id, i) => ({ id, score: found.scores[i], shown: value(Number(found.scores[i].toPrecision(3))) }));

async function showRank(id, how, kind, fallback) {
  const { lists } = await know();
  const listed = lists.find(({ entity, scopes }) => keyOf(entity) === `${kind}_id` && scopes.includes("global"));
  if (!listed) return fallback();
  put($(how), `by ${listed.rank}`);
  ranks($(id), kind, entriesOf(await askJson("/top", { list: listed.name, scope: "global", limit: LISTED })));
}
const keyOf = (entity) => {
  const found = catalogue.entities.find(({ name }) => name === entity);
  return found && found.key.length === 1 ? found.key[0] : null;
};
async function showRoomsLive() {
  put($("rooms-how"), "live, latest first");
  const found = await askJson("/recent", { kind: "rooms_live", limit: LISTED });
  ranks($("rooms"), "room", found.ids.map((id, i) => ({ id, score: null, shown: `${spanned(found.scores[i] * 1000)} ago` })));
}
async function showRanks() {
  const failed = (id) => (error) => unranked($(id), error instanceof Refused ? error.message : "does not answer");
  await Promise.all([
    showRank("rooms", "rooms-how", "room", showRoomsLive).catch(failed("rooms")),
    showRank("items", "items-how", "item", async () => unranked($("items"), "The catalogue has no list of items with the scope global.")).catch(failed("items")),
  ]);
}

/* ---- Look-up ---- */

let sought = null; /* {kind, id, window by feature} */
function look(kind, id, isFocused) {
  sought = { kind, id: String(id), windows: sought?.kind === kind ? sought.windows : {} };
  document.querySelector(`input[name=kind][value=${kind}]`).checked = true;
  $("find-id").value = sought.id;
  $("found-body").replaceChildren();
  put($("found-say"), "looking …");
  if (isFocused) $("found").scrollIntoView({ block: "nearest" });
  showFound(true);
}
async function showFound(isFirst) {
  const asked = sought;
  if (!asked) return;
  try {
    const known = await know();
    const reply = await askJson("/lookup", { [asked.kind]: asked.id });
    if (asked !== sought) return;
    const present = asked.kind === "user" ? reply.userPresent : asked.kind === "item" ? reply.itemPresent[0] : true;
    put($("found-say"), present ? `at ${time(Number(reply.streamTimeMs))} UTC` : `No ${asked.kind} ${asked.id} is known: an id that no event carried, or one that is forgotten.`);
    showFeatures(asked, known, reply);
    if (isFirst || Date.now() - (asked.paned ?? 0) > 5000) {
      asked.paned = Date.now();
      await showPanes(asked, known);
    }
  } catch (error) {
    if (asked === sought) put($("found-say"), error instanceof Refused ? error.message : "The node does not answer.");
  }
}
function featuresOf(known, reply) {
  const columns = new Map();
  reply.userColumns.forEach((name, i) => columns.set(name, reply.userValues[i]));
  reply.itemColumns.forEach((name, i) => columns.set(name, reply.itemValues[i]));
  return known.features.map((feature) => ({ feature, columns: feature.columns.filter((name) => columns.has(name)).map((name) => [name, columns.get(name)]) })).filter(({ columns: some }) => some.length > 0);
}
const isCharted = (feature) => feature.windowsMs.length > 0 && ["count", "sum"].includes(feature.aggregate);

/* Ids of other entities that the answer names: what an item remembers. */
function idsOf(asked, reply) {
  const ids = new Map([[`${asked.kind}_id`, asked.id]]);
  for (const { name, ids: some } of reply.itemFields ?? []) if (some[0] && some[0] !== "0") ids.set(name.replace("item.", ""), some[0]);
  return ids;
}
function grids() {
  const body = $("found-body");
  if (!body.firstChild) for (const name of ["remembered windows", "cards sequences", "cards charts", "cards values"]) body.append(make("div", { className: name }));
  return body.children;
}
function showFeatures(asked, known, reply) {
  const [remembered, sequences, charts, values] = grids();
  const ids = (asked.ids = idsOf(asked, reply));
  const list = featuresOf(known, reply);
  const isShown = ({ feature }) => isCharted(feature) && ids.has(keyOf(feature.entity));
  const windows = (card, { feature, columns }) =>
    rows(card.children[1], columns, ([name]) => name, ([name]) => make("span", {}, name === feature.name ? "now" : name.slice(feature.name.length + 1), " ", make("b")), (one, [, v]) => put(one.lastChild, value(v)));
  const card = ({ feature }) => make("div", { className: "card" }, make("h3", { title: `${feature.aggregate} of ${feature.entity}` }, feature.name), make("p", { className: "windows" }));
  const name = ({ feature }) => feature.name;
  rows(remembered, [...ids].slice(1), ([field]) => field, ([field]) => make("span", {}, `${field.replace("_id", "")} `, make("b")), (one, [field, id]) => {
    if (one.lastChild.textContent !== id) one.lastChild.replaceChildren(field === "room_id" ? linkTo("room", id) : id);
  });
  rows(sequences, reply.sequences.filter(({ name: of, fields }) => fields.length > 0 && !isSeries(known, of)), ({ name: of, key }) => `${of} ${key}`, ({ name: of }) => make("div", { className: "card full" }, make("h3", {}, of), make("div")), showSequence);
  const series = reply.sequences.filter(({ name: of }) => isSeries(known, of)).map((sequence) => ({ feature: sequence, sequence }));
  rows(charts, [...list.filter(isShown), ...series], name, (one) => {
    const made = card(one);
    made.append(draw("svg", { class: "chart" }), make("p", { className: "ends quiet" }, make("span", {}, one.sequence ? "oldest" : "\u00a0"), make("span", {}, "now")));
    return made;
  }, (made, one) => (one.sequence ? showSeries(made, one.sequence) : windows(made, one)));
  rows(values, list.filter((one) => !isShown(one)), name, card, windows);
}
const isSeries = (known, name) => known.features.some((feature) => feature.name === name && feature.aggregate === "series");
function showSeries(card, sequence) {
  const lists = sequence.fields.map(({ ids, ints, numbers }) => (ids.length ? ids : ints.length ? ints : numbers).map(Number));
  const length = Math.max(0, ...lists.map((list) => list.length));
  put(card.children[1], sequence.fields.map(({ name }) => name).join(" + "));
  bars(card.children[2], Array.from({ length }, (_, i) => [i / length, (i + 1) / length, lists.reduce((total, list) => total + (list[i] ?? 0), 0)]), `${sequence.name}, oldest first`);
}

/* A sequence as a strip of ticks, a line for each action, and as a table; where it keeps ids only, as these. */
function showSequence(card, sequence) {
  const fields = new Map(sequence.fields.map((field) => [field.name, field.ids.length ? field.ids : field.ints.length ? field.ints.map(Number) : field.numbers]));
  const length = Math.max(0, ...[...fields.values()].map((list) => list.length));
  const shown = JSON.stringify([...fields]);
  if (card.dataset.shown === shown) return;
  card.dataset.shown = shown;
  const body = card.lastChild;
  body.replaceChildren();
  if (length === 0) return body.append(make("p", { className: "quiet" }, "empty"));
  if (fields.has("ts_ms")) body.append(strip(sequence.name, fields, length));
  const names = [...fields.keys()];
  if (names.length === 1 && names[0].endsWith("_id")) return body.append(make("div", { className: "ids", tabIndex: 0, role: "region", "aria-label": sequence.name }, ...fields.get(names[0]).map((id) => linked(names[0], String(id)))));
  const table = make("table", { className: "fields" }, make("thead", {}, make("tr", {}, ...names.map((name) => make("th", {}, name)))), make("tbody"));
  for (let i = 0; i < length; i++)
    table.tBodies[0].append(row(...names.map((name) => {
      const v = fields.get(name)[i];
      if (name === "ts_ms") return new Date(v).toISOString().replace("T", " ").slice(0, 19);
      if (name === "action") return ACTIONS[v] ?? String(v);
      if (name.endsWith("_id")) return linked(name, String(v));
      return typeof v === "number" ? value(v) : String(v);
    })));
  body.append(make("div", { className: "scroll sequence", tabIndex: 0, role: "region", "aria-label": sequence.name }, table));
}
const linked = (field, id) => (field === "item_id" || field === "room_id" ? linkTo(field.slice(0, -3), id) : make("span", { className: "num" }, id));
function strip(name, fields, length) {
  const times = fields.get("ts_ms"), actions = fields.get("action");
  const kinds = [...new Set(actions ?? [0])].sort((a, b) => a - b);
  const first = Math.min(...times), last = Math.max(...times), wide = Math.max(1, last - first), tall = 14;
  const svg = draw("svg", { class: "strip", viewBox: `0 0 300 ${kinds.length * tall}`, preserveAspectRatio: "none", role: "img", "aria-label": `${name} by time: ${length} records in ${spanned(wide)}` });
  svg.setAttribute("height", String(kinds.length * tall));
  kinds.forEach((_, k) => svg.append(draw("path", { class: "rule", d: `M0 ${k * tall + tall - 0.5}H300` })));
  for (let i = 0; i < length; i++)
    svg.append(draw("path", { class: "stroke", d: `M${(2 + (296 * (times[i] - first)) / wide).toFixed(1)} ${kinds.indexOf(actions?.[i] ?? 0) * tall + 3}v8` }));
  return make("div", {}, make("p", { className: "legend quiet" }, `from top: ${kinds.map((kind) => ACTIONS[kind] || "records").join(", ")}`), svg, make("p", { className: "ends quiet" }, make("span", {}, `${spanned(Date.now() - first)} ago`), make("span", {}, `${spanned(Math.max(0, Date.now() - last))} ago`)));
}

async function showPanes(asked, known) {
  const list = known.features.filter((feature) => isCharted(feature) && asked.ids.has(keyOf(feature.entity)));
  await Promise.all(list.map(async (feature) => {
    const card = $("found-body").querySelector(`[data-key="${CSS.escape(feature.name)}"]`);
    if (!card) return;
    const found = await askJson("/explain", { entity: feature.entity, key: asked.ids.get(keyOf(feature.entity)), feature: feature.name });
    if (asked === sought) showChart(card, feature, found);
  }));
}
/* The smallest window that has all of the last hour's panes in it. */
function showChart(card, feature, found) {
  const now = Number(found.readTimeMs);
  const starts = found.panes.map(({ startMs }) => now - Number(startMs)).filter((age) => age < 3600e3);
  const windows = feature.windowsMs.map(Number).sort((a, b) => a - b);
  const wide = windows.find((ms) => ms >= Math.min(3600e3, Math.max(0, ...starts))) ?? windows.at(-1), from = now - wide;
  const panes = found.panes.map((pane) => ({ start: Number(pane.startMs), long: Number(pane.spanMs), v: pane.value })).filter(({ start, long }) => start + long > from);
  const list = panes.map(({ start, long, v }) => [Math.max(0, (start - from) / wide), Math.min(1, (start + long - from) / wide), (v * 60e3) / long]);
  const most = Math.max(0, ...list.map(([, , height]) => height));
  bars(card.querySelector("svg"), list, `${feature.name}: a minute, over the last ${spanned(wide)}, at most ${value(most)}`);
  put(card.querySelector(".ends").firstChild, `${spanned(wide)} ago · most ${value(Number(most.toPrecision(3)))}/min`);
}

/* ---- The round ---- */

async function seed() {
  try {
    const old = await askJson("/history");
    const ahead = Date.now() - (old.atMs.at(-1) ?? 0), skew = Math.abs(ahead) > 2000 ? ahead : 0; /* of the page's clock */
    old.atMs.forEach((atMs, i) => {
      const at = atMs + skew;
      for (const [name, column] of [["applied", "applied"], ["lag", "lagEvents"], ["stale", "staleMs"], ["behind", "behindMs"], ["memory", "memoryBytes"]]) note(name, at, old[column][i]);
      old.tasks.forEach((task, k) => task.forEach((numbers, j) => note(`task ${k} ${j}`, at, numbers[i])));
    });
  } catch {
    /* then history begins now */
  }
}
let round = 0;
async function tick() {
  const begun = performance.now();
  try {
    const [status, text] = await Promise.all([askJson("/status"), ask("/metrics")]);
    const metrics = parse(text), now = Date.now();
    seenAt = now;
    $("door").hidden = true;
    sayStatus(status);
    showTiles(status, metrics, now);
    showEvents(status, metrics, now);
    showPartitions(status);
    showMethods(metrics, now);
    showFacts(status, metrics, now);
    showModels(status, now);
    if (round++ % 3 === 0) await showRanks();
    if (round % 2 === 0) await showFound(false);
  } catch (error) {
    if (error instanceof Refused && (error.status === 401 || error.status === 403)) {
      say("closed", "closed", error.status === 401 ? "This node asks who reads its status." : error.message);
      $("door").hidden = false;
    } else if (error instanceof Refused) {
      say("gone", "refused", `The node refused: ${error.message}`);
    } else {
      say("gone", "gone", `The node does not answer${seenAt ? `; last seen at ${time(seenAt)} UTC, ${spanned(Date.now() - seenAt)} ago. What is shown is of then.` : "."}`);
    }
  }
  put($("clock"), `${time(Date.now())} UTC`);
  setTimeout(tick, Math.max(100, (document.hidden ? HIDDEN_MS : TICK_MS) - (performance.now() - begun)));
}

$("find").addEventListener("submit", (event) => {
  event.preventDefault();
  const id = $("find-id").value.trim();
  if (id) look(new FormData($("find")).get("kind"), id, false);
});
$("door").addEventListener("submit", (event) => {
  event.preventDefault();
  token = $("token").value.trim();
  $("token").value = "";
});
document.addEventListener("keydown", (event) => {
  if (event.key !== "/" || event.ctrlKey || event.metaKey || event.altKey || event.target.matches("input:not([type=radio])")) return;
  event.preventDefault();
  $("find-id").focus();
  $("find-id").select();
});
seed().then(tick);
