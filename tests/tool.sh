#!/bin/sh
# tool.sh -- the command pullback on a table of its own: fits, scores, samples, checks; bad input gets its message and status.
#
# usage: tool.sh PULLBACK
set -u
case $1 in /*) pullback=$1 ;; *) pullback=$PWD/$1 ;; esac
dir=$(mktemp -d "${TMPDIR:-/tmp}/pullback-tool-XXXXXX") || exit 1
trap 'rm -rf "$dir"' EXIT
cd "$dir" || exit 1
wrong=0

complain() { echo "tool: $*"; wrong=1; }
# expect STATUS TEXT COMMAND...: the status, and the text in what is printed.
expect() {
  want=$1 text=$2
  shift 2
  said=$("$@" 2>&1)
  status=$?
  [ "$status" = "$want" ] || complain "$*: status $status, expected $want: $said"
  case $said in *"$text"*) ;; *) complain "$*: '$text' is not in: $said" ;; esac
}

# y = 2 x + noise, x normal (sums of 12 uniform numbers); and a column of text.
awk 'BEGIN { srand(1); print "x,name,y"; for (i = 0; i < 1500; i++) { a = b = -6; for (k = 0; k < 12; k++) { a += rand(); b += rand() }
  printf "%.5f,row %d,%.5f\n", a, i, 2 * a + 0.5 * b } }' > table.csv

expect 0 "test NLL" "$pullback" fit table.csv --target x,y --model realnvp:layers=4,hidden=16x2 --steps 400 --quiet --out both.safetensors
expect 0 "of          [2]: x,y" "$pullback" info both.safetensors
expect 0 "laws       ok" "$pullback" check both.safetensors table.csv
# Entropy: of a normal, and of one of deviation 1/2: 1.419 + 0.726 = 2.145 nats.
mean=$("$pullback" score both.safetensors table.csv --summary | awk '{ print $3 }')
awk -v m="$mean" 'BEGIN { exit !(m < -2.0 && m > -2.35) }' || complain "mean log-density $mean, expected about -2.15"
expect 0 "" "$pullback" score both.safetensors table.csv --out scores.csv --quiet
[ "$(wc -l < scores.csv)" = 1501 ] || complain "scores.csv has $(wc -l < scores.csv) lines"
expect 0 "" "$pullback" sample both.safetensors --n 4000 --out draws.csv
slope=$(awk -F, 'NR > 1 { xy += $1 * $2; xx += $1 * $1 } END { print xy / xx }' draws.csv)
awk -v s="$slope" 'BEGIN { exit !(s > 1.9 && s < 2.1) }' || complain "slope of the samples $slope, expected about 2"
[ "$(head -1 draws.csv)" = "x,y" ] || complain "draws.csv starts with $(head -1 draws.csv)"
"$pullback" sample both.safetensors --n 4000 --threads 1 | cmp -s - draws.csv || complain "samples depend on the threads"

expect 0 '"test_nll": ' "$pullback" fit table.csv --target y --context x --model maf:layers=2,hidden=16x1 --steps 300 --json --quiet --out given.safetensors
expect 0 "given       1: x" "$pullback" info given.safetensors
expect 0 "mean log-density" "$pullback" score given.safetensors table.csv --summary
expect 1 "give rows of them with --given" "$pullback" sample given.safetensors --n 3
expect 0 "y" "$pullback" sample given.safetensors --n 3 --given table.csv

# Contexts in any units: y / 1000 given 1000 x + 5000.
awk -F, 'NR > 1 { print $3 / 1000 "," 1000 * $1 + 5000 }' table.csv > units.csv
expect 0 "" "$pullback" fit units.csv --target 0 --context 1 --model maf:layers=2,hidden=16x1 --steps 300 --quiet --json --out units.safetensors
nll=$(echo "$said" | sed 's/.*"test_nll": \([-0-9.]*\).*/\1/')  # of a normal of deviation 0.0005: -6.18
awk -v n="$nll" 'BEGIN { exit !(n < -6.0 && n > -6.4) }' || complain "test NLL $nll, expected about -6.2"
expect 0 "laws       ok" "$pullback" check units.safetensors units.csv

