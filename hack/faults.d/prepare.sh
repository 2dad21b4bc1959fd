# shellcheck shell=bash
# What hack/faults and hack/soak begin with: sets RUNTIME and `work`, a directory that vanishes at exit. Sourced, not run.

# shellcheck source=hack/lib.sh
. hack/lib.sh
[ "$(id -u)" -eq 0 ] || { echo "${0##*/}: this needs root" >&2; exit 1; }
need_packages busybox-static gcc libc6-dev procps python3 golang-github-containers-common
if [ -z "${RUNTIME-}" ]; then
    need_rust
    need_packages libseccomp-dev ca-certificates
    cargo build --quiet --release --locked
    RUNTIME=${CARGO_TARGET_DIR:-$PWD/target}/release/oarlock
fi
RUNTIME=$(realpath "$RUNTIME")

work=$(mktemp -d)
trap 'rm -rf --one-file-system "$work"' EXIT
mkdir "$work/place"

# driven SCRIPT ARGUMENT…
driven() {
    env -i PATH="$PATH" python3 -B "hack/faults.d/$1" "${@:2}"
}
