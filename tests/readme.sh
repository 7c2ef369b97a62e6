#!/bin/sh
# readme.sh -- the C that the README shows is what is tested: its first piece is all of an example but its first line, and
# each other stands, as it is, in the example of its place: readme.sh README PROGRAM.c EXAMPLE.c...
set -eu
piece() { # piece NUMBER: from 1
    awk -v want="$1" '/^```$/ { on = 0 } on && n == want { print } /^```c$/ { on = 1; n++ }' "$readme"
}
readme=$1
shift
shown=$(piece 1)
tested=$(tail -n +2 "$1") # without the line that says what file it is
[ "$shown" = "$tested" ] || { echo "FAILED: the README shows another program than $1" >&2; exit 1; }
n=1
for file; do
    whole=$(cat "$file")
    shown=$(piece $n)
    case $n:$whole in
        1:* | *"${shown:-no such piece}"*) ;;
        *) echo "FAILED: piece $n of the README is not in $file" >&2; exit 1 ;;
    esac
    n=$((n + 1))
done
[ -z "$(piece $n)" ] || { echo "FAILED: the README has more pieces of C than are tested" >&2; exit 1; }
