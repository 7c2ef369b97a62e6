#!/bin/sh
# readme.sh -- the program that the README shows is the example that is tested: readme.sh README PROGRAM.c
set -eu
shown=$(awk '/^```$/ { on = 0 } on { print } /^```c$/ { on = 1 }' "$1")
tested=$(tail -n +2 "$2") # without the line that says what file it is
[ "$shown" = "$tested" ] && exit 0
echo "FAILED: the README shows another program than $2" >&2
exit 1
