/*
 * The status page: asks the node once a second and redraws.
 */
"use strict";

const TICK_MS = 1000,
  HIDDEN_MS = 10000,
  RATES_S = 30;

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
  if (!status.ready)
    say(
      "unready",
      "not ready",
      `Not ready: ${status.notReadyReason}.${Number(status.lagEvents) ? ` ${whole.format(Number(status.lagEvents))} events to go.` : ""}`,
    );
  else if (stale > 5000)
    say(
      "stale",
      "stale",
      `${spanned(stale)} behind Kafka; reads are answered with what was applied by then. ${Number(status.lagEvents) ? "Events wait to be applied." : "Does the broker answer?"}`,
    );
  else if (status.clockTrouble) say("stale", "clock", `${status.clockTrouble[0].toUpperCase()}${status.clockTrouble.slice(1)}.`);
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
  const lag = Number(status.lagEvents),
    stale = Number(status.staleMs),
    memory = Number(status.memoryBytes);
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
  const sung = change("canary", now, buckets(metrics, "freshet_canary_seconds").get("") ?? new Map()),
    canary = quantile(0.99, ...sung);
  if (canary !== null) put($("n-behind"), `canary p99 ${spanned(canary * 1000)}`);
  else put($("n-behind"), p99 === null ? "wall clock − stream time" : `p99 ${spanned(p99 * 1000)} after Kafka`);
  tile("lag", [short(lag), ""], points("lag", now), { label: "Events not applied yet", level: lag > 100000 ? "warn" : "" });
  put($("n-lag"), lag && behind !== null ? `applied lag ${spanned(behind)}` : "events not applied yet");
  tile("stale", span(stale), points("stale", now), {
    label: "Staleness",
    level: stale > 30000 ? "bad" : stale > 5000 ? "warn" : "",
  });
  tile("rate", [rate(speed("applied", 5)), "/s"], points("applied", now, true), { label: "Events finished a second" });
  put($("n-rate"), `${short(Number(status.appliedEvents))} finished`);
  const calls = change("calls", now, merged(buckets(metrics, "freshet_request_seconds", "method")));
  const callP99 = quantile(0.99, ...calls);
  tile("calls", [rate(speed("calls", 5)), "/s"], points("calls", now, true), { label: "Calls a second" });
  put(
    $("n-calls"),
    callP99 === null ? "none of late" : `p50 ${spanned(quantile(0.5, ...calls) * 1000)}, p99 ${spanned(callP99 * 1000)}`,
  );
  const share = budget ? memory / budget : null;
  tile("memory", bytes(memory).split(" "), points("memory", now), {
    label: "Memory of the state",
    most: budget,
    level: share > 0.95 ? "bad" : share > 0.85 ? "warn" : "",
  });
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
  rows(
    body,
    list,
    ({ name }) => name,
    ({ name }) => row(name, draw("svg", { class: "small" }), "", ""),
    (tr, { name, total, key }) => {
      line(tr.cells[1].firstChild, points(key, now, true), { label: `${name} a second, ${reach[1]}` });
      cells(tr, [rate(speed(key, 5)), short(total)], 2);
      tr.classList.toggle("dim", total === 0);
    },
  );
}
function showEvents(status, metrics, now) {
  const actions = new Map();
  for (const { labels, value: v } of all(metrics, "freshet_events_total"))
    if (labels.outcome === "applied") actions.set(labels.action, (actions.get(labels.action) ?? 0) + v);
  for (const [name, total] of actions) note(`action ${name}`, now, total);
  const seen = [...actions].filter(([, total]) => total > 0).sort((a, b) => b[1] - a[1]);
  lineTable(
    $("actions").tBodies[0],
    seen.map(([name, total]) => ({ name, total, key: `action ${name}` })),
    now,
    "No event was applied since the node started.",
  );
  for (const { outcome, events } of status.outcomes) note(`outcome ${outcome}`, now, Number(events));
  const outcomes = status.outcomes.filter(
    ({ outcome, events }) => Number(events) > 0 || ["applied", "duplicate"].includes(outcome),
  );
  const dead = sum(metrics, "freshet_dead_letters_total"),
    lost = one(metrics, "freshet_dead_letters_lost_total") ?? 0;
  note("dead letters", now, dead);
  const list = outcomes.map(({ outcome, events }) => ({
    name: outcome.replaceAll("_", " "),
    total: Number(events),
    key: `outcome ${outcome}`,
  }));
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
  put(
    $("partitions-how"),
    status.partitions.length ? `${status.partitions.length}, ${behind ? `${behind} behind` : "none behind"}` : "",
  );
  if (status.partitions.length === 0) return empty(body, 5, "No partition is assigned yet.");
  filled(body);
  const isOne = new Set(status.partitions.map(({ topic }) => topic)).size === 1;
  rows(
    body,
    status.partitions,
    (p) => `${p.topic}/${p.partition}`,
    (p) => row(isOne ? `${p.topic} ${p.partition}` : `${p.topic} ${p.partition}`, "", "", "", ""),
    (tr, p) => {
      const next = Number(p.nextOffset),
        end = Number(p.endOffset);
      cells(
        tr,
        [
          next < 0 ? "–" : whole.format(next),
          end < 0 ? "–" : whole.format(Math.max(end, next)),
          Number(p.lagEvents) < 0 ? "another’s" : whole.format(Number(p.lagEvents)),
          whole.format(Number(p.gapEvents)),
        ],
        1,
      );
      tr.cells[3].className = Number(p.lagEvents) > 10000 ? "warn" : "";
      tr.cells[4].className = Number(p.gapEvents) > 0 ? "bad" : "";
    },
  );
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
  rows(
    body,
    list,
    ({ method }) => method,
    ({ method }) => {
      const tr = row(method.replace(/^freshet\.v1\./, ""), "", "", "", "");
      tr.cells[0].title = method;
      return tr;
    },
    (tr, { method, pair, errors }) => {
      const [p50, p99] = pair ? [quantile(0.5, ...pair), quantile(0.99, ...pair)] : [null, null];
      const shown = (s) => (s === null ? "–" : spanned(s * 1000));
      cells(tr, [pair ? rate(speed(`method ${method}`, RATES_S)) : "", shown(p50), shown(p99), whole.format(errors)], 1);
      tr.cells[4].className = errors > 0 ? "warn" : "";
    },
  );
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
  const p99 = quantile(0.99, ...epochs),
    level0 = one(metrics, "freshet_level0_files") ?? 0,
    age = one(metrics, "freshet_epoch_age_seconds");
  const failed = one(metrics, "freshet_epochs_failed_total") ?? 0,
    free = one(metrics, "freshet_disk_free_bytes");
  fact($("epochs"), "last epoch", whole.format(Number(status.epoch)));
  fact($("epochs"), "its age", age === null ? "–" : spanned(age * 1000), null, age > 60 ? "bad" : age > 20 ? "warn" : "");
  fact($("epochs"), "takes, p99", p99 === null ? "–" : spanned(p99 * 1000));
  fact($("epochs"), "its size", bytes(one(metrics, "freshet_epoch_bytes") ?? 0));
  fact($("epochs"), "failed", whole.format(failed), null, failed > 0 ? "warn" : "");
  fact($("epochs"), "level-0 files", whole.format(level0), null, level0 > 12 ? "warn" : "");
  fact($("epochs"), "free disk", free === null ? "–" : bytes(free), null, free !== null && free < 2 ** 30 ? "warn" : "");
  const budget = one(metrics, "freshet_state_budget_bytes") || 1,
    dirty = one(metrics, "freshet_state_dirty_bytes") ?? 0;
  const share = Number(status.memoryBytes) / budget;
  fact($("memory"), "of the budget", `${(share * 100).toFixed(1)} %`, share, share > 0.95 ? "bad" : share > 0.85 ? "warn" : "");
  fact($("memory"), "changed, not durable", bytes(dirty), dirty / budget, dirty / budget > 0.6 ? "warn" : "");
  fact($("memory"), "entities", short(Number(status.entities)));
  fact($("memory"), "in memory", short(one(metrics, "freshet_state_table_entities") ?? 0));
  fact($("memory"), "evicted", short(one(metrics, "freshet_state_evictions_total") ?? 0));
  fact($("memory"), "resident", bytes(one(metrics, "freshet_resident_memory_bytes") ?? 0));
}

