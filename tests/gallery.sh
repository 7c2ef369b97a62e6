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
        sed '1d; /standard errors/,$d' out >table
        awk '{ print $1 }' table | sort >rows
        [ "$(wc -l <names)" -ge 9 ] || fail "names: $(cat names)"
        cmp names rows || fail "rows: $(cat out)"
        awk '!($4 > -0.1 && $4 < 1.2) { exit 1 }' table || fail "a gap is out of range: $(cat out)"
        head -c 4 gallery.png | grep -aq PNG || fail "no picture"
        ;;
    several) # some models and densities: the same gaps as one by one
        chosen='planar:layers=2 nsf-ar:layers=1,transformer=linear'
        for density in moons circles; do
            show --density $density --models "$chosen" --steps 5 | awk '/^(planar|nsf)/ { print $4 }' >one_$density
        done
        show --density moons,circles --models "$chosen" --steps 5 --picture both.png >out
        awk '/^(planar|nsf)/ { print $4 }' out >first
        awk '/^(planar|nsf)/ { print $5 }' out >second
        [ "$(wc -l <first)" -eq 2 ] || fail "rows: $(cat out)"
        { cmp first one_moons && cmp second one_circles; } || fail "not as alone: $(cat out)"
        head -c 4 both.png | grep -aq PNG || fail "no picture"
        ;;
    eight) # all: the densities that the help names
        show --density all --models planar:layers=1 --steps 1 >out
        "$program" --help | grep -o '8gaussians[^ ]*checkerboard' | tr ',' '\n' | sort >names
        awk 'NR == 1 { for (i = 4; i <= NF; i++) print $i }' out | sort >columns
        [ "$(wc -l <names)" -eq 8 ] || fail "names: $(cat names)"
        cmp names columns || fail "columns: $(cat out)"
        ;;
    svg)
        show --picture g.svg --steps 2 >out
        grep -q '</svg>' g.svg || fail "no SVG"
        ;;
    help)
        "$program" --help >out
        for option in density models steps batch lr average test-points picture seed threads quiet help; do
            grep -Eq "^  --$option .*[a-z]{3}" out || fail "--$option is not in the help"
        done
        ;;
    bad-model) refuses 1 "'cubism'" --models "planar cubism" ;;
    nothing)
        refuses 1 "0 models" --models ' '
        refuses 1 "0 densities" --density ,
        ;;
    no-density) refuses 1 "'colours'" --density colours ;;
    bad-number) refuses 2 --steps --steps 0 ;;
    unwritable-picture) refuses 1 nowhere/p.png --picture nowhere/p.png ;;
    *) fail "no case $1" ;;
esac
