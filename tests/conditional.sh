#!/bin/sh
# conditional.sh -- the example conditional on its own data and on a folder in the layout of the UCI sets.
#
# usage: conditional.sh CONDITIONAL
set -u
case $1 in /*) program=$1 ;; *) program=$PWD/$1 ;; esac
dir=$(mktemp -d "${TMPDIR:-/tmp}/pullback-conditional-XXXXXX") || exit 1
trap 'rm -rf "$dir"' EXIT
cd "$dir" || exit 1
wrong=0
complain() { echo "conditional: $*"; wrong=1; }
value() { echo "$said" | awk -v name="$1" '$1 == name { print $2 }'; }
between() { # between NAME LOW HIGH
    awk -v v="$(value "$1")" -v low="$2" -v high="$3" 'BEGIN { exit !(v > low && v < high) }' ||
        complain "$1 is $(value "$1"), expected $2 to $3: $said"
}
quick() { "$program" --quiet --members 1 --steps 300 --model nsf-ar:layers=1,hidden=32x1,bins=6,bound=4 --lr 0.01 "$@"; }

# Two branches: no linear mean does, and no density does better than the truth.
said=$(quick) || complain "failed: $said"
between truth 0.2030 0.2034
between linear -0.97 -0.95
between flow 0.10 0.21
[ "$(quick --steps 50)" = "$(quick --steps 50 --threads 1)" ] || complain "threads change the result"

# y = 2 a - b + e / 2: the linear baseline is the truth, -0.7258 nats on average; the flow comes near.
mkdir set
awk 'BEGIN { srand(3); for (i = 0; i < 900; i++) { a = 100 * rand(); b = rand(); e = -6; for (k = 0; k < 12; k++) e += rand()
  printf "%.5f  %.5f  %.5f\n", a, 0.02 * a - b + e / 2, b } }' > set/data.txt
printf '0\n2\n' > set/index_features.txt
printf '1\n' > set/index_target.txt
"$program" set 2> said && complain "splits that are not there: status 0"
grep -q "unpack splits.tar.gz" said || complain "said of splits that are not there: $(cat said)"
for k in 0 1; do
    awk -v k=$k 'BEGIN { for (i = 0; i < 900; i++) print i > "set/" (i % 5 == k ? "index_test_" : "index_train_") k ".txt" }'
done
said=$(quick set) || complain "failed: $said"
between linear -0.80 -0.66
between flow -0.85 -0.66
echo "$said" | grep -q ' nats +- 0\.0' || complain "no spread over splits: $said"
echo 900 > set/index_test_1.txt
"$program" set --quiet 2> said && complain "a row that is not there: status 0"
grep -q "index_test_1.txt: 900, expected a number from 0 to 899" said || complain "said of a row that is not there: $(cat said)"
exit $wrong