# Columns by number, results as JSON, arrays of numpy.
expect 0 '"columns": ["y"]' "$pullback" fit table.csv --target 2 --context 0 --model maf:layers=1,hidden=8x1 --steps 20 --json --quiet --out numbers.safetensors
expect 0 '"mean_log_density": -' "$pullback" score numbers.safetensors table.csv --json --out scores.npy
[ "$(head -c 6 scores.npy | tr -d '\223')" = NUMPY ] || complain "scores.npy is no array"
expect 0 '"rows": 9' "$pullback" sample both.safetensors --n 9 --json --out rows.npy
expect 0 "mean log-density" "$pullback" score both.safetensors rows.npy --target 0,1 --summary
expect 1 "where are the rows to go" "$pullback" sample both.safetensors --json
expect 0 '"integral": "ok"' "$pullback" check both.safetensors --json
expect 0 '"round_trip": ' "$pullback" check given.safetensors table.csv --json
expect 0 "" "$pullback" check both.safetensors table.csv --quiet
expect 0 '"ok": true}' "$pullback" doctor --threads 1 --json
printf '1,2\n3,\n5,6\n' > gap.csv
expect 1 "gap.csv:2:3: field 2 is missing, expected a number (--drop-missing leaves" "$pullback" fit gap.csv
expect 1 "was asked for twice" "$pullback" fit table.csv --target x,x
expect 1 "model is of 2 columns given 0; the table has 1" "$pullback" check both.safetensors table.csv --target x

# Names that hold commas and quotes are found again, and stand quoted over draws; where names cannot tell columns apart, or are
# no UTF-8, numbers do, and draws have no line of names.
awk -F, 'NR == 1 { print "\"a, \"\"b\"\" c\",d" } NR > 1 && NR < 400 { print $1 "," $3 }' table.csv > quoted.csv
sed '1s/.*/a,a/' quoted.csv > twice.csv
printf 'gr\303\266\337e,y\n' > latin.csv
sed 1d quoted.csv >> latin.csv
for name in quoted twice latin; do
  expect 0 "saved" "$pullback" fit $name.csv --model maf:layers=1,hidden=8x1 --steps 20 --quiet --out $name.safetensors
  expect 0 "398 rows)" "$pullback" score $name.safetensors $name.csv --summary
  expect 0 "" "$pullback" sample $name.safetensors --n 5 --out $name-draws.csv
  expect 0 "5 rows)" "$pullback" score $name.safetensors $name-draws.csv --summary
done
[ "$(head -1 quoted-draws.csv)" = '"a, ""b"" c",d' ] || complain "quoted-draws.csv starts with $(head -1 quoted-draws.csv)"

# A context that is constant is no context: 22 nats worse once, by what rounding left of its deviation.
awk -F, 'NR > 1 { print $3 ",0.1" }' table.csv > constant.csv
expect 0 "" "$pullback" fit constant.csv --target 0 --context 1 --model maf:layers=2,hidden=16x1 --steps 100 --quiet --json --out constant.safetensors
nll=$(echo "$said" | sed 's/.*"test_nll": \([-0-9.]*\).*/\1/')  # of a normal of deviation 2.06: 2.14
awk -v n="$nll" 'BEGIN { exit !(n > 1.9 && n < 2.4) }' || complain "test NLL $nll given a constant, expected about 2.14"
expect 1 "no column is called \"zz\"" "$pullback" sample given.safetensors --n 3 --given table.csv --context zz

# Output that cannot be written is an error of every command.
for command in "fit quoted.csv --model maf:layers=1,hidden=8x1 --steps 5 --quiet --out x.safetensors" "info both.safetensors" \
  "score both.safetensors table.csv --summary" "score both.safetensors table.csv --json" "sample both.safetensors --json --out x.npy" \
  "check both.safetensors" models --manual --version "fit --help"; do
  if [ -c /dev/full ]; then expect 1 "standard output: cannot be written" sh -c "'$pullback' $command > /dev/full"; fi
  expect 1 "standard output: cannot be written" sh -c "'$pullback' $command >&-"
done

