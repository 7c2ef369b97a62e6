#!/bin/sh
# gradient.sh -- what examples/gradient promises its user: gradient.sh GRADIENT
set -eu
case $1 in /*) program=$1 ;; *) program=$PWD/$1 ;; esac
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"

fail() {
    echo "FAILED: $*" >&2
    exit 1
}
# refuses STATUS WORD ARGUMENT...: the program ends with that status, and its message has the word.
refuses() {
    wanted=$1 word=$2 status=0
    shift 2
    "$program" "$@" >out 2>err || status=$?
    [ "$status" -eq "$wanted" ] || fail "status $status, not $wanted"
    grep -qF -- "$word" err || fail "the message does not name $word: $(cat err)"
}

"$program" --points 2000 >out
for words in 'within [0-9]e-1[56] of the closed form$' '\[0\.8660 -1\.0000; 0\.5000 1\.7321\], determinant 2\.0000$' \
    'least squares in [0-9]+ steps, noise 0\.1[45]'; do
    grep -Eq "$words" out || fail "no $words in $(cat out)"
done
# Each parameter is found to within three standard errors; these are small.
awk '/[+]-/ { off = $2 - substr($5, 2); if (off < 0) off = -off; n += off < 3 * $4 && $4 < 0.02 } END { exit n != 4 }' out ||
    fail "a parameter is off: $(cat out)"
[ "$(head -c 4 gradient.png | tail -c 3)" = PNG ] || fail "no picture"
"$program" --noise 0 --picture g.svg >out # exact data: exact parameters
awk '/[+]-/ { n += $2 == substr($5, 2) + 0 } END { exit n != 4 }' out || fail "not exact: $(cat out)"
grep -q '</svg>' g.svg || fail "no SVG"
refuses 1 "gradient: " --noise 100 --points 8
refuses 1 nowhere/p.png --picture nowhere/p.png
refuses 2 --points --points 2
refuses 2 --colour --colour red
"$program" --help | grep -Eq '^  --points N .*[a-z]{3}' || fail "no help"
