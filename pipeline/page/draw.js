/*
 * What the page is drawn with: numbers as people read them, elements that stay while their text changes, lines and bars. What others have
 * sent is put in as text, never as markup. These four scripts share their names; they are loaded in this order: draw, told, lookup, page.
 */
"use strict";

const SPAN_S = 600; /* the page looks back so far */
const $ = (id) => document.getElementById(id);

/* ---- Numbers as people read them ---- */

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const short = (x) =>
  x >= 1e9
    ? (x / 1e9).toFixed(2) + " G"
    : x >= 1e6
      ? (x / 1e6).toFixed(2) + " M"
      : x >= 1e4
        ? (x / 1e3).toFixed(1) + " k"
        : whole.format(x);
const rate = (x) => (x === null ? "–" : x > 0 && x < 9.95 ? x.toFixed(1) : short(Math.round(x)));
const value = (x) =>
  Number.isInteger(x) ? whole.format(x) : Math.abs(x) >= 1000 ? whole.format(x) : Number(x.toPrecision(4)).toString();
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
const REACHES = [
  [60, "last minute"],
  [120, "last 2 min"],
  [300, "last 5 min"],
  [SPAN_S, "last 10 min"],
];
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
    svg.append(
      draw("path", { class: "wash" }),
      draw("path", { class: "stroke" }),
      draw("path", { class: "rule", d: "M0 39.5H300" }),
    );
  }
  const path = known.map(([age, v], i) => `${i ? "L" : "M"}${x(age).toFixed(1)} ${y(v).toFixed(1)}`).join("");
  svg.children[1].setAttribute("d", path);
  svg.children[0].setAttribute(
    "d",
    path && least === 0 ? `${path}L${x(known.at(-1)[0]).toFixed(1)} 39.5L${x(known[0][0]).toFixed(1)} 39.5Z` : "",
  );
  svg.setAttribute("aria-label", label);
}

/* Bars [from, to, height], from and to in 0…1. */
function bars(svg, list, label) {
  const most = Math.max(1e-9, ...list.map(([, , height]) => height));
  svg.setAttribute("viewBox", "0 0 300 60");
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("role", "img");
  svg.setAttribute("aria-label", label);
  svg.replaceChildren(
    draw("path", { class: "rule", d: "M0 59.5H300" }),
    ...list
      .filter(([, , height]) => height > 0)
      .map(([from, to, height]) => {
        const tall = Math.max(1, (57 * height) / most);
        const gap = (to - from) * 300 > 3 ? 0.8 : 0;
        return draw("rect", {
          class: "bar",
          x: (from * 300).toFixed(2),
          y: (59 - tall).toFixed(2),
          width: Math.max(0.6, (to - from) * 300 - gap).toFixed(2),
          height: tall.toFixed(2),
        });
      }),
  );
}