/* ---- Models ---- */

const JUDGED = [
  ["log loss", "logLoss"],
  ["normalised entropy", "normalizedEntropy"],
  ["calibration", "calibration"],
];
function showModels(status, now) {
  $("models-section").hidden = status.models.length === 0;
  const tasks = status.models.flatMap((model) => model.tasks.map((task) => ({ model, task })));
  tasks.forEach(({ task }, i) =>
    JUDGED.forEach(([, field], j) => note(`task ${i} ${j}`, now, Number(task.examples) > 0 ? task[field] : null)),
  );
  rows(
    $("models"),
    tasks.map((one, i) => ({ ...one, i })),
    ({ i }) => i,
    ({ model, task }) =>
      make(
        "div",
        { className: "card" },
        make("h3", {}, `${model.name} · ${task.name}`),
        make("p", { className: "quiet" }),
        ...JUDGED.flatMap(([name]) => [
          make("p", { className: "windows" }, make("span", {}, name, " ", make("b"))),
          draw("svg", { class: "spark" }),
        ]),
      ),
    (card, { model, task, i }) => {
      put(
        card.children[1],
        `${model.role}, version ${model.version}, ${short(Number(task.examples))} examples, AUC ${task.auc.toFixed(3)}`,
      );
      card.children[1].className = model.role === "frozen" ? "quiet warn" : "quiet";
      JUDGED.forEach(([name, field], j) => {
        const shown = points(`task ${i} ${j}`, now),
          known = shown.map(([, v]) => v).filter((v) => v !== null);
        const low = Math.min(...known),
          high = Math.max(...known),
          room = Math.max((high - low) / 4, 0.005);
        put(card.children[2 + 2 * j].querySelector("b"), Number(task.examples) > 0 ? task[field].toFixed(4) : "–");
        line(card.children[3 + 2 * j], shown, {
          least: known.length ? low - room : 0,
          most: known.length ? high + room : 1,
          label: `${name} of ${model.name} ${task.name}`,
        });
      });
    },
  );
}

