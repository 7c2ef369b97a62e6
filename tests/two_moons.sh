#!/bin/sh
# two_moons.sh -- what examples/two_moons promises its user, one case a run: two_moons.sh CASE TWO_MOONS
set -eu
case $2 in /*) program=$2 ;; *) program=$PWD/$2 ;; esac
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"

fail() {
    echo "FAILED: $*" >&2
    exit 1
}

# A short training with the options given; the model is two_moons.safetensors.
train() { "$program" --quiet --layers 4 --width 16 --steps 150 --batch 128 --points 4000 --test-points 2000 "$@"; }

# refuses STATUS WORD ARGUMENT...: the program ends with that status, and its message has the word.
refuses() {
    status=0
    "$program" --quiet --steps 5 --points 500 "$3" "$4" >out 2>err || status=$?
    cat err
    [ "$status" -eq "$1" ] || fail "status $status, not $1"
    grep -qF -- "$2" err || fail "the message does not name $2"
    [ ! -s out ] || fail "something on stdout"
}

points() { # points N: lines "x,y" about a circle
    awk -v n="$1" 'BEGIN {
        srand(1)
        for (i = 0; i < n; i++) { t = 6.2832 * rand(); r = 1 + 0.1 * rand(); print r * cos(t) "," r * sin(t) }
    }'
}

nll() { sed -n 's/.*"test_nll": \([-0-9.e+]*\),.*/\1/p'; }

case $1 in
    threads) # the same seed gives the same file, whatever the threads
        for threads in 1 2 3; do
            train --threads $threads --model $threads.safetensors >/dev/null
            cmp 1.safetensors $threads.safetensors || fail "1 and $threads threads differ"
        done
        ;;
    seeds) # another seed gives another file
        train --seed 1 --model 1.safetensors >/dev/null
        train --seed 2 --model 2.safetensors >/dev/null
        if cmp -s 1.safetensors 2.safetensors; then fail "seeds 1 and 2 give the same model"; fi
        ;;
    learns) # from about 3.0 of a normal density towards 2.3939
        train --steps 1500 --json >out
        awk -v nll="$(nll <out)" 'BEGIN { exit !(nll > 2.38 && nll < 2.7) }' || fail "test NLL: $(cat out)"
        ;;
    json) # stdout is one JSON object and nothing else
        train --json >out
        [ "$(wc -l <out)" -eq 1 ] || fail "not one line: $(cat out)"
        for key in test_nll entropy seconds_training standard_error validation_nll steps seed threads; do
            grep -Eq "^\{.*\"$key\": [-0-9.e+]+[,}]" out || fail "no $key in $(cat out)"
        done
        ;;
    text) # the result in words
        train >out
        grep -Eq '^test NLL +[0-9.]+ nats' out || fail "no test NLL: $(cat out)"
        grep -Eq '^entropy +2\.3939 nats' out || fail "no entropy: $(cat out)"
        ;;
    load) # a loaded model scores the same points as the one saved
        first=$(train --json | nll)
        second=$(train --json --load two_moons.safetensors | nll)
        [ "$first" = "$second" ] || fail "$first, loaded $second"
        ;;
    load-leaves-model) # and is not written again
        train >/dev/null
        before=$(ls -i two_moons.safetensors) # a file that is written again is a new one
        train --load two_moons.safetensors >/dev/null
        [ "$before" = "$(ls -i two_moons.safetensors)" ] || fail "the model file has been written"
        ;;
    csv) # a user's own points, with and without a header, are the same points
        points 400 >plain.csv
        { echo "width,height"; cat plain.csv; } >named.csv
        [ "$(train --json --data plain.csv | nll)" = "$(train --json --data named.csv | nll)" ] || fail "header matters"
        ;;
    no-entropy) # which is known of two moons only
        points 400 >plain.csv
        train --json --data plain.csv | grep -q '"entropy": null' || fail "an entropy for unknown data"
        ;;
    picture) # a PNG of some size, or another format by the file's ending
        train --picture drawn.png >/dev/null
        [ "$(head -c 8 drawn.png | od -An -tx1 | tr -d ' ')" = 89504e470d0a1a0a ] || fail "not a PNG"
        [ "$(wc -c <drawn.png)" -gt 20000 ] || fail "an empty picture"
        train --picture drawn.svg >/dev/null
        grep -q '<svg ' drawn.svg || fail "not an SVG"
        train --picture drawn.pdf >/dev/null
        [ "$(head -c 5 drawn.pdf)" = "%PDF-" ] || fail "not a PDF"
        ;;
    progress) # plain lines where stderr is no terminal, and on one that is dumb
        "$program" --layers 2 --width 8 --steps 20 --points 500 --test-points 100 2>err >/dev/null
        grep -q 'trained 20 steps' err || fail "no progress: $(cat err)"
        if tr -d '\n -~' <err | grep -q .; then fail "control characters"; fi
        ;;
    quiet)
        train >/dev/null 2>err
        [ ! -s err ] || fail "$(cat err)"
        ;;
    help) # every option is explained
        "$program" --help >out
        for option in data load layers width steps batch lr seed threads model picture json help; do
            grep -Eq "^  --$option .*[a-z]{3}" out || fail "--$option is not in the help"
        done
        ;;
    bad-option) refuses 2 --colour --colour red ;;
    bad-number) refuses 2 --steps --steps many ;;
    bad-range) refuses 2 --layers --layers 0 ;;
    bad-argument) refuses 2 points.csv points.csv --json ;;
    no-value) refuses 2 --seed --json --seed ;;
    no-data) refuses 1 nowhere.csv --data nowhere.csv ;;
    no-model) refuses 1 nowhere.safetensors --load nowhere.safetensors ;;
    bad-model)
        points 400 >points.safetensors
        refuses 1 points.safetensors --load points.safetensors
        ;;
    three-columns)
        points 400 | sed 's/$/,1/' >three.csv
        refuses 1 "three.csv: expected two columns" --data three.csv
        ;;
    few-rows)
        points 10 >few.csv
        refuses 1 "few.csv: expected at least 50 rows" --data few.csv
        ;;
    not-finite)
        { points 100; echo "nan,1"; } >gap.csv
        refuses 1 gap.csv --data gap.csv
        ;;
    constant-column)
        points 100 | sed 's/,.*/,1/' >flat.csv
        refuses 1 "flat.csv: " --data flat.csv
        ;;
    unwritable-model) refuses 1 nowhere/m.safetensors --model nowhere/m.safetensors ;;
    unwritable-picture) refuses 1 nowhere/p.png --picture nowhere/p.png ;;
    unwritable-stdout)
        status=0
        train >/dev/full 2>err || status=$?
        [ "$status" -eq 1 ] || fail "status $status, not 1"
        ;;
    *) fail "no case $1" ;;
esac
