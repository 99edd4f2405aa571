#!/bin/bash
# Every tracked C file is as clang-format (14) leaves it. Exit 77, a skip, where clang-format is missing; with CI=true that fails.
set -euo pipefail
cd "$(dirname "$0")/.."
formatter=$(command -v clang-format-14 || command -v clang-format) || {
    echo "format: clang-format is missing; ops/install --tests brings it"
    [ "${CI:-}" = true ] && exit 1
    exit 77
}
# Without git (a source archive) all files are ours but those of a build.
mapfile -t files < <(git ls-files -- '*.c' '*.h' 2>/dev/null || find . -path ./build -prune -o -name '*.[ch]' -print)
[ "${#files[@]}" -gt 0 ] || { echo "format: no sources found"; exit 1; }
printf '%s\0' "${files[@]}" | xargs -0 -n 16 -P "$(nproc)" "$formatter" --dry-run -Werror
echo "format: ${#files[@]} files are well"
