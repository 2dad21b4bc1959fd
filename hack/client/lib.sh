# shellcheck shell=bash
# What the clients' scripts share. Sourced, not run. A client's script defines, and then calls `client_main "$@"`:
#
#   prepare    before the namespaces, with the host's network: need_packages, and downloads
#   begin      start the daemons, load the images
#   test_NAME  one check each, run in the order in which they stand in the script (and in what `also` names)
#   end        stop the daemons. After it nothing may be left: no process, mount, cgroup, or state
#
# In a check every command must succeed, and `note` what was wrong if the command itself does not say it. A check ends at
# the first that does not.
#
# Set here: $client, its name; $runtime, the path of the binary under test; $work, a directory on a tmpfs that only this
# script sees; $cgroup, the name below which all its cgroups must be. A script may set $also, more files with checks.

cd "$(dirname "${BASH_SOURCE[0]}")/../.."
# shellcheck source=hack/lib.sh
. hack/lib.sh

client=$(basename "$0" .sh)
# shellcheck disable=SC2034 # for the scripts
runtime=${CLIENT_RUNTIME-}
work=${CLIENT_WORK-}
cgroup=${CLIENT_CGROUP-}
also=()
passed=0 failed=0 skipped=0 stage='' patience=60

# client_main prepare|run
client_main() {
    case "${1-}" in
        prepare) prepare ;;
        run) [ -n "$work" ] || { echo "$0: run me by hack/clients $client" >&2; exit 1; }; run ;;
        *) echo "usage: hack/clients $client" >&2; exit 1 ;;
    esac
}

run() {
    local name names
    stage=begin
    trap stopped EXIT
    trap 'exit 143' TERM
    # Shared among ourselves, as systemd has it on every host. Podman relies on it: with --uidmap it starts conmon in a
    # mount namespace of its own, and what the clean-up there unmounts, "rm" takes for unmounted here.
    mount --make-rshared /
    # Sockets and pid files whose place is fixed are below /run: this one is ours alone, as is all that the client stores.
    mount -t tmpfs -o mode=755 tmpfs /run
    mkdir -m 1777 /run/lock
    mount -t tmpfs -o mode=755 tmpfs "$work"
    ip link set lo up
    mkdir "$work/log" "$work/check"
    mounts_before=$(mount_points)
    begin >"$work/log/begin" 2>&1
    mapfile -t names < <(sed -n 's/^test_\([a-z0-9_]*\)() .*/\1/p' "$0" "${also[@]}")
    for name in "${names[@]}"; do
        # shellcheck disable=SC2254 # it is a pattern
        case "$name" in $CLIENT_ONLY) check "$name" ;; esac
    done
    stage=end
    end >"$work/log/end" 2>&1
    stage=leaks
    check left_nothing
    stage=''
}

# stopped: the last thing that the script does, whatever ends it.
stopped() {
    local status=$?
    trap - EXIT
    if [ -n "$stage" ]; then
        failed=$((failed + 1))
        echo "FAIL $stage: stopped with $status"
        for log in "$work/log/begin" "$work/log/end"; do
            if [ -s "$log" ]; then sed 's/^/     /' "$log" | tail -n 15; fi
        done
    fi
    if [ -n "${KEEP_LOGS-}" ]; then mkdir -p "$KEEP_LOGS" && cp -r "$work/log" "$work/check" "$KEEP_LOGS"; fi
    printf '%s: %s passed, %s failed' "$client" "$passed" "$failed"
    [ "$skipped" -eq 0 ] || printf ', %s skipped' "$skipped"
    echo
    [ "$failed" -eq 0 ] || exit 1
    exit 0
}

# check NAME: run test_NAME and say how it ended.
check() {
    local name=$1 log=$work/check/$1 status=0
    # Not in a condition: there bash ignores -e, and a check must end at its first failure.
    set +e
    (
        set -e
        "test_$name"
    ) >"$log" 2>&1
    status=$?
    set -e
    case $status in
        0) passed=$((passed + 1)); echo "ok $name" ;;
        77) skipped=$((skipped + 1)); echo "skip $name: $(tail -n 1 "$log")" ;;
        *)
            failed=$((failed + 1))
            echo "FAIL $name: $(grep -v '^$' "$log" | tail -n 1)"
            sed 's/^/     /' "$log" | tail -n 12
            ;;
    esac
}

# skip WHY: end this check without a verdict, because this machine lacks something.
skip() { echo "$*"; exit 77; }

# differs NAME WHY: the runtime of that name is known to behave otherwise; do not ask it.
differs() { if [ "$(basename "$runtime")" = "$1" ]; then skip "$1: $2"; fi; }

# note WHAT: what is wrong, as the check's last word.
note() { echo "$*" >&2; return 1; }

