"""Least squares with coefficients that are not negative, of a few rows: what calibration needs of linear algebra."""


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


def steady(rows, names, target, part=0.75):
    """The same of those rows that agree: the others, at most a quarter, are what a machine does that is busy with something else."""
    found = nonnegative(rows, names, target)
    for _ in range(3):
        rest = sorted(rows, key=lambda row: abs(sum(found[name] * row[name] for name in names) / row[target] - 1))
        found = nonnegative(rest[: max(len(names) + 1, round(part * len(rows)))], names, target)
    return found
