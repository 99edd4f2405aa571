#!/bin/bash
# That a node is hard to break out of: how the binary is built (release presets only; 77: another build), and how its images run.
# usage: tests/hardening.sh BINARY
set -euo pipefail
top=$(cd "$(dirname "$0")/.." && pwd)
binary=$1
mistakes=0

complain()
{
    echo "hardening: $*"
    mistakes=$((mistakes + 1))
}

# has TEXT PATTERN WHAT
has()
{
    grep -Eq -- "$2" <<<"$1" || complain "$3"
}

command -v readelf >/dev/null || { echo "hardening: no readelf; install binutils"; exit 77; }
symbols=$(readelf --dyn-syms -W "$binary")
if grep -Eq '__(asan|tsan)_init' <<<"$symbols"; then
    echo "hardening: $binary is built with a sanitizer"
    exit 77
fi
has "$(readelf -h "$binary")" 'Type: +DYN' "$binary is not position independent"
has "$(readelf -d "$binary")" 'FLAGS_1.*NOW.*PIE' "$binary binds lazily or is no PIE"
segments=$(readelf -lW "$binary")
has "$segments" 'GNU_RELRO' "$binary has no RELRO"
has "$segments" 'GNU_STACK .* RW ' "$binary has an executable stack"
has "$symbols" '__stack_chk_fail' "$binary has no stack protector"
has "$symbols" '__(snprintf|memcpy|vsnprintf)_chk' "$binary is built without _FORTIFY_SOURCE"
if readelf -d "$binary" | grep -Eq 'RPATH|RUNPATH|TEXTREL'; then
    complain "$binary has an RPATH or text relocations"
fi

dockerfile=$(cat "$top/Dockerfile")
has "$dockerfile" '^USER [1-9][0-9]*$' "Dockerfile: the node must not run as root, and by number, so that runAsNonRoot can tell"
has "$dockerfile" '^HEALTHCHECK ' "Dockerfile: no HEALTHCHECK"
compose=$(cat "$top/docker-compose.yml")
has "$compose" 'cap_drop: \[ALL\]' "docker-compose.yml: capabilities are not dropped"
has "$compose" 'no-new-privileges:true' "docker-compose.yml: no no-new-privileges"
has "$compose" 'ulimits: \{ core: 0 \}' "docker-compose.yml: core dumps are on, and hold state and secrets"

# Of each service: a name at two spaces, what follows it up to the next.
for service in $(sed -n '/^services:/,/^volumes:/s/^  \([a-z]*\):$/\1/p' "$top/docker-compose.yml"); do
    text=$(sed -n "/^services:/,/^volumes:/p" "$top/docker-compose.yml" | sed -n "/^  $service:\$/,/^  [a-z]*:\$/p" | sed '1!{/^  [a-z]*:$/d}')
    has "$text" '<<: \*small' "docker-compose.yml: $service does not take the common restrictions"
    has "$text" 'mem_limit: ' "docker-compose.yml: $service has no memory limit"
    has "$text" 'healthcheck:|build: ' "docker-compose.yml: $service has no healthcheck"
    [ "$service" = kafka ] || has "$text" 'read_only: true' "docker-compose.yml: $service can write to its root" # Kafka writes its configuration
done
[ "$mistakes" = 0 ] && echo "hardening: well built, and run with little"
exit $((mistakes > 0))