# is WANTED FOUND [WHAT]: the two are the same text.
is() { [ "$1" = "$2" ] || note "${3:+$3: }expected \"$1\", found \"$2\""; }

# has TEXT PART…: each PART is in TEXT.
has() {
    local text=$1 part
    for part in "${@:2}"; do
        [[ $text == *"$part"* ]] || { note "no \"$part\" in: $text"; return 1; }
    done
}

# lacks TEXT PART…: no PART is in TEXT.
lacks() {
    local text=$1 part
    for part in "${@:2}"; do
        [[ $text != *"$part"* ]] || { note "\"$part\" in: $text"; return 1; }
    done
}

# exits CODE COMMAND…: it ends with that code. What it printed, on both outputs, is in $output.
exits() {
    local wanted=$1 code=0
    output=$("${@:2}" 2>&1) || code=$?
    is "$wanted" "$code" "exit code of ${*:2} ($output)"
}

# bounded COMMAND…: run it, but not for longer than a minute. The clients of daemons wait for ever by themselves.
bounded() { timeout --foreground --kill-after 5 60 "$@"; }

# until_true COMMAND…: wait until it succeeds, for what has no event to wait for. $patience seconds at most.
until_true() {
    local deadline=$((SECONDS + patience))
    until "$@" >/dev/null 2>&1; do
        [ "$SECONDS" -lt "$deadline" ] || { note "waited $patience seconds for: $*"; return 1; }
        sleep 0.1
    done
}

# on_terminal COMMAND…: run it on a terminal of its own, 80 by 24, for not longer than $patience, and print what it shows.
on_terminal() {
    local line pid code=0 input=$work/silence output=$work/terminal.$BASHPID
    printf -v line '%q ' "$@"
    # An input that stays open: at the end of one, script types ^D, and who reads that is a matter of luck.
    [ -p "$input" ] || mkfifo "$input"
    SHELL=/bin/sh script --quiet --return --echo never --command "stty rows 24 cols 80; $line" /dev/null \
        <>"$input" >"$output" 2>&1 &
    pid=$!
    if until_true test ! -e "/proc/$pid"; then
        wait "$pid" || code=$?
    else
        standing
        kill "$pid"
        wait "$pid" || true
        code=124
    fi
    tr -d '\r\0' <"$output"
    rm "$output"
    return "$code"
}

# standing: what each process waits for in the kernel, for the hang that comes once in a thousand times.
standing() {
    local pid command
    while read -r pid command; do
        echo "$pid $(grep -hs '' "/proc/$pid/task"/*/wchan | sort | uniq -c | xargs): ${command:0:160}"
    done < <(processes) >&2
}

# start_daemon NAME COMMAND…: in the background; its output goes to the log NAME.
start_daemon() {
    # In a session of its own, so that no signal for this script reaches it.
    setsid "${@:2}" >>"$work/log/$1" 2>&1 </dev/null &
    echo $! >"$work/$1.pid"
}

# stop_daemon NAME: with SIGTERM, and wait for its end.
stop_daemon() {
    local pid
    pid=$(cat "$work/$1.pid")
    kill "$pid"
    timeout 60 tail --pid="$pid" -f /dev/null || { note "$1 ignores SIGTERM"; return 1; }
}

# cgroup_dirs: where our cgroups may be, one directory a line: in each hierarchy.
cgroup_dirs() {
    find /sys/fs/cgroup -maxdepth 2 -type d -name "$cgroup"
}

