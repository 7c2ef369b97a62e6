#!/bin/sh
# kill_save.sh -- kills a writer at each of its system calls, and makes each of them fail: the old or the new file must be there.
#
# usage: kill_save.sh TEST_SAFETENSORS                (the test program: it also writes and recognises the two files)
#        kill_save.sh TEST_CHECKPOINT checkpoint      the same of a run's checkpoints: two of them, and a third that comes
# Exit status: 0 all survived, 1 a file was lost, 77 strace is missing or may not trace.
set -u
program=$1 kind=${2:-file}
if ! strace -o /dev/null true 2>/dev/null; then
  echo "kill_save: skipped: strace is missing or may not trace here"
  exit 77
fi
dir=$(mktemp -d "${TMPDIR:-/tmp}/pullback-kill-XXXXXX") || exit 1
trap 'rm -rf "$dir"' EXIT
trap 'exit 1' INT TERM
file=$dir/model.safetensors starts='\.safetensors' nth=2
[ "$kind" = checkpoint ] && file=$dir/model starts='model\.0*21\.safetensors' nth=1
# Sanitizers do not work under ptrace at exit.
export ASAN_OPTIONS=detect_leaks=0
lost=0 runs=0 old=0 new=0

restore() { rm -f "$dir"/.model* "$dir"/model*; cp "$dir"/old/* "$dir"; }

mkdir "$dir/old" && "$program" save "$file" old && cp "$dir"/model* "$dir/old" || exit 1

# What a save calls, in order: "NAME ORDINAL" with the ordinal among calls of that name, from where the file is touched on.
restore
strace -o "$dir/log" "$program" save "$file" new || exit 1
awk '{ sub(/\(.*/, ""); if ($0 !~ /^[a-z0-9_]+$/) next; n[$0]++; print $0, n[$0] }' "$dir/log" > "$dir/all"
start=$(grep -n "$starts" "$dir/log" | sed -n ${nth}p | cut -d: -f1)
tail -n +"${start:-1}" "$dir/all" | grep -v '^exit' > "$dir/calls"

# Runs a save with one call tampered with, and looks at what is left.
try() {
  restore
  strace -o /dev/null -e inject="$1" "$program" save "$file" new > /dev/null 2>&1
  status=$?
  runs=$((runs + 1))
  state=$("$program" check "$file")
  left=$(ls -A "$dir" | grep -c '^\.model')
  case $state in old) old=$((old + 1)) ;; new) new=$((new + 1)) ;; esac
  case $state in old | new) ;; *) echo "kill_save: LOST by $1: $state"; lost=$((lost + 1)) ;; esac
  [ "$status" = 0 ] && [ "$state" != new ] && { echo "kill_save: $1: success reported, but the file is $state"; lost=$((lost + 1)); }
  # A killed writer may leave its temporary file; one that saw an error may not, unless removing it is what failed.
  case $1 in *signal* | unlink*) ;; *) [ "$left" = 0 ] || { echo "kill_save: $1: a temporary file is left"; lost=$((lost + 1)); } ;; esac
}

while read -r name ordinal; do
  try "$name:signal=KILL:when=$ordinal"
  case $name in
    write | openat | fsync | close | rename* | fstat | newfstatat | fchmod | unlink* | faccessat*)
      errors='EIO ENOSPC EINTR'
      if [ "$name" = write ] && [ "$ordinal" -gt 8 ]; then  # many alike: they take turns
        errors=$(echo "$errors" | cut -d' ' -f$((ordinal % 3 + 1)))
      fi
      for error in $errors; do try "$name:error=$error:when=$ordinal"; done ;;
  esac
done < "$dir/calls"

# What a killed writer left is removed by the next.
restore
strace -o /dev/null -e inject=fsync:signal=KILL:when=1 "$program" save "$file" new > /dev/null 2>&1
"$program" save "$file" new
if [ "$(ls -A "$dir" | grep -c '^\.model')" != 0 ]; then
  echo "kill_save: a dead writer's temporary file was not removed"
  lost=$((lost + 1))
fi
echo "kill_save: $runs saves tampered with: $old left the old file, $new the new one, $lost wrong"
[ "$lost" = 0 ] && [ "$runs" -gt 20 ]
