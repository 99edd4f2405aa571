/*
 * A cluster as this instance sees it: whose the partitions are, what is on its way and how far. A node that stands alone shows nothing.
 * Each owner has a colour and a letter, in the order of names, so that all instances' pages give them alike while they know the same.
 */
"use strict";

const TINTS = 8;

/* Whose a partition is; "": nobody has said to have it since this instance gave it away, or ever. */
function ownerOf(told, { here, restoring, instance }) {
  if (here || restoring) return told.instance;
  return instance === told.instance ? "" : instance;
}
function letterOf(at) {
  return (at >= 26 ? letterOf(Math.floor(at / 26) - 1) : "") + String.fromCharCode(65 + (at % 26));
}
/* Of numbers that rise: 0–3, 7. */
function ranges(numbers) {
  const found = [];
  for (const number of numbers)
    if (found.length && found.at(-1)[1] === number - 1) found.at(-1)[1] = number;
    else found.push([number, number]);
  return found.map(([first, last]) => (first === last ? `${first}` : `${first}–${last}`)).join(", ");
}

function showShares(told, owners) {
  rows(
    $("shares"),
    told.partitions,
    ({ partition }) => partition,
    ({ partition }) => make("li", {}, `${partition} `, make("b"), make("span", { className: "hidden" })),
    (li, one) => {
      const owner = ownerOf(told, one),
        at = owners.indexOf(owner);
      const state = one.restoring
        ? ", restored here"
        : one.here
          ? ", this instance"
          : one.standby
            ? ", this instance stands by"
            : "";
      const shown = owner ? `o${at % TINTS}${one.restoring ? " restoring" : one.here ? " here" : ""}` : "nobody";
      const said = `${owner || "nobody has it"}${state}`;
      if (li.className !== shown) li.className = shown;
      put(li.children[0], owner ? letterOf(at) : "?");
      put(li.children[1], ` ${said}`);
      if (li.title !== said) li.title = said;
    },
  );
}

function showMembers(told, owners) {
  const address = new Map(told.members.map(({ instance, api }) => [instance, api]));
  const list = owners.map((instance, at) => ({ instance, at }));
  if (told.partitions.some((one) => !ownerOf(told, one))) list.push({ instance: "", at: -1 });
  rows(
    $("members").tBodies[0],
    list,
    ({ instance }) => instance,
    () => make("tr", {}, make("td", {}, make("span"), " ", make("span")), make("td"), make("td")),
    (tr, { instance, at }) => {
      const [swatch, name] = tr.cells[0].children;
      const own = told.partitions.filter((one) => ownerOf(told, one) === instance).map(({ partition }) => partition);
      swatch.className = at < 0 ? "swatch bad" : `swatch o${at % TINTS}`;
      put(swatch, at < 0 ? "?" : letterOf(at));
      put(name, instance ? `${instance}${instance === told.instance ? " (this one)" : ""}` : "nobody");
      cells(tr, [address.get(instance) || "–", own.length ? ranges(own) : "none"], 1);
    },
  );
}

/* What is restored, and what is read to stand by for it later; else nothing is on its way. */
function showComing(told) {
  const body = $("coming").tBodies[0];
  const list = told.partitions.filter((one) => one.restoring || (!one.here && !one.standby && Number(one.changelogLag) >= 0));
  if (list.length === 0) return empty(body, 3, "Nothing is being restored.");
  filled(body);
  rows(
    body,
    list,
    ({ partition }) => partition,
    () => row("", "", make("div", { className: "track" }, make("i"))),
    (tr, { partition, restoring, changelogNext, changelogLag }) => {
      const left = Number(changelogLag),
        next = Number(changelogNext),
        isKnown = left >= 0 && next >= 0;
      const share = isKnown && next + left > 0 ? next / (next + left) : 0;
      cells(tr, [`${partition} ${restoring ? "restoring" : "to stand by"}`, isKnown ? whole.format(left) : "nothing here yet"]);
      tr.cells[2].title = isKnown ? `at ${whole.format(next)} of ${whole.format(next + left)}` : "";
      tr.cells[2].firstChild.className = restoring ? "track warn" : "track";
      tr.cells[2].firstChild.firstChild.style.transform = `scaleX(${share})`;
    },
  );
}

function showInstance(told) {
  const list = $("instance"),
    restored = told.partitions.filter(({ restoring }) => restoring),
    copies = told.partitions.filter(({ standby }) => standby);
  const total = (some, field) => some.reduce((all, one) => all + Math.max(0, Number(one[field])), 0);
  const here = told.partitions.filter((one) => one.here),
    deltas = total(told.partitions, "deltasLag");
  put($("instance-how"), `${told.instance}${told.mode === "replica" ? ", a replica" : ""}`);
  fact(list, "owns", `${here.length} of ${told.partitions.length}`);
  fact(list, "restoring", whole.format(restored.length), null, restored.length ? "warn" : "");
  fact(list, "changelog left", whole.format(total(restored, "changelogLag")));
  fact(list, "stands by for", copies.length ? ranges(copies.map(({ partition }) => partition)) : "none");
  fact(list, "copies behind", whole.format(total(copies, "changelogLag")));
  fact(list, "deltas not merged", whole.format(deltas), null, deltas > 100 ? "warn" : "");
  fact(list, "events behind", whole.format(total(here, "lagEvents")));
  fact(list, "transactions", whole.format(Number(told.epoch)));
}

/* Only an instance has that metric, so a node that stands alone is not asked. */
async function showCluster(metrics) {
  const isInstance = metrics.has("freshet_cluster_partitions");
  if (!isInstance) {
    $("cluster-section").hidden = true;
    return;
  }
  const told = await askJson("/cluster");
  const owners = [...new Set(told.partitions.map((one) => ownerOf(told, one)).filter(Boolean))].sort();
  const nobodys = told.partitions.filter((one) => !ownerOf(told, one)).length;
  $("cluster-section").hidden = false;
  $("cluster-how").className = nobodys ? "warn" : "quiet";
  put(
    $("cluster-how"),
    told.partitions.length
      ? `${told.partitions.length} partitions at ${owners.length} ${owners.length === 1 ? "instance" : "instances"}${nobodys ? `, ${nobodys} nobody’s` : ""}`
      : "partitions are not known yet",
  );
  showShares(told, owners);
  showMembers(told, owners);
  showComing(told);
  showInstance(told);
}
/* The rest of the page goes on. */
function failCluster(error) {
  $("cluster-section").hidden = false;
  $("cluster-how").className = "warn";
  put($("cluster-how"), error instanceof Refused ? error.message : "does not answer");
}
