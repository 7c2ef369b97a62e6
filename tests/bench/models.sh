#!/bin/sh
# models.sh -- what each model learns in the same time: models.sh DENSITY2D PULLBACK SECONDS [OPTION of density2d]...
#
# A row for each preset with its usual options, and for nsf-ar with each transformer: parameters, milliseconds a step, and the
# KL gap (NLL of 100,000 fresh points above the exact entropy, nats) on checkerboard and 2spirals after so many seconds of
# training, in as many steps as a trial run says fit in. Adam at 0.003, falling to 0 as half a cosine. Of some models only:
# MODELS="maf nsf-ar:transformer=cubic" models.sh ...
set -eu
program=$1 pullback=$2 seconds=$3
shift 3
field() { printf '%s' "$2" | sed -n "s/.*\"$1\": \"\{0,1\}\([^,\"}]*\).*/\1/p"; }
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
fit() { "$program" --lr 0.003 --picture "$scratch/picture.png" --json --quiet "$@"; }

presets=$("$pullback" models | sed -n 's/^\([a-z-]*\): .*/\1/p')
transformers=$("$pullback" models | sed -n 's/^transformer=\([^:]*\): .*/\1/p' | tr -d ',' | sed 's/ or / /')
every=$presets
for transformer in $transformers; do
    [ "$transformer" = circular ] || every="$every nsf-ar:transformer=$transformer" # circular: the torus, not the plane
done
models=${MODELS:-$every}

echo "| model | parameters | ms a step | steps | checkerboard | 2spirals |"
echo "|---|---|---|---|---|---|"
for model in $models; do
    row=
    for density in checkerboard 2spirals; do
        trial=$(fit --density $density --model "$model" --steps 200 --test-points 1000 "$@")
        steps=$(awk -v s="$(field seconds "$trial")" -v all="$seconds" 'BEGIN { printf "%d", 200 * all / s }')
        said=$(fit --density $density --model "$model" --steps "$steps" "$@")
        row="$row $(printf '%.3f' "$(field gap "$said")") |"
    done
    ms=$(awk -v s="$(field seconds "$said")" -v n="$steps" 'BEGIN { printf "%.2f", 1000 * s / n }')
    printf '| %s | %s | %s | %s |%s\n' "$model" "$(field parameters "$said")" "$ms" "$steps" "$row"
done
