#!/bin/sh
# exports.sh -- what the library shows and what it asks for: exports.sh SHARED STATIC HEADER...
set -eu

wrong=0
complain() {
    [ -z "$2" ] || { printf '%s:\n%s\n' "$1" "$2"; wrong=1; }
}

# Symbol versions (name@@VERSION) are no part of the name.
shown=$(nm -D --defined-only "$1" | awk '{ sub(/@.*/, "", $NF); print $NF }')
complain "exported without a prefix of ours" "$(echo "$shown" | grep -Ev '^(ad|data|flow|optim)_' || true)"
# Every function of the public headers.
static=$2
shift 2
declared=$(sed -n 's/^AD_API [^(]*[ *]\([a-z0-9_]*\)(.*/\1/p' "$@")
[ "$(echo "$declared" | wc -l)" -gt 100 ] || complain "found too few functions in the headers" "$declared"
complain "declared and not exported" "$(printf '%s\n' "$shown" "$shown" "$declared" | sort | uniq -u)"

# A library neither ends the process, nor prints on its own, nor reads the locale. __assert_fail is what assert calls, in
# builds that keep assertions.
forbidden='abort|_?exit|_Exit|quick_exit|(__)?v?printf(_chk)?|puts|putchar|perror|setlocale|localeconv|strto[fd]|strtold'
forbidden="$forbidden|ato[fil]|atoll|(__isoc99_)?v?s?scanf|rand|srand|signal|system"
complain "imported" "$(nm -A -u "$static" 2>/dev/null | awk '{ sub(/@.*/, "", $NF); print $1, $NF }' |
    grep -E " ($forbidden)\$" || true)"
exit "$wrong"
