/*
 * What is hot, and what is known of one user, item or room.
 */
"use strict";

const LISTED = 10;
const ACTIONS = [
  "",
  "impression",
  "click",
  "watch",
  "like",
  "unlike",
  "comment",
  "share",
  "follow",
  "unfollow",
  "gift",
  "add_to_cart",
  "remove_from_cart",
  "purchase",
  "refund",
  "enter_room",
  "leave_room",
  "room_start",
  "room_end",
  "item_on",
  "item_off",
  "dislike",
  "report",
  "search",
];

/* ---- Rankings ---- */

let catalogue = null;
async function know() {
  catalogue ??= await askJson("/describe");
  return catalogue;
}
const linkTo = (kind, id) =>
  make("button", { className: "link", type: "button", title: `Look ${kind} ${id} up`, onclick: () => look(kind, id, true) }, id);
function ranks(list, kind, entries) {
  const most = Math.max(1e-9, ...entries.map(({ score }) => score ?? 0));
  if (entries.length === 0 || list.dataset.none) {
    list.replaceChildren();
    delete list.dataset.none;
  }
  rows(
    list,
    entries,
    ({ id }) => id,
    ({ id }) => make("li", {}, make("span"), linkTo(kind, id), make("div", { className: "track" }, make("i")), make("span")),
    (li, { score, shown }, i) => {
      put(li.children[0], String(i + 1));
      li.children[2].firstChild.style.transform = `scaleX(${(score ?? 0) / most})`;
      put(li.children[3], shown);
    },
  );
  if (entries.length === 0) unranked(list, "Nothing yet.");
}
function unranked(list, text) {
  list.replaceChildren(make("li", {}, make("span"), text));
  list.dataset.none = "1";
}
const entriesOf = (found) =>
  found.ids.map((id, i) => ({ id, score: found.scores[i], shown: value(Number(found.scores[i].toPrecision(3))) }));

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
  ranks(
    $("rooms"),
    "room",
    found.ids.map((id, i) => ({ id, score: null, shown: `${spanned(found.scores[i] * 1000)} ago` })),
  );
}
async function showRanks() {
  const failed = (id) => (error) => unranked($(id), error instanceof Refused ? error.message : "does not answer");
  await Promise.all([
    showRank("rooms", "rooms-how", "room", showRoomsLive).catch(failed("rooms")),
    showRank("items", "items-how", "item", async () =>
      unranked($("items"), "The catalogue has no list of items with the scope global."),
    ).catch(failed("items")),
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
    put(
      $("found-say"),
      present
        ? `at ${time(Number(reply.streamTimeMs))} UTC`
        : `No ${asked.kind} ${asked.id} is known: an id that no event carried, or one that is forgotten.`,
    );
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
  return known.features
    .map((feature) => ({
      feature,
      columns: feature.columns.filter((name) => columns.has(name)).map((name) => [name, columns.get(name)]),
    }))
    .filter(({ columns: some }) => some.length > 0);
}
const isCharted = (feature) => feature.windowsMs.length > 0 && ["count", "sum"].includes(feature.aggregate);

/* Ids of other entities that the answer names: what an item remembers. */
function idsOf(asked, reply) {
  const ids = new Map([[`${asked.kind}_id`, asked.id]]);
  for (const { name, ids: some } of reply.itemFields ?? [])
    if (some[0] && some[0] !== "0") ids.set(name.replace("item.", ""), some[0]);
  return ids;
}
function grids() {
  const body = $("found-body");
  if (!body.firstChild)
    for (const name of ["remembered windows", "cards sequences", "cards charts", "cards values"])
      body.append(make("div", { className: name }));
  return body.children;
}
function showFeatures(asked, known, reply) {
  const [remembered, sequences, charts, values] = grids();
  const ids = (asked.ids = idsOf(asked, reply));
  const list = featuresOf(known, reply);
  const isShown = ({ feature }) => isCharted(feature) && ids.has(keyOf(feature.entity));
  const windows = (card, { feature, columns }) =>
    rows(
      card.children[1],
      columns,
      ([name]) => name,
      ([name]) => make("span", {}, name === feature.name ? "now" : name.slice(feature.name.length + 1), " ", make("b")),
      (one, [, v]) => put(one.lastChild, value(v)),
    );
  const card = ({ feature }) =>
    make(
      "div",
      { className: "card" },
      make("h3", { title: `${feature.aggregate} of ${feature.entity}` }, feature.name),
      make("p", { className: "windows" }),
    );
  const name = ({ feature }) => feature.name;
  rows(
    remembered,
    [...ids].slice(1),
    ([field]) => field,
    ([field]) => make("span", {}, `${field.replace("_id", "")} `, make("b")),
    (one, [field, id]) => {
      if (one.lastChild.textContent !== id) one.lastChild.replaceChildren(field === "room_id" ? linkTo("room", id) : id);
    },
  );
  rows(
    sequences,
    reply.sequences.filter(({ name: of, fields }) => fields.length > 0 && !isSeries(known, of)),
    ({ name: of, key }) => `${of} ${key}`,
    ({ name: of }) => make("div", { className: "card full" }, make("h3", {}, of), make("div")),
    showSequence,
  );
  const series = reply.sequences
    .filter(({ name: of }) => isSeries(known, of))
    .map((sequence) => ({ feature: sequence, sequence }));
  rows(
    charts,
    [...list.filter(isShown), ...series],
    name,
    (one) => {
      const made = card(one);
      made.append(
        draw("svg", { class: "chart" }),
        make("p", { className: "ends quiet" }, make("span", {}, one.sequence ? "oldest" : "\u00a0"), make("span", {}, "now")),
      );
      return made;
    },
    (made, one) => (one.sequence ? showSeries(made, one.sequence) : windows(made, one)),
  );
  rows(
    values,
    list.filter((one) => !isShown(one)),
    name,
    card,
    windows,
  );
}
const isSeries = (known, name) => known.features.some((feature) => feature.name === name && feature.aggregate === "series");
function showSeries(card, sequence) {
  const lists = sequence.fields.map(({ ids, ints, numbers }) => (ids.length ? ids : ints.length ? ints : numbers).map(Number));
  const length = Math.max(0, ...lists.map((list) => list.length));
  put(card.children[1], sequence.fields.map(({ name }) => name).join(" + "));
  bars(
    card.children[2],
    Array.from({ length }, (_, i) => [i / length, (i + 1) / length, lists.reduce((total, list) => total + (list[i] ?? 0), 0)]),
    `${sequence.name}, oldest first`,
  );
}

/* A sequence as a strip of ticks, a line for each action, and as a table; where it keeps ids only, as these. */
function showSequence(card, sequence) {
  const fields = new Map(
    sequence.fields.map((field) => [
      field.name,
      field.ids.length ? field.ids : field.ints.length ? field.ints.map(Number) : field.numbers,
    ]),
  );
  const length = Math.max(0, ...[...fields.values()].map((list) => list.length));
  const shown = JSON.stringify([...fields]);
  if (card.dataset.shown === shown) return;
  card.dataset.shown = shown;
  const body = card.lastChild;
  body.replaceChildren();
  if (length === 0) return body.append(make("p", { className: "quiet" }, "empty"));
  if (fields.has("ts_ms")) body.append(strip(sequence.name, fields, length));
  const names = [...fields.keys()];
  if (names.length === 1 && names[0].endsWith("_id"))
    return body.append(
      make(
        "div",
        { className: "ids", tabIndex: 0, role: "region", "aria-label": sequence.name },
        ...fields.get(names[0]).map((id) => linked(names[0], String(id))),
      ),
    );
  const table = make(
    "table",
    { className: "fields" },
    make("thead", {}, make("tr", {}, ...names.map((name) => make("th", {}, name)))),
    make("tbody"),
  );
  for (let i = 0; i < length; i++)
    table.tBodies[0].append(
      row(
        ...names.map((name) => {
          const v = fields.get(name)[i];
          if (name === "ts_ms") return new Date(v).toISOString().replace("T", " ").slice(0, 19);
          if (name === "action") return ACTIONS[v] ?? String(v);
          if (name.endsWith("_id")) return linked(name, String(v));
          return typeof v === "number" ? value(v) : String(v);
        }),
      ),
    );
  body.append(make("div", { className: "scroll sequence", tabIndex: 0, role: "region", "aria-label": sequence.name }, table));
}
const linked = (field, id) =>
  field === "item_id" || field === "room_id" ? linkTo(field.slice(0, -3), id) : make("span", { className: "num" }, id);
function strip(name, fields, length) {
  const times = fields.get("ts_ms"),
    actions = fields.get("action");
  const kinds = [...new Set(actions ?? [0])].sort((a, b) => a - b);
  const first = Math.min(...times),
    last = Math.max(...times),
    wide = Math.max(1, last - first),
    tall = 14;
  const svg = draw("svg", {
    class: "strip",
    viewBox: `0 0 300 ${kinds.length * tall}`,
    preserveAspectRatio: "none",
    role: "img",
    "aria-label": `${name} by time: ${length} records in ${spanned(wide)}`,
  });
  svg.setAttribute("height", String(kinds.length * tall));
  kinds.forEach((_, k) => svg.append(draw("path", { class: "rule", d: `M0 ${k * tall + tall - 0.5}H300` })));
  for (let i = 0; i < length; i++)
    svg.append(
      draw("path", {
        class: "stroke",
        d: `M${(2 + (296 * (times[i] - first)) / wide).toFixed(1)} ${kinds.indexOf(actions?.[i] ?? 0) * tall + 3}v8`,
      }),
    );
  return make(
    "div",
    {},
    make("p", { className: "legend quiet" }, `from top: ${kinds.map((kind) => ACTIONS[kind] || "records").join(", ")}`),
    svg,
    make(
      "p",
      { className: "ends quiet" },
      make("span", {}, `${spanned(Date.now() - first)} ago`),
      make("span", {}, `${spanned(Math.max(0, Date.now() - last))} ago`),
    ),
  );
}

async function showPanes(asked, known) {
  const list = known.features.filter((feature) => isCharted(feature) && asked.ids.has(keyOf(feature.entity)));
  await Promise.all(
    list.map(async (feature) => {
      const card = $("found-body").querySelector(`[data-key="${CSS.escape(feature.name)}"]`);
      if (!card) return;
      const found = await askJson("/explain", {
        entity: feature.entity,
        key: asked.ids.get(keyOf(feature.entity)),
        feature: feature.name,
      });
      if (asked === sought) showChart(card, feature, found);
    }),
  );
}
/* The smallest window that has all of the last hour's panes in it. */
function showChart(card, feature, found) {
  const now = Number(found.readTimeMs);
  const starts = found.panes.map(({ startMs }) => now - Number(startMs)).filter((age) => age < 3600e3);
  const windows = feature.windowsMs.map(Number).sort((a, b) => a - b);
  const wide = windows.find((ms) => ms >= Math.min(3600e3, Math.max(0, ...starts))) ?? windows.at(-1),
    from = now - wide;
  const panes = found.panes
    .map((pane) => ({ start: Number(pane.startMs), long: Number(pane.spanMs), v: pane.value }))
    .filter(({ start, long }) => start + long > from);
  const list = panes.map(({ start, long, v }) => [
    Math.max(0, (start - from) / wide),
    Math.min(1, (start + long - from) / wide),
    (v * 60e3) / long,
  ]);
  const most = Math.max(0, ...list.map(([, , height]) => height));
  bars(card.querySelector("svg"), list, `${feature.name}: a minute, over the last ${spanned(wide)}, at most ${value(most)}`);
  put(card.querySelector(".ends").firstChild, `${spanned(wide)} ago · most ${value(Number(most.toPrecision(3)))}/min`);
}
