#!/bin/bash
# Which way the arrows point: fails, naming file and line, when a module includes a foreign header that is another module's to hide,
# another module's private header, or the public header of a module it may not use; and when it names another module's
# double-underscore symbol. What is allowed is this table: DESIGN.md's, with cli's way to ingest, since `produce` speaks to Kafka
# without a node, to server, whose TLS it speaks as a client and whose static reply `bench serve` is held against, and bench, which has
# the workloads. zlib has two homes: cli reads files, server calls. A unit test may see what its module may.
# usage: tests/layers.sh [top of the tree]
set -euo pipefail
top=$(cd "${1:-$(dirname "$0")/..}" && pwd)
cd "$top"

# module | modules it may use | foreign headers it alone may include | prefix of its names
table='
base||yaml.h xxhash.h|fr
proto|base|protobuf-c/ json-c/ json.h|proto
store|base|rocksdb/|store
aggregators|proto store base||agg
learner|proto store base||learner
ingest|proto base|librdkafka/|ingest
server|proto base|event2/ nghttp2/ openssl/ zlib.h|server
pipeline|base proto store aggregators learner ingest server||pipeline
bench|base proto store aggregators learner||bench
cli|pipeline bench ingest server proto base|zlib.h zstd.h|cli
'
libc='assert complex ctype dirent dlfcn endian errno execinfo fcntl fenv float fnmatch ftw getopt glob grp inttypes libgen limits link
locale malloc math netdb poll pthread pwd sched semaphore setjmp signal spawn stdalign stdarg stdatomic stdbool stddef stdint stdio
stdlib stdnoreturn string strings syslog termios time ucontext unistd wchar immintrin x86intrin'

sources=$(find base proto store aggregators learner ingest server pipeline bench cli tests/unit -name '*.[ch]' 2>/dev/null | sort || true)
[ -n "$sources" ] || { echo "layers: no sources below $top"; exit 1; }

# shellcheck disable=SC2086 # a list of names without spaces
awk -v table="$table" -v libc="$libc" '
function complain(what)
{
    printf "%s:%d: %s\n", FILENAME, FNR, what
    mistakes++
}

# Whether the file can be read.
function exists(path,    line, got)
{
    got = (getline line < path)
    close(path)
    return got >= 0
}

BEGIN {
    rows = split(table, row, "\n")
    for (i = 1; i <= rows; i++) {
        if (split(row[i], cell, "|") != 4)
            continue
        module_of_prefix[cell[4]] = cell[1]
        count = split(cell[2], names, " ")
        may_use[cell[1], cell[1]] = 1
        for (j = 1; j <= count; j++)
            may_use[cell[1], names[j]] = 1
        count = split(cell[3], names, " ")
        for (j = 1; j <= count; j++)
            home_of[names[j]] = home_of[names[j]] " " cell[1]
        modules[++module_count] = cell[1]
    }
    count = split(libc, names, /[ \n]+/)
    for (j = 1; j <= count; j++)
        is_libc[names[j] ".h"] = 1
}

FNR == 1 {
    split(FILENAME, parts, "/")
    is_test = parts[1] == "tests"
    module = is_test ? parts[3] : parts[1]
    folder = FILENAME
    sub(/\/[^\/]*$/, "", folder)
    in_comment = 0
}

# Comments and texts name what they like.
{
    code = ""
    rest = $0
    if (rest !~ /^[ \t]*#[ \t]*include/)
        gsub(/"([^"\\]|\\.)*"/, "\"\"", rest)
    while (rest != "") {
        if (in_comment) {
            at = index(rest, "*/")
            if (!at)
                break
            rest = substr(rest, at + 2)
            in_comment = 0
        } else {
            at = index(rest, "/*")
            line_at = index(rest, "//")
            if (line_at && (!at || line_at < at) && rest !~ /^[ \t]*#/) {
                code = code substr(rest, 1, line_at - 1)
                break
            }
            if (!at) {
                code = code rest
                break
            }
            code = code substr(rest, 1, at - 1) " "
            rest = substr(rest, at + 2)
            in_comment = 1
        }
    }
}

code ~ /^[ \t]*#[ \t]*include[ \t]*"/ {
    header = code
    sub(/^[^"]*"/, "", header)
    sub(/".*/, "", header)
    if (index(header, "..") || (!exists(folder "/" header) && !(is_test && (exists(module "/" header) || exists("tests/unit/" header)))))
        complain("\"" header "\" is no private header of " module)
    next
}

code ~ /^[ \t]*#[ \t]*include[ \t]*</ {
    header = code
    sub(/^[^<]*</, "", header)
    sub(/>.*/, "", header)
    if (header in is_libc || header ~ /^(sys|netinet|arpa|net|linux)\//)
        next
    if (is_test && (header == "cmocka.h" || header == "holder.pb-c.h"))
        next
    if (header ~ /^freshet\// || header ~ /^(grpc|google)\/.*\.pb-c\.h$/) {
        owner = header ~ /\.pb-c\.h$/ ? "proto" : ""
        for (i = 1; i <= module_count && owner == ""; i++)
            if (exists(modules[i] "/include/" header))
                owner = modules[i]
        if (owner == "")
            complain("<" header "> belongs to no module")
        else if (!((module, owner) in may_use))
            complain(module " may not use " owner " (<" header ">)")
        next
    }
    owner = ""
    for (name in home_of)
        if (header == name || (name ~ /\/$/ && index(header, name) == 1))
            owner = home_of[name]
    if (owner == "")
        complain("<" header "> has no home: a new dependency is named in the table of tests/layers.sh and in DESIGN.md")
    else if (index(owner " ", " " module " ") == 0)
        complain("<" header "> is for" owner " alone")
    next
}

{
    while (match(code, /[a-z][a-z0-9]*(_[a-z0-9]+)*__[a-z0-9_]+/)) {
        symbol = substr(code, RSTART, RLENGTH)
        before = RSTART > 1 ? substr(code, RSTART - 1, 1) : " "
        code = substr(code, RSTART + RLENGTH)
        prefix = symbol
        sub(/_.*/, "", prefix)
        if (before !~ /[A-Za-z0-9_]/ && prefix in module_of_prefix && module_of_prefix[prefix] != module)
            complain(symbol " is private to " module_of_prefix[prefix])
    }
}

END {
    if (mistakes > 0) {
        printf "layers: %d mistakes\n", mistakes
        exit 1
    }
}
' $sources
echo "layers: every arrow points down"
