#!/bin/sh
# example.sh -- runs an example in a folder of its own; its output has to match: example.sh PROGRAM PATTERN...
set -eu
case $1 in /*) program=$1 ;; *) program=$PWD/$1 ;; esac
shift
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
output=$("$program")
printf '%s\n' "$output"
for pattern; do
    printf '%s\n' "$output" | grep -Eq -- "$pattern" || { echo "FAILED: no line matches $pattern" >&2; exit 1; }
done
