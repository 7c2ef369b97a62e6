#!/bin/sh
# gallery.sh -- what examples/gallery promises its user, one case a run: gallery.sh CASE GALLERY DENSITY2D
set -eu
absolute() { case $1 in /*) echo "$1" ;; *) echo "$PWD/$1" ;; esac; }
program=$(absolute "$2")
density2d=$(absolute "$3")
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"

fail() {
    echo "FAILED: $*" >&2
    exit 1
}
show() { "$program" --density moons --steps 30 --batch 128 --test-points 1000 --quiet "$@"; }
# refuses STATUS WORD ARGUMENT...: the program ends with that status, and its message has the word.
refuses() {
    wanted=$1 word=$2 status=0
    shift 2
    show "$@" >out 2>err || status=$?
    [ "$status" -eq "$wanted" ] || fail "status $status, not $wanted"
    grep -qF -- "$word" err || fail "the message does not name $word: $(cat err)"
    [ ! -s out ] || fail "something on stdout"
}

case $1 in
    all) # a row for each model that has a name, with a gap that is near what so few steps give; a picture
        show >out
        "$density2d" --model none --quiet 2>&1 | sed 's/.*known are //; s/, /\n/g' | sort >names
        awk '/[+]-/ { print $1 }' out | sort >rows
        [ "$(wc -l <names)" -ge 9 ] || fail "names: $(cat names)"
        cmp names rows || fail "rows: $(cat out)"
        awk '/[+]-/ && !($4 > -0.1 && $4 < 1.2) { exit 1 }' out || fail "a gap is out of range: $(cat out)"
        head -c 4 gallery.png | grep -aq PNG || fail "no picture"
        ;;
    svg)
        show --picture g.svg --steps 2 >out
        grep -q '</svg>' g.svg || fail "no SVG"
        ;;
    help)
        "$program" --help >out
        for option in density steps batch lr average test-points picture seed threads quiet help; do
            grep -Eq "^  --$option .*[a-z]{3}" out || fail "--$option is not in the help"
        done
        ;;
    no-density) refuses 1 "'colours'" --density colours ;;
    bad-number) refuses 2 --steps --steps 0 ;;
    unwritable-picture) refuses 1 nowhere/p.png --picture nowhere/p.png ;;
    *) fail "no case $1" ;;
esac
