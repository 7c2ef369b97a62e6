#!/bin/sh
# quickstart.sh -- from a fresh machine to a trained flow: installs what is missing, builds, trains on two moons.
# Arguments go to build/examples/two_moons (--help explains them). Results are written to the current directory.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
build=$root/build

echo "== 1/3 Checking what the build needs"
sh "$root/tests/install.sh"

echo "== 2/3 Building in $build (a minute or two at first)"
if ! log=$(sh "$root/tests/build.sh" "$build" two_moons 2>&1); then
    printf '%s\n' "$log" >&2
    exit 1
fi

echo "== 3/3 Training a RealNVP with $build/examples/two_moons; results go to $PWD"
exec "$build/examples/two_moons" "$@"
