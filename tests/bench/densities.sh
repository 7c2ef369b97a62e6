#!/bin/sh
# densities.sh -- how near a flow comes to eight densities of the plane: densities.sh DENSITY2D [OPTION...]
#
# Prints a row each: test NLL above the exact entropy, the KL divergence point by point, and the gap that is wanted. Options
# go to the program, as --steps 20000. Ends with 1 when either is larger than wanted. PICTURES in the environment: a folder
# for them.
set -eu
program=$1
shift
field() { printf '%s' "$2" | sed -n "s/.*\"$1\": \"\{0,1\}\([^,\"}]*\).*/\1/p"; }

pictures=${PICTURES:-$(mktemp -d)}
missed=0
echo "| density | steps | seconds | NLL above entropy | point by point | wanted | |"
echo "|---|---|---|---|---|---|---|"
for pair in 8gaussians=0.01 moons=0.01 circles=0.01 swissroll=0.02 pinwheel=0.03 rings=0.04 2spirals=0.04 checkerboard=0.05; do
    density=${pair%=*} wanted=${pair#*=}
    said=$("$program" --density "$density" --picture "$pictures/$density.png" --json --quiet "$@")
    verdict=reached
    awk -v gap="$(field gap "$said")" -v kl="$(field kl "$said")" -v wanted="$wanted" \
        'BEGIN { exit !(gap <= wanted && kl <= wanted) }' || verdict=missed missed=1
    printf '| %s | %s | %.0f | %.4f +- %.4f | %.4f +- %.4f | %s | %s |\n' "$density" "$(field steps "$said")" \
        "$(field seconds "$said")" "$(field gap "$said")" "$(field standard_error "$said")" "$(field kl "$said")" \
        "$(field kl_error "$said")" "$wanted" "$verdict"
done
exit $missed
