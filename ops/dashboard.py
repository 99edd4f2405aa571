"""A Grafana dashboard of ops/compose/grafana as one HTML page, its panels drawn with what a Prometheus has: for pictures, where there is no Grafana.

It knows the panels that are there (row, stat, timeseries) and their units; what it does not know, it refuses. ops/screenshots uses it.
"""

import html
import json
import math
import re
import time
import urllib.parse
import urllib.request

COLOURS = ("#3b7dd8", "#d9822b", "#2e9e6b", "#c0447a", "#7a62c9", "#8a8f2d", "#2b9db3", "#b0563a")
STEP_S = 2
SECONDS = ((1, "s"), (1e3, "ms"), (1e6, "µs"))
UNITS = {
    "short": lambda value: scaled(value, 1000, ("", " k", " M", " G")),
    "none": lambda value: scaled(value, 1000, ("", " k", " M", " G")),
    "bytes": lambda value: scaled(value, 1024, (" B", " KiB", " MiB", " GiB", " TiB")),
    "percentunit": lambda value: f"{100 * value:.3g} %",
    "s": lambda value: "0 s" if value == 0 else next(f"{value * by:.3g} {name}" for by, name in SECONDS if abs(value) * by >= 1 or by == 1e6),
}
STYLE = """
:root { color-scheme: light dark; --back: #f4f5f6; --card: #fff; --text: #1d2227; --quiet: #5d666f; --line: #dfe3e6; }
@media (prefers-color-scheme: dark) { :root { --back: #14171a; --card: #1d2125; --text: #e4e7ea; --quiet: #9aa4ad; --line: #30363c; } }
* { box-sizing: border-box; margin: 0; }
body { background: var(--back); color: var(--text); font: 13px/1.35 system-ui, "DejaVu Sans", sans-serif; padding: 12px; }
h1 { font-size: 17px; margin: 0 0 8px; }
main { display: grid; grid-template-columns: repeat(24, 1fr); grid-auto-rows: 30px; gap: 6px; }
h2 { font-size: 14px; align-self: center; }
section { background: var(--card); border: 1px solid var(--line); border-radius: 6px; padding: 6px 9px; display: flex; flex-direction: column; overflow: hidden; }
h3 { font-size: 12px; font-weight: 600; white-space: nowrap; overflow: hidden; text-overflow: ellipsis; }
b { font-size: 27px; font-weight: 600; margin: auto 0; }
figure { flex: 1; display: grid; grid-template-columns: auto 1fr; min-height: 0; gap: 2px 6px; padding-top: 4px; }
figure div { display: flex; flex-direction: column; justify-content: space-between; text-align: right; font-size: 10.5px; color: var(--quiet); white-space: nowrap; }
svg { width: 100%; height: 100%; min-height: 0; border-bottom: 1px solid var(--line); border-left: 1px solid var(--line); }
polyline { fill: none; stroke-width: 1.6; vector-effect: non-scaling-stroke; }
ul { list-style: none; padding: 3px 0 0; font-size: 10.5px; color: var(--quiet); height: 19px; overflow: hidden; }
li { display: inline-block; margin-right: 10px; white-space: nowrap; }
li::before { content: "━ "; color: var(--c); }
p { margin: auto; color: var(--quiet); }
@media (max-width: 700px) { main { display: block; } section { height: 200px; margin: 0 0 8px; } section.stat { height: 84px; } h2 { margin: 12px 0 6px; } h3 { white-space: normal; } }
"""


def scaled(value, base, names):
    at = 0
    while abs(value) >= base and at < len(names) - 1:
        value, at = value / base, at + 1
    return f"{value:.3g}{names[at]}"


class Dashboard:
    """`prometheus` is its address; `instance` how the node is called in the legend."""

    def __init__(self, path, prometheus, seconds, instance="node"):
        self.told, self.prometheus, self.instance = json.loads(path.read_text()), prometheus, instance
        self.end_s = int(time.time())
        self.begin_s = self.end_s - seconds

    def series(self, target):
        """[(legend, [(seconds, value)])] of a panel's query over the time shown."""
        asked = re.sub(r"\$\w+", ".+", target["expr"]).replace("[1m]", "[15s]").replace("[5m]", "[30s]")  # there is a minute of it
        query = urllib.parse.urlencode({"query": asked, "start": self.begin_s, "end": self.end_s, "step": STEP_S})
        with urllib.request.urlopen(f"http://{self.prometheus}/api/v1/query_range?{query}") as reply:
            found = json.load(reply)["data"]["result"]
        for one in found:
            labels = {**one["metric"], "instance": self.instance}
            points = [(at, float(value)) for at, value in one["values"] if math.isfinite(float(value))]
            if points:
                yield re.sub(r"\{\{(\w+)\}\}", lambda name: labels.get(name[1], ""), target.get("legendFormat", "")), points

    def panel(self, panel):
        unit = UNITS[panel["fieldConfig"]["defaults"].get("unit", "short")]
        lines = [line for target in panel["targets"] for line in self.series(target)]
        if not lines:
            return "<p>no data</p>"
        if panel["type"] == "stat":
            return f"<b>{unit(lines[0][1][-1][1])}</b>"
        lines.sort(key=lambda line: -max(value for _, value in line[1]))  # the legend begins with what is seen
        values = [value for _, points in lines for _, value in points]
        least, most = min(0, *values), max(0, *values)
        most = most if most > least else least + 1
        drawn, legend = "", ""
        for (name, points), colour in zip(lines, COLOURS * 9):
            spots = " ".join(
                f"{1000 * (at - self.begin_s) / (self.end_s - self.begin_s):.0f},{100 * (1 - (value - least) / (most - least) * 0.96):.1f}"
                for at, value in points
            )
            drawn += f'<polyline points="{spots}" stroke="{colour}"/>'
            legend += f'<li style="--c:{colour}">{html.escape(name)}</li>'
        axis = f"<div><span>{unit(most)}</span><span>{unit(least)}</span></div>"
        return f'<figure>{axis}<svg viewBox="0 0 1000 100" preserveAspectRatio="none">{drawn}</svg></figure><ul>{legend}</ul>'

    def page(self, rows=None):
        """The whole of it, or its first `rows` rows of the grid."""
        blocks = []
        for panel in self.told["panels"]:
            place, title = panel["gridPos"], html.escape(panel["title"])
            if rows is not None and place["y"] + place["h"] > rows:
                continue
            spot = "grid-column:{}/span {};grid-row:{}/span {}".format(place["x"] + 1, place["w"], place["y"] + 1, place["h"])
            if panel["type"] == "row":
                blocks.append(f'<h2 style="{spot}">{title}</h2>')
            else:
                assert panel["type"] in ("stat", "timeseries"), panel["type"]
                blocks.append(f'<section class="{panel["type"]}" style="{spot}"><h3>{title}</h3>{self.panel(panel)}</section>')
        head = '<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
        name = html.escape(self.told["title"])
        return f"<!DOCTYPE html><html lang=en><head>{head}<title>{name}</title><style>{STYLE}</style></head><body><h1>{name}</h1><main>{''.join(blocks)}</main></body></html>"
