#!/bin/sh
# installed.sh -- 'meson install' brings all that a user needs, and programs in C and C++ build against it by pkg-config.
#
# usage: installed.sh BUILD_DIRECTORY PROGRAM.c PICTURES CC [CXX]   (PICTURES: "true" when the manual page has 'plot')
set -u
build=$1 program=$2 pictures=$3 cc=$4 cxx=${5:-}
here=$(cd "$(dirname "$0")" && pwd)
dir=$(mktemp -d "${TMPDIR:-/tmp}/pullback-installed-XXXXXX") || exit 1
trap 'rm -rf "$dir"' EXIT
wrong=0

complain() { echo "installed: $*"; wrong=1; }

DESTDIR=$dir meson install -C "$build" --no-rebuild --quiet > "$dir/log" 2>&1 || { cat "$dir/log"; exit 1; }
one() { # one NAME: the installed file of that name, which there is to be
    found=$(find "$dir" -name "$1" ! -path '*/subprojects/*')
    [ "$(echo "$found" | grep -c .)" = 1 ] || complain "$1: found '$found'"
    echo "$found"
}
headers=$(dirname "$(one flows.h)")
for name in ad.h op.h data.h optim.h flows_model.h; do [ -f "$headers/$name" ] || complain "no header $name"; done
library=$(dirname "$(one libpullback.a)")
[ -f "$library/libpullback.so" ] || complain "no shared library"
command=$(find "$dir" -path '*/bin/pullback')
manual=$(one pullback.1)
grep -q '^.SS pullback fit DATA' "$manual" || complain "the manual page does not have 'fit'"
[ "$pictures" != true ] || grep -q '^.SS pullback plot' "$manual" || complain "the manual page does not have 'plot'"
if command -v man > /dev/null 2>&1 && [ -n "$(man -l "$manual" 2>&1 > /dev/null)" ]; then complain "man: $(man -l "$manual" 2>&1 > /dev/null)"; fi
"$command" --version | grep -q '^pullback [0-9]' || complain "the command installed does not run"

# Words that bash offers.
if command -v bash > /dev/null 2>&1; then
    completion=$(one pullback.bash)
    # shellcheck disable=SC2016 # for the inner shell
    words=$(bash -c 'source "$1"; COMP_WORDS=(pullback fit --va); COMP_CWORD=2; _pullback; echo "${COMPREPLY[*]}"' bash "$completion")
    [ "$words" = --validation ] || complain "bash completes --va to '$words'"
fi

# flags OPTION...: of pkg-config, for the library where it lies now.
flags() {
    PKG_CONFIG_PATH=$(dirname "$(one pullback.pc)") pkg-config --define-variable=prefix="$prefix" "$@" pullback
}
prefix=${headers%/include/pullback}
compile() { # compile NAME COMPILER... FILE: runs what it makes; linked with the shared library, then with the static one
    name=$1
    shift
    # shellcheck disable=SC2046 # lists of flags
    "$@" -o "$dir/$name" $(flags --cflags --libs) || complain "$name: does not build"
    (cd "$dir" && LD_LIBRARY_PATH=$library "./$name" > "$name.out") || complain "$name: does not run"
    # shellcheck disable=SC2046
    "$@" -o "$dir/$name-static" $(flags --cflags) "$library/libpullback.a" $(flags --static --libs | sed 's/-lpullback//') ||
        complain "$name: does not link with the static library"
    (cd "$dir" && "./$name-static" > "$name-static.out") || complain "$name: does not run with the static library"
    cmp "$dir/$name.out" "$dir/$name-static.out" || complain "$name: another result with the static library"
}

sed 's|#include "\(.*\)"|#include <pullback/\1>|' "$program" > "$dir/program.c"
compile c "$cc" -std=c11 -Wall -Wextra -Werror "$dir/program.c"
grep -q 'step 300: 2\.' "$dir/c.out" || complain "the program in C prints: $(cat "$dir/c.out")"
if [ -n "$cxx" ]; then
    compile c++ "$cxx" -std=c++17 -Wall -Wextra -Werror "$here/installed.cpp"
    grep -q '^\[2\], 1000 draws$' "$dir/c++.out" || complain "the program in C++ prints: $(cat "$dir/c++.out")"
fi
exit $wrong
