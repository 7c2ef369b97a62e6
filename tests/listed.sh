#!/bin/sh
# listed.sh -- every test_NAME.c is among the names that meson.build gives: listed.sh NAME...
set -eu
wrong=0
for file in "$(dirname "$0")"/test_*.c; do
    name=$(basename "$file" .c)
    case " $* " in
        *" ${name#test_} "*) ;;
        *) echo "FAILED: $file is not listed in tests/meson.build" >&2; wrong=1 ;;
    esac
done
exit $wrong
