#!/bin/sh
# header.sh -- a public header compiles on its own: header.sh LANGUAGE STANDARD HEADER COMPILER [FLAG]...
set -eu
language=$1
standard=$2
header=$3
shift 3
printf '#include "%s"\n' "$header" |
    "$@" -x "$language" -std="$standard" -Wall -Wextra -Wpedantic -Werror -fsyntax-only -
