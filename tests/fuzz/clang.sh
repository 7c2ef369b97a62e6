#!/bin/sh
# clang.sh -- compiles sources with libFuzzer and sanitizers: clang.sh CLANG OUTPUT FLAG-OR-SOURCE...
set -eu
clang=$1 output=$2
shift 2
libraries="libzip zlib libpng jansson libxxhash"
for hdf5 in hdf5-serial hdf5; do
    if pkg-config --exists "$hdf5"; then
        libraries="$libraries $hdf5"
        break
    fi
done
# shellcheck disable=SC2046,SC2086 # lists of flags
exec "$clang" -std=c11 -g -O1 -D_GNU_SOURCE -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=undefined \
    -fno-math-errno -ffp-contract=off "$@" -o "$output" $(pkg-config --cflags --libs $libraries) -lpthread -lm
