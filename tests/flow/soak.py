"""What a long run is watched by: samples of a process, the slope of a line through them, and a picture."""

import html
import pathlib

WIDTH, HEIGHT, LEFT, TOP, GAP = 900, 150, 70, 30, 45


class Samples:
    """(seconds since the start, resident bytes, descriptors, lag) of one process."""

    def __init__(self):
        self.rows = []

    def take(self, at_s, node, lag):
        of_process = pathlib.Path(f"/proc/{node.process.pid}")
        fields = dict(line.split(":", 1) for line in of_process.joinpath("status").read_text().splitlines())
        self.rows.append((at_s, int(fields["VmRSS"].split()[0]) * 1024, len(list(of_process.joinpath("fd").iterdir())), lag))

    def column(self, number, after_s=0.0):
        return [(row[0], row[number]) for row in self.rows if row[0] >= after_s]


def slope(points):
    """Least squares: units a second."""
    count = len(points)
    mean_x = sum(x for x, _ in points) / count
    mean_y = sum(y for _, y in points) / count
    spread = sum((x - mean_x) ** 2 for x, _ in points)
    return sum((x - mean_x) * (y - mean_y) for x, y in points) / spread if spread else 0.0


def panel(title, top, lines, end_s):
    most = max((y for _, points in lines for _, y in points), default=0) or 1
    yield f'<text x="{LEFT}" y="{top - 8}" font-weight="bold">{html.escape(title)}</text>'
    yield f'<rect x="{LEFT}" y="{top}" width="{WIDTH}" height="{HEIGHT}" fill="none" stroke="#999"/>'
    yield f'<text x="{LEFT - 6}" y="{top + 10}" text-anchor="end">{most:,.0f}</text>'
    yield f'<text x="{LEFT - 6}" y="{top + HEIGHT}" text-anchor="end">0</text>'
    for (name, points), colour in zip(lines, ("#0a58ca", "#c2410c")):
        path = " ".join(f"{LEFT + x / end_s * WIDTH:.1f},{top + HEIGHT - y / most * HEIGHT:.1f}" for x, y in points)
        yield f'<polyline points="{path}" fill="none" stroke="{colour}"><title>{html.escape(name)}</title></polyline>'


def picture(steady, killed, marks, end_s, caption):
    """SVG: memory, descriptors and lag of both nodes over time; `marks` are (seconds, what)."""
    drawn = []
    for number, title in ((1, "resident memory, MiB"), (2, "file descriptors"), (3, "lag, events")):
        scale = 1 << 20 if number == 1 else 1
        lines = [(name, [(x, y / scale) for x, y in one.column(number)]) for name, one in (("steady", steady), ("killed", killed))]
        drawn += panel(title, TOP + (number - 1) * (HEIGHT + GAP), lines, end_s)
    bottom = TOP + 3 * HEIGHT + 2 * GAP
    for at_s, what in marks:
        x = LEFT + at_s / end_s * WIDTH
        drawn.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{bottom}" stroke="#bbb" stroke-dasharray="2,3"/>')
        if what != "kill":
            drawn.append(f'<text x="{x:.1f}" y="{bottom + 14}">{html.escape(what)}</text>')
    drawn.append(f'<text x="{LEFT}" y="{bottom + 34}">{html.escape(caption)}</text>')
    size = f'width="{WIDTH + LEFT + 20}" height="{bottom + 50}"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" font-size="12">\n' + "\n".join(drawn) + "\n</svg>\n"