# Stopped, and gone on: as if never stopped.
expect 0 "saved" "$pullback" fit table.csv --target x,y --model realnvp:layers=2,hidden=8x1 --steps 200 --quiet --out whole.safetensors
"$pullback" fit table.csv --target x,y --model realnvp:layers=2,hidden=8x1 --steps 200 --quiet --checkpoint run --out part.safetensors > out.txt 2>&1 &
pid=$!
sleep 0.02
kill -KILL "$pid" 2> /dev/null
wait "$pid" 2> /dev/null
expect 0 "saved" "$pullback" fit table.csv --target x,y --model realnvp:layers=2,hidden=8x1 --steps 200 --quiet --checkpoint run --out part.safetensors
cmp -s whole.safetensors part.safetensors || complain "a run that went on ended elsewhere"

# Pictures, where cairo is.
if "$pullback" --help | grep -q '^  plot '; then
  "$pullback" fit table.csv --target x,y --model realnvp:layers=2,hidden=8x1 --steps 60 --quiet --log run.jsonl --out small.safetensors > out.txt
  for kind in corner columns pair; do
    expect 0 "" "$pullback" plot both.safetensors table.csv --kind $kind --draws 2000 --out $kind.png
    [ "$(head -c 8 $kind.png | od -An -tx1 | tr -d ' ')" = 89504e470d0a1a0a ] || complain "$kind.png is no PNG"
    [ "$(wc -c < $kind.png)" -gt 20000 ] || complain "$kind.png is empty"
  done
  expect 0 "" "$pullback" plot given.safetensors table.csv --draws 2000 --out given.svg
  grep -q '<svg ' given.svg || complain "given.svg is no SVG"
  expect 0 "" "$pullback" plot --log run.jsonl --out loss.pdf
  [ "$(head -c 5 loss.pdf)" = "%PDF-" ] || complain "loss.pdf is no PDF"
  expect 1 "DATA is to hold its columns" "$pullback" plot given.safetensors
  expect 1 "no column 'z'" "$pullback" plot both.safetensors --columns x,z
  expect 1 "'x' is asked for twice" "$pullback" plot both.safetensors --kind pair --columns x,x
  expect 1 "a pair is of two columns" "$pullback" plot both.safetensors --kind pair --columns x
  expect 1 "corner, columns or pair, not 'pie'" "$pullback" plot both.safetensors --kind pie
  expect 1 "give a MODEL, or a log" "$pullback" plot
  expect 1 "table.csv:1: not a line of JSON" "$pullback" plot --log table.csv
  awk 'BEGIN { for (i = 1; i <= 20000; i++) print "{\"step\": " i ", \"loss\": " sin(i) "}" }' > long.jsonl
  expect 0 "" "$pullback" plot --log long.jsonl --out long.png
  for end in png svg pdf; do  # a file that may be a few blocks long
    (trap '' XFSZ; ulimit -f 4; "$pullback" plot both.safetensors table.csv --draws 500 --out cut.$end) 2> out.txt &&
      complain "a cut picture was no error: cut.$end"
    [ ! -e cut.$end ] || complain "cut.$end is left"
  done
  expect 1 "missing/p.png" "$pullback" plot both.safetensors --out missing/p.png
fi

expect 0 "nsf-ar: autoregressive splines" "$pullback" models
expect 0 ".SS pullback score MODEL DATA" "$pullback" --manual
expect 0 "_arguments" "$pullback" --completion zsh
expect 2 "bash or zsh, not 'fish'" "$pullback" --completion fish
expect 2 "Usage: pullback COMMAND" "$pullback"
expect 2 "unknown command 'fut'" "$pullback" fut
expect 2 "DATA is missing" "$pullback" fit
expect 2 "unexpected argument 'more'" "$pullback" info both.safetensors more
expect 1 "nothing.csv" "$pullback" fit nothing.csv
expect 1 "no column is called \"z\"" "$pullback" fit table.csv --target x,z
expect 1 "unknown key 'layer'" "$pullback" fit table.csv --target x,y --model realnvp:layer=2
expect 1 "table.csv:2:10" "$pullback" fit table.csv
expect 1 "not a" "$pullback" info table.csv
expect 1 "missing/model" "$pullback" fit table.csv --target x,y --out missing/model.safetensors
expect 0 "training   ok" "$pullback" doctor --threads 1
exit $wrong
