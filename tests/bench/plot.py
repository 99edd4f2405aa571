"""Small line plots as SVG with their own style, light or dark as the reader's system is."""

import html

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 720, 360, 64, 700, 92, 312
COLOURS = {
    "blue": ("#0969da", "#4493f8"),
    "orange": ("#bc4c00", "#f0883e"),
    "green": ("#1a7f37", "#3fb950"),
    "grey": ("#6e7781", "#8c959f"),
    "purple": ("#8250df", "#ab7df8"),
}
STYLE = (
    "<style>.page{fill:#fff}text{fill:#1f2328;font:12px system-ui,sans-serif}.small{fill:#59636e;font-size:11px}"
    ".head{font-weight:600;font-size:15px}.axis{stroke:#d1d9e0}.mark{stroke:#59636e;stroke-dasharray:2 3}"
    "path{fill:none;stroke-width:2}.dashed{stroke-dasharray:6 4}"
    + "".join(f".{name}{{stroke:{light}}}" for name, (light, _) in COLOURS.items())
    + "@media(prefers-color-scheme:dark){.page{fill:#0d1117}text{fill:#f0f6fc}.small{fill:#9198a1}.axis{stroke:#3d444d}"
    + "".join(f".{name}{{stroke:{dark}}}" for name, (_, dark) in COLOURS.items())
    + "}</style>"
)


def _ticks(low, high):
    span = high - low
    step = next(one * 10.0**power for power in range(-4, 8) for one in (1, 2, 5) if span / (one * 10.0**power) <= 6)
    first = -(-low // step)
    return [round((first + number) * step, 6) for number in range(int((high - first * step) / step + 1e-9) + 1)]


def _number(value):
    return f"{value:,.0f}" if value == int(value) else f"{value:g}"


def lines(title, subtitle, series, x_name, y_name, y_range, marks=()):
    """`series`: (name, colour, is_dashed, [(x, y)…]) each; `marks`: (x, text) of vertical lines."""
    points = [point for *_, some in series for point in some]
    x_low, x_high = min(x for x, _ in points), max(x for x, _ in points)
    y_low, y_high = y_range

    def at(x, y):
        right = LEFT + (x - x_low) / (x_high - x_low) * (RIGHT - LEFT)
        return right, BOTTOM - (min(max(y, y_low), y_high) - y_low) / (y_high - y_low) * (BOTTOM - TOP)

    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" role="img" '
        f'aria-label="{html.escape(title)}">{STYLE}<rect class="page" width="{WIDTH}" height="{HEIGHT}"/>',
        f'<text class="head" x="16" y="26">{html.escape(title)}</text>',
        f'<text class="small" x="16" y="45">{html.escape(subtitle)}</text>',
    ]
    for y in _ticks(y_low, y_high):
        _, up = at(x_low, y)
        out.append(f'<line class="axis" x1="{LEFT}" x2="{RIGHT}" y1="{up:.1f}" y2="{up:.1f}"/>')
        out.append(f'<text class="small" x="{LEFT - 8}" y="{up + 4:.1f}" text-anchor="end">{_number(y)}</text>')
    for x in _ticks(x_low, x_high):
        right, _ = at(x, y_low)
        out.append(f'<text class="small" x="{right:.1f}" y="{BOTTOM + 18}" text-anchor="middle">{_number(x)}</text>')
    out.append(f'<text class="small" x="{RIGHT}" y="{BOTTOM + 36}" text-anchor="end">{html.escape(x_name)}</text>')
    out.append(f'<text class="small" x="16" y="{TOP - 10}">{html.escape(y_name)}</text>')
    for x, text in marks:
        right, _ = at(x, y_low)
        out.append(f'<line class="mark" x1="{right:.1f}" x2="{right:.1f}" y1="{TOP}" y2="{BOTTOM}"/>')
        out.append(f'<text class="small" x="{right + 5:.1f}" y="{TOP + 10}">{html.escape(text)}</text>')
    legend = 16
    for name, colour, is_dashed, some in series:
        style = colour + (" dashed" if is_dashed else "")
        path = "L".join("{:.1f},{:.1f}".format(*at(x, y)) for x, y in some)
        out.append(f'<path class="{style}" d="M{path}"/>')
        out.append(f'<path class="{style}" d="M{legend},60h24"/><text x="{legend + 30}" y="64">{html.escape(name)}</text>')
        legend += 52 + 6.6 * len(name)
    return "\n".join([*out, "</svg>", ""])
