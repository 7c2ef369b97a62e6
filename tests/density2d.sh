#!/bin/sh
# density2d.sh -- what examples/density2d promises its user, one case a run: density2d.sh CASE DENSITY2D TWO_MOONS
set -eu
absolute() { case $1 in /*) echo "$1" ;; *) echo "$PWD/$1" ;; esac; }
program=$(absolute "$2")
two_moons=$(absolute "$3")
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"

fail() {
    echo "FAILED: $*" >&2
    exit 1
}

# A short fit of a small model, unless options say otherwise.
fit() {
    "$program" --density moons --model nsf-ar:layers=2,bins=8,hidden=16x1 --steps 60 --batch 256 --test-points 4000 --json \
        --quiet "$@"
}
field() { sed -n "s/.*\"$1\": \"\{0,1\}\([^,\"}]*\).*/\1/p"; }
# holds CONDITION FILE: with the numbers of the JSON there as its variables, in awk's words
holds() {
    awk -v gap="$(field gap <"$2")" -v kl="$(field kl <"$2")" -v off="$(field kl_error <"$2")" -v nll="$(field nll <"$2")" \
        -v entropy="$(field entropy <"$2")" -v integral="$(field integral <"$2")" -v trip="$(field round_trip <"$2")" \
        "BEGIN { exit !($1) }" || fail "not $1: $(cat "$2")"
}
# refuses STATUS WORD ARGUMENT...: the program ends with that status, and its message has the word.
refuses() {
    wanted=$1 word=$2 status=0
    shift 2
    fit "$@" >out 2>err || status=$?
    cat err
    [ "$status" -eq "$wanted" ] || fail "status $status, not $wanted"
    grep -qF -- "$word" err || fail "the message does not name $word"
    [ ! -s out ] || fail "something on stdout"
}
starts() { head -c 8 "$1" | tr -d '\r\n\032' | grep -aq "$2" || fail "$1 is no $2"; }

case $1 in
    learns) # from about 0.9 of a normal density towards 0; a density all the same, and exactly invertible
        fit --steps 300 --lr 0.01 --average 0.98 >out
        holds "gap < 0.15 && kl > 0 && kl < 0.15 && nll - entropy - gap < 1e-6" out
        holds "integral > 0.999 && integral < 1.001 && trip < 1e-9" out
        # so does a net of units, from what it starts with and at a small rate
        fit --model block-naf:layers=2 --steps 150 --lr 0.003 --test-points 1000 >out
        holds "gap < 0.4 && kl < 0.4" out
        ;;
    affine) # the control: one affine layer cannot
        fit --model maf:layers=1,hidden=16x1 --steps 300 --lr 0.01 >out
        holds "gap > 0.2 && kl > 0.2" out
        ;;
    densities) # each has its entropy and a picture; energies (U1) are normalised
        for pair in 8gaussians=2.83188 circles=3.26814 rings=2.62318 swissroll=2.66965 pinwheel=2.31779 checkerboard=3.46574 \
            U1=2.66001; do
            fit --density "${pair%=*}" --model nice:layers=1,hidden=4x1 --steps 2 --test-points 500 --picture a.png >out
            holds "entropy - ${pair#*=} < 1e-4 && ${pair#*=} - entropy < 1e-4 && kl > 0 && kl - gap < 0.5 && gap - kl < 0.5" out
            starts a.png PNG
            rm a.png
        done
        ;;
    formats) # of pictures, by the file's ending
        fit --picture a.png >out && starts a.png PNG
        fit --picture a.svg >out
        { grep -q '<svg' a.svg && grep -q '</svg>' a.svg; } || fail "no SVG"
        fit --picture a.pdf >out && starts a.pdf PDF
        for file in a.png a.svg a.pdf; do [ "$(wc -c <$file)" -gt 50000 ] || fail "next to nothing in $file"; done
        ;;
    frames) # as many as asked for, each another, and the picture
        fit --frames 3 --picture film.png >out
        [ "$(echo film*)" = "film-0001.png film-0002.png film-0003.png film.png" ] || fail "made $(echo *)"
        if cmp -s film-0001.png film-0003.png; then fail "frames are the same"; fi
        ;;
    threads) # the same model, to the bit, whatever the threads
        fit --threads 1 --save one.safetensors | sed 's/"seconds.*//' >one.txt
        fit --threads 2 --save two.safetensors | sed 's/"seconds.*//' >two.txt
        cmp one.txt two.txt || fail "1 and 2 threads score differently"
        cmp one.safetensors two.safetensors || fail "1 and 2 threads train differently"
        ;;
    save) # the model saved scores as said, on points of another program
        fit --save m.safetensors --steps 200 --test-points 20000 >out
        other=$("$two_moons" --load m.safetensors --json --quiet --test-points 20000 | field test_nll)
        holds "nll - $other < 0.05 && $other - nll < 0.05" out
        ;;
    text) # the results in words, and progress
        "$program" --density moons --model maf:layers=2,hidden=8x1 --steps 20 --test-points 1000 >out 2>err
        for words in '^test NLL +[0-9.]+ \+- [0-9.]+ nats, 1000 fresh points$' '^entropy +2\.3939 nats, exact$' \
            '^KL gap +[0-9.]+ \+- [0-9.]+ nats; point by point [0-9.]+ \+- [0-9.]+$' '^integral +(1\.0|0\.99)[0-9]+ over a grid$' \
            '^round trip +[0-9.]+e-1[0-9] at most$' '^model +maf:layers=2,hidden=8x1, [0-9]+ parameters, 20 steps in [0-9.]+ s$' \
            '^picture +density2d\.png$'; do
            grep -Eq "$words" out || fail "no $words in $(cat out)"
        done
        grep -q 'moons: 20 steps in' err || fail "no progress: $(cat err)"
        ;;
    help) # every option is explained
        "$program" --help >out
        for option in density model steps batch lr average test-points picture frames save seed threads json quiet help; do
            grep -Eq "^  --$option .*[a-z]{3}" out || fail "--$option is not in the help"
        done
        ;;
    no-density) refuses 1 "'colours'" --density colours ;;
    no-plane) refuses 1 "'funnel'" --density funnel ;; # of ten dimensions
    bad-model) refuses 1 "unknown model 'nonsense'" --model nonsense ;;
    bad-number) refuses 2 --steps --steps 0 ;;
    bad-option) refuses 2 --colour --colour red ;;
    unwritable-picture) refuses 1 nowhere/p.png --picture nowhere/p.png ;;
    unwritable-model) refuses 1 nowhere/m --save nowhere/m ;;
    unwritable-frame) # found out when the fit is under way
        mkdir film-0001.png
        refuses 1 film-0001.png --frames 2 --picture film.png
        ;;
    *) fail "no case $1" ;;
esac