/* ---- The exposure ledger ---- */

const percent = (share) => `${(share * 100).toFixed(1)} %`;
function showLedger(status) {
  rows(
    $("ledger").tBodies[0],
    status.ledger,
    ({ column, name }) => `${column} ${name}`,
    ({ column, name }) => row(column, name, "", "", ""),
    (tr, { value: has, target, deficit, whole }) => {
      const isShare = target !== 0 || whole !== 0 || deficit !== 0; /* a Gini has only itself */
      cells(tr, isShare ? [percent(has), percent(target), percent(deficit)] : [has.toFixed(3), "", ""], 2);
      tr.cells[4].className = deficit > 0.05 ? "warn" : "";
    },
  );
}
/* As a list that is refused: the table says why, and the node is not gone for that. */
function failPools(error) {
  $("pools").tBodies[0].replaceChildren(row(error instanceof Refused ? error.message : "does not answer", "", "", ""));
}
async function showPools(status) {
  const { lists, features } = await know();
  const isPool = ({ rank }) => features.some(({ name, aggregate }) => name === rank && aggregate === "quota");
  const pools = lists.filter(isPool);
  $("ledger-section").hidden = pools.length + status.ledger.length === 0;
  const found = await Promise.all(pools.map(({ name }) => askJson("/top", { list: name, scope: "global" })));
  rows(
    $("pools").tBodies[0],
    pools.map((pool, i) => ({ pool, ...found[i] })),
    ({ pool }) => pool.name,
    ({ pool }) => row(pool.name, "", "", ""),
    (tr, { ids, scores }) =>
      cells(tr, [whole.format(ids.length), short(scores.reduce((all, one) => all + one, 0)), ids.length ? `${ids[0]}: ${value(scores[0])}` : "–"], 1),
  );
}

/* ---- The round ---- */

async function seed() {
  try {
    const old = await askJson("/history");
    const ahead = Date.now() - (old.atMs.at(-1) ?? 0),
      skew = Math.abs(ahead) > 2000 ? ahead : 0; /* of the page's clock */
    old.atMs.forEach((atMs, i) => {
      const at = atMs + skew;
      for (const [name, column] of [
        ["applied", "applied"],
        ["lag", "lagEvents"],
        ["stale", "staleMs"],
        ["behind", "behindMs"],
        ["memory", "memoryBytes"],
      ])
        note(name, at, old[column][i]);
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
    const metrics = parse(text),
      now = Date.now();
    seenAt = now;
    $("door").hidden = true;
    sayStatus(status);
    showTiles(status, metrics, now);
    showEvents(status, metrics, now);
    showPartitions(status);
    showMethods(metrics, now);
    showFacts(status, metrics, now);
    showModels(status, now);
    showLedger(status);
    await showCluster(metrics).catch(failCluster);
    if (round++ % 3 === 0) await Promise.all([showRanks(), showPools(status).catch(failPools)]);
    if (round % 2 === 0) await showFound(false);
  } catch (error) {
    if (error instanceof Refused && (error.status === 401 || error.status === 403)) {
      say("closed", "closed", error.status === 401 ? "This node asks who reads its status." : error.message);
      $("door").hidden = false;
    } else if (error instanceof Refused) {
      say("gone", "refused", `The node refused: ${error.message}`);
    } else {
      say(
        "gone",
        "gone",
        `The node does not answer${seenAt ? `; last seen at ${time(seenAt)} UTC, ${spanned(Date.now() - seenAt)} ago. What is shown is of then.` : "."}`,
      );
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
  seed();
});
document.addEventListener("keydown", (event) => {
  if (event.key !== "/" || event.ctrlKey || event.metaKey || event.altKey || event.target.matches("input:not([type=radio])"))
    return;
  event.preventDefault();
  $("find-id").focus();
  $("find-id").select();
});
seed().then(tick);
