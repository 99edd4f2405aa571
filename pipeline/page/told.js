/*
 * What the node tells and what of it is remembered: ten minutes by name, beginning with the node's /history. Only this port is asked.
 */
"use strict";

const TIMEOUT_MS = 4000;

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
    else
      found.push([
        Math.max(0, age),
        Math.max(0, list[i][1] - list[i - 1][1]) / Math.max(0.2, (list[i][0] - list[i - 1][0]) / 1000),
      ]);
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
    const at = one.lastIndexOf(" "),
      brace = one.indexOf("{");
    const name = one.slice(0, brace > 0 ? brace : at);
    const labels = {};
    if (brace > 0)
      for (const [, label, text] of one.slice(brace).matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g))
        labels[label] = text.replace(/\\(.)/g, "$1");
    if (!found.has(name)) found.set(name, []);
    found.get(name).push({ labels, value: Number(one.slice(at + 1)) });
  }
  return found;
}
const all = (metrics, name) => metrics.get(name) ?? [];
const one = (metrics, name) => all(metrics, name)[0]?.value ?? null;
const sum = (metrics, name, wanted = () => true) =>
  all(metrics, name)
    .filter(({ labels }) => wanted(labels))
    .reduce((total, { value: v }) => total + v, 0);

/* Of a histogram's buckets of now and before, in s; null: nothing came between. */
function quantile(q, now, before) {
  const edges = [...now.entries()].map(([edge, count]) => [edge, count - (before?.get(edge) ?? 0)]).sort((a, b) => a[0] - b[0]);
  const total = edges.at(-1)?.[1] ?? 0;
  if (total <= 0) return null;
  let low = 0,
    below = 0;
  for (const [edge, count] of edges) {
    if (count >= q * total)
      return edge === Infinity ? low : low + ((edge - low) * (q * total - below)) / Math.max(1, count - below);
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
