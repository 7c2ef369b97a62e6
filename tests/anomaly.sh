#!/bin/sh
# anomaly.sh -- the example anomaly on a table of its own: rows far from a curve rank first.
#
# usage: anomaly.sh ANOMALY
set -u
case $1 in /*) program=$1 ;; *) program=$PWD/$1 ;; esac
dir=$(mktemp -d "${TMPDIR:-/tmp}/pullback-anomaly-XXXXXX") || exit 1
trap 'rm -rf "$dir"' EXIT
cd "$dir" || exit 1
wrong=0
complain() { echo "anomaly: $*"; wrong=1; }

# y = sin(x) and a little noise is normal; y elsewhere is odd. A third column says nothing.
awk 'BEGIN { srand(2); for (i = 0; i < 1200; i++) { x = 6 * rand() - 3; odd = i % 12 == 7; y = odd ? 3 * rand() - 1.5 : sin(x) + 0.05 * rand()
  if (odd && y > sin(x) - 0.4 && y < sin(x) + 0.4) y += 1; printf "%.4f,%.4f,7,%d\n", x, y, odd } }' > table.csv
said=$("$program" --quiet table.csv --steps 300 --models 2 --noise 0.1 --show 3) || complain "failed: $said"
auroc=$(echo "$said" | awk '/AUROC/ { print $2 }')
awk -v a="$auroc" 'BEGIN { exit !(a > 0.97) }' || complain "AUROC $auroc, expected above 0.97: $said"
[ "$(echo "$said" | grep -c '^row.*odd$')" = 3 ] || complain "the first three are not all odd: $said"
case $said in "550 rows learnt, 650 ranked, 100 of them odd"*) ;; *) complain "rows: $said" ;; esac
[ "$said" = "$("$program" --quiet table.csv --steps 300 --models 2 --noise 0.1 --show 3 --threads 1)" ] || complain "threads change the result"
# Without labels, all rows are learnt and ranked: odd ones are still first.
said=$("$program" --quiet table.csv --no-labels --models 1 --steps 100 --noise 0.1 --show 3 --model nsf-ar:layers=2,hidden=16x1) || complain "failed: $said"
[ "$(echo "$said" | head -1)" = "1200 rows learnt, 1200 ranked" ] || complain "without labels: $said"
[ "$(echo "$said" | grep -c '^row')" = 3 ] || complain "no ranking: $said"
# Its own data; a picture, where it can draw.
auroc=$("$program" --quiet --models 1 --steps 300 --lr 0.006 --model nsf-ar:layers=2,hidden=16x1 --picture scores.png | awk '/AUROC/ { print $2 }')
awk -v a="$auroc" 'BEGIN { exit !(a > 0.8 && a < 0.97) }' || complain "AUROC of its own data $auroc, expected 0.8 to 0.97"
if [ -n "${PICTURES-}" ] && [ "$(head -c 8 scores.png | od -An -tx1 | tr -d ' ')" != 89504e470d0a1a0a ]; then complain "no picture"; fi
"$program" nothing.npz 2> said && complain "a file that is not there: status 0"
grep -q "nothing.npz" said || complain "said of a file that is not there: $(cat said)"
# A picture that cannot be written is told before anything is learnt.
"$program" --picture nowhere/scores.png 2> said && complain "a picture in no folder: status 0"
[ "$(wc -l < said)" = 1 ] || complain "said of a picture in no folder: $(cat said)"
exit $wrong
