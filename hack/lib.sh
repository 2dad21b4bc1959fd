# shellcheck shell=bash
# What the scripts here share: Debian packages and the Rust toolchain. Sourced, not run.

# as_root COMMAND…: run it as root, by sudo for everyone else.
as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        echo "${0##*/}: this needs root, and there is no sudo: $*" >&2
        return 1
    fi
}

# need_packages PACKAGE…: install those that are missing. Package lists are fetched only if one is.
need_packages() {
    local package missing=()
    if ! command -v dpkg-query >/dev/null; then
        echo "not a Debian system: make sure that you have what these Debian packages hold: $*" >&2
        return 0
    fi
    for package in "$@"; do
        # The command fails, and prints nothing, for a package that dpkg has never heard of.
        case "$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null || true)" in
            installed) ;;
            *) missing+=("$package") ;;
        esac
    done
    [ ${#missing[@]} -eq 0 ] && return 0
    echo "installing: ${missing[*]}"
    as_root apt-get -qq -o Acquire::Retries=3 update
    as_root env DEBIAN_FRONTEND=noninteractive \
        apt-get -qq -o Acquire::Retries=3 -o Dpkg::Use-Pty=0 install --no-install-recommends "${missing[@]}" >/dev/null
}

# need_rust: put cargo in PATH, or say how to get it.
need_rust() {
    if ! command -v cargo >/dev/null && [ -r "${CARGO_HOME:-$HOME/.cargo}/env" ]; then
        # shellcheck source=/dev/null
        . "${CARGO_HOME:-$HOME/.cargo}/env"
    fi
    if ! command -v cargo >/dev/null; then
        echo "${0##*/}: no cargo. Install Rust $(rust_version) or newer: https://rustup.rs" >&2
        return 1
    fi
}

# rust_version: the oldest Rust that builds this tree.
rust_version() {
    sed -n 's/^rust-version = "\(.*\)"$/\1/p' Cargo.toml
}

# made PART[:VARIANT] DIR INPUT…: sets the variable PART to where what DIR/PART makes is, in "files" there; it is told the
# VARIANT. It is kept from run to run outside the tree, by a hash of the inputs, which are files in DIR. Others may want it
# at the same time: the first makes it, as root.
made() {
    local name=$1 part=${1%%:*} scripts=$2 variant=() dir
    [ "$part" = "$name" ] || variant=("${name#*:}")
    shift 2
    dir=${XDG_CACHE_HOME:-${HOME:?}/.cache}/oarlock/${name/:/-}-$(
        cd "$scripts" && sha256sum "$@" | sha256sum | cut -c 1-16
    )
    declare -g "$part=$dir"
    [ ! -e "$dir/ready" ] || return 0
    mkdir -p "$dir"
    (
        flock 9
        [ ! -e "$dir/ready" ] || exit 0
        echo "${0##*/}: making $dir" >&2
        as_root rm -rf "$dir/new" "$dir/files"
        mkdir "$dir/new"
        as_root "$scripts/$part" "$dir/new" "${variant[@]}" >&2
        mv "$dir/new" "$dir/files"
        touch "$dir/ready"
    ) 9>"$dir/lock"
}

# debian_mirror: the one that this machine's apt uses.
debian_mirror() {
    # shellcheck disable=SC2016
    apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | grep -v -e security -e backports | head -n 1
}

# apt_apart DIR SUITE…: sets the array APT to an apt-get that has these suites, sources included, and a state of its own
# in DIR: the machine's own apt does not see it. What is installed on the machine it does know.
apt_apart() {
    local dir=$1 suite type
    shift
    mkdir -p "$dir"/{lists,cache/archives}/partial
    for suite in "$@"; do
        for type in deb deb-src; do
            echo "$type [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $(debian_mirror) $suite main"
        done
    done >"$dir/sources.list"
    APT=(apt-get -qq -o "Dir::Etc::sourcelist=$dir/sources.list" -o Dir::Etc::sourceparts=/dev/null
        -o "Dir::State::lists=$dir/lists" -o "Dir::Cache=$dir/cache" -o APT::Sandbox::User=root -o Acquire::Retries=3)
    "${APT[@]}" update
}
