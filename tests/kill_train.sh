#!/bin/sh
# kill_train.sh -- kills a training run again and again, at moments drawn at random, and lets it go on: its end must be that of a run
# never disturbed.
#
# usage: kill_train.sh TEST_CHECKPOINT [KILLS [SEED]]
# Exit status: 0 equal, 1 not.
set -u
program=$1 kills=${2:-20} seed=${3:-1}
steps=$((200 * kills))
dir=$(mktemp -d "${TMPDIR:-/tmp}/pullback-kill-XXXXXX") || exit 1
trap 'rm -rf "$dir"' EXIT
trap 'exit 1' INT TERM

whole=$("$program" run "$dir/whole" "$steps") || exit 1
# Seconds to wait before each kill: 0.005 to 0.1.
awk -v n="$kills" -v seed="$seed" 'BEGIN { srand(seed); for (i = 0; i < n; i++) printf "%.4f\n", 0.005 + 0.095 * rand() }' > "$dir/waits"
done=0 ended=0
while read -r wait; do
  "$program" run "$dir/run" "$steps" > /dev/null 2> "$dir/errors" &
  pid=$!
  sleep "$wait"
  if kill -KILL "$pid" 2> /dev/null; then done=$((done + 1)); else ended=$((ended + 1)); fi
  wait "$pid" 2> /dev/null
  if [ -s "$dir/errors" ]; then
    echo "kill_train: after $done kills a run could not go on: $(cat "$dir/errors")"
    exit 1
  fi
done < "$dir/waits"
resumed=$("$program" run "$dir/run" "$steps") || exit 1
echo "kill_train: $done kills, $ended runs had ended before; undisturbed $whole, resumed $resumed"
[ "$whole" = "$resumed" ]
