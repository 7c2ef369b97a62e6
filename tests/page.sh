#!/bin/sh
# page.sh -- a committed page is what its program prints: page.sh PROGRAM PAGE
set -eu
"$1" | diff -u "$2" - && exit 0
echo "FAILED: $2 is out of date; its first lines say how to make it anew" >&2
exit 1
