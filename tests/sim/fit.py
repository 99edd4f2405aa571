"""Least squares with coefficients that are not negative, of a few rows: what calibration needs of linear algebra; and a line."""

import itertools
import statistics


def solve(matrix, right):
    """Gauss, with pivots."""
    rows = [[*row, value] for row, value in zip(matrix, right)]
    count = len(rows)
    for at in range(count):
        best = max(range(at, count), key=lambda row: abs(rows[row][at]))
        rows[at], rows[best] = rows[best], rows[at]
        if abs(rows[at][at]) < 1e-12:
            return None
        for row in range(count):
            if row != at:
                factor = rows[row][at] / rows[at][at]
                rows[row] = [a - factor * b for a, b in zip(rows[row], rows[at])]
    return [row[-1] / row[at] for at, row in enumerate(rows)]


def nonnegative(rows, names, target):
    """{name: coefficient} so that Σ coefficient × row[name] is near row[target], by relative error; names that would be negative are 0."""
    chosen = [name for name in names if any(row[name] for row in rows)]
    scale = {name: max(abs(row[name]) for row in rows) for name in chosen}
    size = max(row[target] for row in rows)
    while chosen:
        weighted = [([row[name] / scale[name] * size / row[target] for name in chosen], size) for row in rows if row[target] > 0]
        matrix = [[sum(a[i] * a[k] for a, _ in weighted) + (1e-9 if i == k else 0) for k in range(len(chosen))] for i in range(len(chosen))]
        found = solve(matrix, [sum(a[i] * b for a, b in weighted) for i in range(len(chosen))])
        worst = min(range(len(chosen)), key=lambda at: found[at])
        if found[worst] >= 0:
            return {name: 0.0 for name in names} | {name: number / scale[name] for name, number in zip(chosen, found)}
        chosen.pop(worst)
    return {name: 0.0 for name in names}


def line(points):
    """(slope, value at 0) of a line through (x, y), neither negative: medians, which a quarter of the points may be far from (Theil and Sen)."""
    apart = 0.2 * max(x for x, _ in points)
    slopes = [(b[1] - a[1]) / (b[0] - a[0]) for a, b in itertools.combinations(points, 2) if abs(b[0] - a[0]) > apart]
    slope = max(statistics.median(slopes), 0.0) if slopes else 0.0
    at_zero = statistics.median(y - slope * x for x, y in points)
    return (slope, at_zero) if at_zero >= 0 else (max(statistics.median(y / x for x, y in points if x), 0.0), 0.0)
