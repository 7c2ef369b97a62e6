#!/bin/sh
# example.sh -- runs an example in a folder of its own; its output has to match: example.sh PROGRAM PATTERN...
# EXAMPLE_ARGS in the environment: what the program is called with.
set -eu
case $1 in /*) program=$1 ;; *) program=$PWD/$1 ;; esac
shift
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
# shellcheck disable=SC2086 # several words
output=$("$program" ${EXAMPLE_ARGS-})
printf '%s\n' "$output"
for pattern; do
    printf '%s\n' "$output" | grep -Eq -- "$pattern" || { echo "FAILED: no line matches $pattern" >&2; exit 1; }
done