# cgroup_value NAME-V1 NAME-V2 CGROUP: what the file of that cgroup says, with whichever hierarchy this host has.
cgroup_value() {
    local file
    for file in /sys/fs/cgroup/*/"$3/$1" /sys/fs/cgroup/"$3/$2" /sys/fs/cgroup/unified/"$3/$2"; do
        if [ -r "$file" ]; then cat "$file"; return; fi
    done
    note "no $1 or $2 for the cgroup $3"
}

# mount_points: what is mounted in this namespace.
mount_points() { sed -n 's/^\S* \S* \S* \S* \(\S*\) .*/\1/p' /proc/self/mountinfo | sort; }

# session PID: the session that it belongs to.
session() {
    local stat session
    stat=$(cat "/proc/$1/stat" 2>/dev/null) || return 0
    # After the name, which may hold anything: state, parent, group, session.
    read -r _ _ _ session _ <<<"${stat##*) }"
    echo "$session"
}

# processes: what runs in this namespace, apart from this script's own session.
processes() {
    local dir own
    own=$(session self)
    for dir in /proc/[0-9]*; do
        case "$(session "${dir#/proc/}")" in '' | "$own") continue ;; esac
        # A zombie waits for this script, which is PID 1.
        grep -q '^State:.Z' "$dir/status" 2>/dev/null && continue
        printf '%s %s\n' "${dir#/proc/}" "$(tr '\0' ' ' 2>/dev/null <"$dir/cmdline")"
    done
}

# alone: no process but ours.
alone() { [ -z "$(processes)" ]; }

test_left_nothing() {
    local left
    until_true alone || { note "processes: $(processes | tr '\n' ';')"; return 1; }
    # The runtime keeps its pin and its cache for the next container; both are in its own directory.
    left=$(comm -13 <(echo "$mounts_before") <(mount_points) | grep -v '/\.[a-z]*\(/\|$\)' || true)
    is '' "$left" mounts
    left=$(cgroup_dirs | xargs -r -I{} find {} -mindepth 1 -type d)
    is '' "$left" cgroups
    left=$(find "$work" /run -name exec.fifo -o -name state.json ! -path '*/swarm/*')
    is '' "$left" state
    is '0:0 666 1:3' "$(stat -c '%u:%g %a %Hr:%Lr' /dev/null)" /dev/null
}

# rootfs DIR: a busybox system, with a user "web" (1000).
rootfs() {
    local applet
    mkdir -p "$1"/{bin,dev,etc,home/web,proc,root,run,sys,tmp,usr/bin,usr/sbin,var}
    chmod 1777 "$1/tmp"
    cp "$(command -v busybox)" "$1/bin/busybox"
    for applet in $("$1/bin/busybox" --list); do
        if [ "$applet" != busybox ]; then ln -s busybox "$1/bin/$applet"; fi
    done
    printf '%s\n' 'root:x:0:0:root:/root:/bin/sh' 'web:x:1000:1000:web:/home/web:/bin/sh' >"$1/etc/passwd"
    printf '%s\n' 'root:x:0:' 'web:x:1000:' 'extra:x:2000:web' >"$1/etc/group"
    chown 1000:1000 "$1/home/web"
}

# image FILE NAME [ROOTFS [COMMAND]]: write an image of one layer to FILE, in the form that docker load, podman load, ctr image
# import and skopeo all take: an OCI layout with Docker's manifest.json beside it.
image() {
    local file=$1 name=$2 dir=$work/image.$BASHPID layer config manifest
    rm -rf "$dir"
    mkdir -p "$dir/layout/blobs/sha256"
    if [ -n "${3-}" ]; then cp -a "$3" "$dir/rootfs"; else rootfs "$dir/rootfs"; fi
    tar --create --numeric-owner --sort=name --mtime=@0 --directory "$dir/rootfs" --file "$dir/layer" .
    layer=$(blob "$dir/layout" <"$dir/layer")
    config=$(blob "$dir/layout" <<JSON
{"architecture": "$(dpkg --print-architecture)", "os": "linux", "created": "1970-01-01T00:00:00Z",
 "config": {"Env": ["PATH=/usr/sbin:/usr/bin:/sbin:/bin", "FROM_IMAGE=yes"], "Cmd": ${4-[\"/bin/sh\"]}, "WorkingDir": "/"},
 "rootfs": {"type": "layers", "diff_ids": ["sha256:$layer"]},
 "history": [{"created": "1970-01-01T00:00:00Z", "created_by": "hack/clients"}]}
JSON
    )
    manifest=$(blob "$dir/layout" <<JSON
{"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
 "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": "sha256:$config",
            "size": $(stat -c %s "$dir/layout/blobs/sha256/$config")},
 "layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": "sha256:$layer",
             "size": $(stat -c %s "$dir/layout/blobs/sha256/$layer")}]}
JSON
    )
    echo '{"imageLayoutVersion": "1.0.0"}' >"$dir/layout/oci-layout"
    cat >"$dir/layout/index.json" <<JSON
{"schemaVersion": 2, "manifests": [{"mediaType": "application/vnd.oci.image.manifest.v1+json",
 "digest": "sha256:$manifest", "size": $(stat -c %s "$dir/layout/blobs/sha256/$manifest"),
 "annotations": {"io.containerd.image.name": "$name", "org.opencontainers.image.ref.name": "${name##*:}"}}]}
JSON
    echo "[{\"Config\": \"blobs/sha256/$config\", \"RepoTags\": [\"$name\"], \"Layers\": [\"blobs/sha256/$layer\"]}]" \
        >"$dir/layout/manifest.json"
    tar --create --directory "$dir/layout" --file "$file" .
    rm -rf "$dir"
}

# blob LAYOUT: store standard input as a blob, and print its sum.
blob() {
    local sum
    cat >"$1/new"
    sum=$(sha256sum <"$1/new")
    mv "$1/new" "$1/blobs/sha256/${sum%% *}"
    echo "${sum%% *}"
}
