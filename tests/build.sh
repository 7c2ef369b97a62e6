#!/bin/sh
# build.sh -- configures and builds: build.sh DIRECTORY TARGET [-Doption=value]... (TARGET "all": everything).
# A directory that is configured already is configured again, so that libraries installed since are found.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
directory=$1
target=$2
shift 2
if [ -f "$directory/build.ninja" ]; then set -- --reconfigure "$@"; fi
meson setup "$@" "$directory" "$root"
if [ "$target" = all ]; then set --; else set -- "$target"; fi
exec meson compile -C "$directory" "$@"
