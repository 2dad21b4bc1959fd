# shellcheck shell=bash
# One container's life, whose verbs hack/budget counts and hack/order follows. Sourced, with $oarlock set. Makes $work,
# which goes at the end of the script, with all that is left of the container.

: "${oarlock:?}"
work=$(mktemp -d)
id=budget-$$
run() { env -i PATH="$PATH" "$@"; }
cleanup() {
    run "$oarlock" --root "$work/state" delete --force "$id" >/dev/null 2>&1 || true
    ! mountpoint -q "$work/state/.pin" || umount -R "$work/state/.pin"
    rm -rf --one-file-system "$work"
    find /sys/fs/cgroup -maxdepth 2 -type d -name "$id-cgroups" -exec rmdir {} + 2>/dev/null || true
}
trap cleanup EXIT

# The bundle of the benchmark, without limits: which there can be depends on the host.
python3 -B - "$work" "$(command -v busybox)" "/$id-cgroups/$id" <<'PYTHON'
import sys
sys.path.insert(0, "hack/bench.d")
import bundles
work, busybox, cgroup = sys.argv[1:]
bundles.make_rootfs(f"{work}/rootfs", busybox)
for name, config in ("bundle", bundles.docker), ("binds", lambda *of: bundles.binds(*of, 500)):
    bundles.Bundle(f"{work}/{name}", f"{work}/rootfs", config(["/bin/sleep", "1000000"], True), ()).write(cgroup)
PYTHON

# In this order they are a life.
verbs=(create state start exec kill delete)
words() {
    case $1 in
        create) echo "create --bundle $work/bundle $id" ;;
        exec) echo "exec $id /bin/true" ;;
        kill) echo "kill $id WINCH" ;;
        delete) echo "delete --force $id" ;;
        plan) echo "plan $work/binds" ;;
        list) echo list ;;
        *) echo "$1 $id" ;;
    esac
}

# plain: the whole life once, so that caches are full and the mount namespace is pinned.
plain() {
    local verb
    for verb in "${verbs[@]}"; do
        # shellcheck disable=SC2046 # words, by design
        run "$oarlock" --root "$work/state" $(words "$verb") >/dev/null
    done
}

stepper() { gcc -O2 -Wall -Wextra -o "$work/instructions" hack/budget.d/instructions.c; }

# lines VERB: where in the program the instructions of the command and its children lie.
lines() {
    # shellcheck disable=SC2046
    run "$work/instructions" --lines "$work/lines" "$oarlock" --root "$work/state" $(words "$1") >/dev/null 2>&1 </dev/null
    cat "$work/lines"
}
