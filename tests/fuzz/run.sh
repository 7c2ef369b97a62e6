#!/bin/sh
# run.sh -- fuzzes readers of files: run.sh FUZZ [RUNS [NAME...]]
# FUZZ: the program (ninja -C build tests/fuzz/fuzz). RUNS: executions of each, a million when not given. NAME: targets,
# all when not given, save hdf5: it reads in a child process each time, some 300 a second, and AddressSanitizer takes what
# libhdf5 does there for a finding of its own (build without it: "address" in clang.sh). What
# is found is kept in the current folder as NAME-crash-..., beside NAME.log; finds of new code paths go to the folder
# NAME.found, and never to the corpus.
set -u
fuzz=$1 runs=${2:-1000000}
if [ $# -gt 2 ]; then shift 2; else shift $#; fi
corpus=$(dirname "$0")/corpus
if [ $# -eq 0 ]; then
    for folder in "$corpus"/*; do
        [ "$(basename "$folder")" = hdf5 ] || set -- "$@" "$(basename "$folder")"
    done
fi
export ASAN_OPTIONS=abort_on_error=1 UBSAN_OPTIONS=print_stacktrace=1
wrong=0
for name in "$@"; do
    mkdir -p "$name.found"
    # A record of CIFAR has 3 KiB, and two are wanted.
    if FUZZ_TARGET=$name "$fuzz" -runs="$runs" -max_len=6400 -timeout=5 -malloc_limit_mb=16 -rss_limit_mb=1500 \
        -artifact_prefix="$name-" "$name.found" "$corpus/$name" > "$name.log" 2>&1; then
        echo "$name: $runs executions without a finding"
    else
        echo "$name: FAILED, see $name.log"
        wrong=1
    fi
done
exit "$wrong"
