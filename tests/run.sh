#!/bin/sh
# run.sh -- installs what is missing, builds, runs the tests; the last line is "N passed, N failed".
#
#   sh tests/run.sh [--build DIRECTORY] [-Doption=value]... [argument of meson test]...
#
# For example "--suite ops", or the name of a test. With CI=true in the environment warnings are errors.
set -u
root=$(cd "$(dirname "$0")/.." && pwd)
build=$root/build
werror=false
[ "${CI:-}" != true ] || werror=true

finish() { # finish PASSED FAILED
    echo "$1 passed, $2 failed"
    if [ "$2" -eq 0 ]; then exit 0; else exit 1; fi
}

# One pass over the arguments: those for meson test go round to the end, in their order.
options=-Dwerror=$werror
left=$#
while [ "$left" -gt 0 ]; do
    argument=$1
    shift
    left=$((left - 1))
    case $argument in
        --build)
            [ "$left" -gt 0 ] || { echo "run.sh: --build: expected a directory after it" >&2; exit 2; }
            case $1 in /*) build=$1 ;; *) build=$PWD/$1 ;; esac
            shift
            left=$((left - 1))
            ;;
        -D*) options="$options $argument" ;;
        *) set -- "$@" "$argument" ;;
    esac
done

echo "== Checking what build and tests need"
sh "$root/tests/install.sh" tests || finish 0 1

# Of one suite only what it needs is built.
case " $* " in
    *" --suite "*) target=pullback:static_library rebuild= ;;
    *) target=all rebuild=--no-rebuild ;;
esac
echo "== Building in $build ($options)"
# shellcheck disable=SC2086 # a list of options without spaces in them
sh "$root/tests/build.sh" "$build" "$target" $options || finish 0 1

echo "== Testing"
log=$build/meson-logs/testlog.json
rm -f "$log"
# shellcheck disable=SC2086 # an option or nothing
meson test -C "$build" $rebuild --print-errorlogs "$@"
status=$?

count() { grep -Ec "\"result\": \"($1)\"" "$log" 2>/dev/null || true; }
passed=$(count 'OK|EXPECTEDFAIL')
failed=$(count 'FAIL|TIMEOUT|ERROR|INTERRUPT|UNEXPECTEDPASS')
skipped=$(count SKIP)
# Meson's own failures, say a name that is no test, have no result.
if [ "$status" -ne 0 ] && [ "${failed:-0}" -eq 0 ]; then failed=1; fi
[ "${skipped:-0}" -eq 0 ] || echo "($skipped skipped)"
finish "${passed:-0}" "${failed:-0}"
