#!/bin/sh
# install.sh -- makes sure that what Pullback is built from is here; with the argument "tests", what its tests need too.
# Installs what is missing with apt where there is apt (asking sudo when not root); elsewhere names it and fails.
set -u

try_compiler() { # try_compiler COMPILER LANGUAGE [HEADER]
    printf '#include <%s>\nint main(void) { return 0; }\n' "${3-stdio.h}" | "$1" -x "$2" -fsyntax-only - >/dev/null 2>&1
}

# here KIND NAME: whether a command, a compiler for a language, a header, a pkg-config module or a Python module is there.
here() {
    case $1 in
        command) command -v "$2" >/dev/null 2>&1 ;;
        compiler) if [ "$2" = c ]; then try_compiler "${CC:-cc}" c; else try_compiler "${CXX:-c++}" c++; fi ;;
        header) try_compiler "${CC:-cc}" c "$2" ;;
        library) pkg-config --exists "$2" >/dev/null 2>&1 ;;
        python) /usr/bin/python3 -c "import $2" >/dev/null 2>&1 ;;
    esac
}

# What is looked for, whether it is needed or optional, and the Debian packages that bring it. Programs linked with static
# libraries alone want all that libzip is made from, which its package does not bring.
wanted() {
    cat <<'END'
needed compiler c gcc libc6-dev
needed command meson meson
needed command ninja ninja-build
needed command pkg-config pkg-config
needed library sleef libsleef-dev
needed library libxxhash libxxhash-dev
needed library jansson libjansson-dev
needed library lapack liblapack-dev
needed library zlib zlib1g-dev
needed library libzip libzip-dev
needed library libpng libpng-dev
needed library cairo libcairo2-dev
optional library hdf5 libhdf5-dev
END
    [ "$1" = tests ] || return 0
    cat <<'END'
needed library cmocka libcmocka-dev
needed header bzlib.h libbz2-dev
needed library openssl libssl-dev
optional compiler c++ g++
optional python numpy python3-numpy
optional command strace strace
END
}

# missing WHICH NEED COLUMNS [SEPARATOR]: what is not here, as "compiler c" (COLUMNS 2,3) or as packages (COLUMNS 4-).
missing() {
    wanted "$1" | grep "^$2" | while read -r need kind name packages; do
        here "$kind" "$name" || echo "$need $kind $name $packages"
    done | cut -d' ' -f"$3" | tr '\n' "${4:- }" | sed 's/,/, /g; s/[, ]*$//'
}

which=${1:-build}
packages=$(missing "$which" '' 4-)
if [ -n "$packages" ] && command -v apt-get >/dev/null 2>&1; then
    sudo=
    if [ "$(id -u)" -ne 0 ]; then
        if command -v sudo >/dev/null 2>&1; then
            sudo=sudo
        else
            echo "Not root, and no sudo. As root, run: apt-get install $packages" >&2
        fi
    fi
    if [ "$(id -u)" -eq 0 ] || [ -n "$sudo" ]; then
        echo "Installing with apt-get: $packages"
        apt="$sudo env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=300"
        $apt update || echo "apt-get update failed; trying with the lists that are here." >&2
        # shellcheck disable=SC2086 # a list of packages
        $apt install -y --no-install-recommends $packages >/dev/null || echo "apt-get install failed." >&2
    fi
fi

optional=$(missing "$which" optional 2,3 ,)
[ -z "$optional" ] || echo "Going on without: $optional (optional)."
needed=$(missing "$which" needed 2,3 ,)
if [ -n "$needed" ]; then
    echo "Missing: $needed." >&2
    echo "In Debian these come with: $(missing "$which" needed 4-)" >&2
    echo "Install them with this system's package manager (libraries with their headers) and run this again." >&2
    exit 1
fi
