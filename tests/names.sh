#!/bin/bash
# No Python file uses a name that nothing defines: a test that only --all runs would tell too late. Exit 77, a skip, where pyflakes is missing; with
# CI=true that fails.
set -euo pipefail
cd "$(dirname "$0")/.."
command -v pyflakes3 >/dev/null || {
    echo "names: pyflakes3 is missing; ops/install --tests brings it"
    [ "${CI:-}" = true ] && exit 1
    exit 77
}
mapfile -t files < <(git ls-files -- '*.py' 2>/dev/null || find . -path ./build -prune -o -name '*.py' -print)
[ "${#files[@]}" -gt 0 ] || { echo "names: no sources found"; exit 1; }
if printf '%s\0' "${files[@]}" | xargs -0 pyflakes3 | grep -E "undefined name|may be undefined|invalid syntax"; then
    exit 1
fi
echo "names: ${#files[@]} files use what there is"
