#!/usr/bin/env bash
# containerd, driven by ctr. Run by hack/clients.
# shellcheck disable=SC2016 # most of what stands in single quotes is for a shell in a container
set -euo pipefail
# shellcheck source=hack/client/lib.sh
. "$(dirname "$0")/lib.sh"

busybox=docker.io/library/busybox:latest
state=/run/runtime
# The size of the terminal comes after the start. The end is as in "heard" below.
terminal_probe='test -t 0 && test -t 1 && tty; until stty size 2>/dev/null | grep -v "^0 0"; do sleep 0.1; done'
terminal_probe+='; head -c 262144 /dev/zero'

prepare() { need_packages busybox-static containerd jq; }

begin() {
    cat >"$work/config.toml" <<TOML
version = 2
root = "$work/root"
state = "/run/containerd"
disabled_plugins = ["io.containerd.grpc.v1.cri"]
TOML
    mkdir "$work/bin"
    ln -s "$runtime" "$work/bin/runc"
    start_containerd
    rootfs "$work/rootfs"
    # At the end of a process ctr closes the pipes from which it reads what that has printed, read or not: on a busy machine
    # the last words are lost, below any runtime. So more than all pipes on the way hold is printed after them.
    printf '#!/bin/sh\n"$@" 2>&1\ncode=$?\nhead -c 262144 /dev/zero\nexit $code\n' >"$work/rootfs/bin/heard"
    chmod +x "$work/rootfs/bin/heard"
    image "$work/busybox.tar" $busybox "$work/rootfs"
    ctr image import "$work/busybox.tar"
    # For what ctr has no flag for there is a configuration of one's own, on that root.
    mkdir "$work/bundle"
    "$runtime" spec --bundle "$work/bundle"
    start long sh -c 'trap "exit 3" TERM; trap "echo got usr1" USR1; echo ready; while :; do sleep 0.1; done'
}

end() {
    ctr task kill --signal KILL long
    until_true stopped_is long
    remove long
    stop_daemon containerd
}

start_containerd() {
    # A runtime that is not named is "runc" on PATH.
    PATH=$work/bin:$PATH start_daemon containerd containerd --config "$work/config.toml"
    until_true ctr version
}

# containerd's namespace is the name of the cgroup that its containers are put below.
ctr=(ctr --address /run/containerd/containerd.sock --namespace "$cgroup")
ctr() { bounded "${ctr[@]}" "$@"; }

# container OPTION… ID COMMAND…: run a container of the busybox image with the runtime.
container() { ctr run --runc-binary "$runtime" --runc-root $state "$@"; }

# said: the output of a program that stands behind "heard" in its container.
said() { tr -d '\0'; }

# once COMMAND…: run it in a container of its own.
once() { container --rm $busybox "once-$BASHPID" heard "$@" | said; }

# once_with "OPTION…" COMMAND…
once_with() {
    local options
    read -ra options <<<"$1"
    container --rm "${options[@]}" $busybox "once-$BASHPID" heard "${@:2}" | said
}

# start ID COMMAND…: in the background, its output in a file.
start() { container --detach --log-uri "file://$work/log/$1" $busybox "$@"; }

# configured FILTER COMMAND: run a shell command by a starter config.json that jq's FILTER has changed.
configured() {
    local config=$work/config-$BASHPID.json
    jq --arg root "$work/rootfs" --arg command "$2" --arg cgroup "/$cgroup/once-$BASHPID" "
        .root = {path: \$root} | .process.terminal = false
        | .process.args = [\"/bin/heard\", \"/bin/sh\", \"-c\", \$command]
        | .linux.cgroupsPath = \$cgroup | $1" "$work/bundle/config.json" >"$config"
    container --rm --config "$config" "once-$BASHPID" | said
}

status_of() { ctr task list | awk -v id="$1" '$1 == id { print $3 }'; }
stopped_is() { [ "$(status_of "$1")" = STOPPED ]; }
pid_of() { ctr task list | awk -v id="$1" '$1 == id { print $2 }'; }
# in_container [OPTION…] ID COMMAND…: each option is one word, --name=value.
in_container() {
    local options=()
    while [[ $1 == --* ]]; do
        options+=("$1")
        shift
    done
    ctr task exec --exec-id "exec-$BASHPID" "${options[@]}" "$1" heard "${@:2}" | said
}
remove() { ctr task delete --force "$1" && ctr container delete "$1"; }
no_state() { [ -z "$(find $state -mindepth 2 -maxdepth 2 -name "$1")" ]; }
no_cgroup() { [ -z "$(find /sys/fs/cgroup -path "*/$cgroup/$1")" ]; }

test_run_prints_and_is_removed() {
    is hello "$(once echo hello)"
    is long "$(ctr container list --quiet)"
}

test_run_exit_code() { exits 7 once sh -c 'exit 7'; }

test_run_killed() {
    until_true eval '[ "$(status_of killed)" = RUNNING ] && ctr task kill --signal KILL killed' &
    exits 137 container --rm $busybox killed sleep 60
}

test_run_missing_program() {
    exits 1 container --rm $busybox absent /no/such/program
    has "$output" 'OCI runtime create failed' '"/no/such/program"' 'no such file or directory'
    until_true no_state absent
}

test_run_program_not_in_path() {
    exits 1 container --rm $busybox absent no-such-program
    has "$output" 'exec: "no-such-program": executable file not found in $PATH'
}

test_run_program_not_executable() {
    exits 1 container --rm $busybox absent /etc/passwd
    has "$output" 'exec: "/etc/passwd": permission denied'
}

test_run_program_is_a_directory() {
    exits 1 container --rm $busybox absent /etc
    has "$output" 'exec: "/etc"'
    [[ $output == *'is a directory'* || $output == *'permission denied'* ]]
}

test_run_env() { is 'one two three' "$(once_with '--env A=one --env B=two' sh -c 'echo $A $B ${C-three}')"; }

test_run_env_of_image() { is yes "$(once sh -c 'echo $FROM_IMAGE')"; }

test_run_cwd() { is /usr/bin "$(once_with '--cwd /usr/bin' pwd)"; }

test_run_cwd_is_made() { is /new/place "$(once_with '--cwd /new/place' pwd)"; }

test_run_user() {
    is '1000 1000 2000' "$(configured '.process.user = {uid: 1000, gid: 1000, additionalGids: [2000]}' \
        'echo $(id -u) $(id -g) $(id -G | cut -d" " -f2)')"
}

test_run_umask() { is 0027 "$(configured '.process.user.umask = 23' umask)"; }

test_run_hostname() { is harbour "$(configured '.hostname = "harbour"' hostname)"; }

test_run_terminal() {
    has "$(on_terminal "${ctr[@]}" run --rm -t --runc-binary "$runtime" --runc-root $state $busybox tty sh -c \
        "$terminal_probe")" /dev/ '24 80'
}

test_run_terminal_exit_code() {
    exits 5 on_terminal "${ctr[@]}" run --rm -t --runc-binary "$runtime" --runc-root $state $busybox tty sh -c 'exit 5'
}

# until_runs TEXT COMMAND…: TEXT as an input that ends once the command succeeds. ctr forgets to close one that ends
# before it knows the process.
until_runs() { echo "$1"; until_true "${@:2}"; }
in_runs() { [ "$(status_of in)" = RUNNING ]; }

test_run_stdin() {
    until_runs 'from stdin' in_runs | container --rm $busybox in sh -c 'test "$(cat)" = "from stdin"'
    until_runs 'no' in_runs | exits 1 container --rm $busybox in sh -c 'test "$(cat)" = "from stdin"'
}

test_run_much_output() { is 4194304 "$(once sh -c 'head -c 4194304 /dev/zero | tr "\\0" x' | wc -c)"; }

test_run_read_only() {
    exits 1 once_with --read-only touch /file
    has "$output" 'Read-only file system'
}

test_run_bind() {
    mkdir -p "$work/share" && echo one >"$work/share/in"
    is one "$(once_with "--mount type=bind,src=$work/share,dst=/share,options=rbind:rw" \
        sh -c 'cat /share/in; echo two >/share/out')"
    is two "$(cat "$work/share/out")"
}

test_run_bind_read_only() {
    mkdir -p "$work/share"
    exits 1 once_with "--mount type=bind,src=$work/share,dst=/share,options=rbind:ro" touch /share/no
    has "$output" 'Read-only file system'
    [ ! -e "$work/share/no" ]
}

test_run_tmpfs() {
    has "$(once_with '--mount type=tmpfs,src=tmpfs,dst=/scratch,options=size=1m:nosuid' grep ' /scratch ' /proc/mounts)" \
        tmpfs nosuid size=1024k
}

test_run_device() {
    is 'character special file 1:8 r' "$(once_with '--device /dev/random' \
        sh -c 'stat -c "%F %t:%T" /dev/random; head -c 1 /dev/random >/dev/null && echo r' | xargs)"
}

test_run_device_not_allowed() {
    exits 1 once_with '--cap-add CAP_MKNOD' sh -c 'mknod /disk b 7 0 && head -c 1 /disk'
    has "$output" 'Operation not permitted'
}

test_run_capabilities() {
    # The bits of CAP_NET_ADMIN (12) and CAP_CHOWN (0).
    local set
    set=$((16#$(once_with '--cap-add CAP_NET_ADMIN --cap-drop CAP_CHOWN' sed -n 's/^CapEff:.//p' /proc/self/status)))
    is '1 0' "$(((set >> 12) & 1)) $((set & 1))"
}

test_run_no_new_privileges() {
    is '1 0' "$(once sed -n 's/^NoNewPrivs:.//p' /proc/self/status) $(
        once_with --allow-new-privs sed -n 's/^NoNewPrivs:.//p' /proc/self/status)"
}

test_run_seccomp_default() {
    has "$(once_with --seccomp sh -c 'grep ^Seccomp: /proc/self/status; unshare -U true 2>&1 || true')" \
        2 'Operation not permitted'
}

test_run_seccomp_profile() {
    echo '{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_ERRNO", "errnoRet": 28}]}' \
        >"$work/profile.json"
    exits 1 once_with "--seccomp --seccomp-profile $work/profile.json" mkdir /d
    has "$output" 'No space left on device'
}

test_run_user_namespace() {
    # The snapshot is changed to the mapped owner by ctr.
    has "$(once_with '--uidmap 0:100000:65536 --gidmap 0:100000:65536' sh -c 'id -u; cat /proc/self/uid_map; stat -c %u /bin/sh' | xargs)" \
        '0 0 100000 65536 0'
}

test_run_memory_limit() {
    container --detach --memory-limit 33554432 $busybox limited sleep 60
    is 33554432 "$(cgroup_value memory.limit_in_bytes memory.max "$cgroup/limited")"
    remove limited
}

test_run_out_of_memory() {
    exits 137 once_with '--memory-limit 16777216' sh -c 'x=$(head -c 67108864 /dev/zero | tr "\0" x); echo alive; exit 137' ||
        has "$output" Killed
    lacks "$output" alive
}

test_run_cpu_limits() {
    container --detach --cpu-shares 512 --cpu-quota 50000 --cpu-period 100000 $busybox cpu sleep 60
    has "$(cgroup_value cpu.cfs_quota_us cpu.max "$cgroup/cpu")" 50000
    [ ! -e /sys/fs/cgroup/cpu ] || is 512 "$(cgroup_value cpu.shares none "$cgroup/cpu")"
    remove cpu
}

test_run_rlimits() {
    is '123 456' "$(configured '.process.rlimits = [{type: "RLIMIT_NOFILE", soft: 123, hard: 456}]' \
        'echo $(ulimit -Sn) $(ulimit -Hn)')"
}

test_run_pids_limit() {
    is 17 "$(configured '.linux.resources.pids.limit = 17' 'cat /sys/fs/cgroup/pids/pids.max /sys/fs/cgroup/pids.max 2>/dev/null')"
}

test_run_sysctl() {
    is '4096 65000' "$(configured '.linux.sysctl = {"net.core.somaxconn": "4096", "net.ipv4.ip_local_port_range": "65000 65100"}' \
        'echo $(cat /proc/sys/net/core/somaxconn) $(cut -f1 /proc/sys/net/ipv4/ip_local_port_range)')"
}

test_run_masked_and_read_only_paths() {
    is '' "$(once sh -c '{ cat /proc/kcore /proc/keys /proc/timer_list; ls -A /sys/firmware; } 2>/dev/null; true')"
    exits 1 once sh -c 'echo 10 >/proc/sys/vm/swappiness'
    has "$output" 'Read-only file system'
}

test_run_hooks() {
    configured '.hooks.poststop = [{path: "/bin/sh", args: ["sh", "-c", "cat >'"$work"'/poststop"]}]' true
    is stopped "$(jq -r .status "$work/poststop")"
}

test_run_host_network() {
    is "$(ip -o link | wc -l)" "$(once_with --net-host sh -c 'ip -o link | wc -l')"
    is 1 "$(once sh -c 'ip -o link | wc -l')"
}

test_run_joins_a_namespace() {
    is "$(readlink "/proc/$(pid_of long)/ns/ipc")" \
        "$(once_with "--with-ns ipc:/proc/$(pid_of long)/ns/ipc" readlink /proc/self/ns/ipc)"
}

test_run_pid_file() {
    container --detach --pid-file "$work/pid" $busybox pidfile sleep 60
    is "$(pid_of pidfile)" "$(cat "$work/pid")"
    remove pidfile
}

test_run_rootfs_propagation() {
    differs runc 'older than 1.3.1, it makes a shared root private'
    has "$(once_with '--rootfs-propagation shared --allow-new-privs' sh -c 'grep " / / " /proc/self/mountinfo')" shared:
}

test_create_then_start() {
    ctr container create $busybox two heard cat /etc/passwd /no/such/file
    output=$(ctr task start two | said) && note "exit code 0"
    has "$output" 'web:x:1000' "can't open '/no/such/file'"
    ctr container delete two
}

test_same_id_twice() {
    exits 1 start long true
    has "$output" 'already exists'
    is RUNNING "$(status_of long)"
}

test_state_belongs_to_the_root() {
    is "$(pid_of long)" "$("$runtime" --root "$state/$cgroup" state long | jq .pid)"
}

test_exec_output_and_code() { exits 9 in_container long sh -c 'echo from exec; exit 9' && has "$output" 'from exec'; }

test_exec_cwd() { is /usr/bin "$(in_container --cwd=/usr/bin long pwd)"; }

test_exec_user() { is 1000:1000 "$(in_container --user=web long sh -c 'echo $(id -u):$(id -g)')"; }

# Not in /tmp: for exec's --user containerd 1.6 mounts the overlay anew, and the one of the container cannot copy up any more.
test_exec_stdin() {
    until_runs 'into exec' test -e "/proc/$(pid_of long)/root/run/reads" |
        ctr task exec --exec-id in long sh -c 'touch /run/reads; test "$(cat)" = "into exec"'
}

test_exec_terminal() {
    has "$(on_terminal "${ctr[@]}" task exec --tty --exec-id tty long sh -c "$terminal_probe")" /dev/pts '24 80'
}

test_exec_is_in_the_container() {
    is "$(readlink "/proc/$(pid_of long)/ns/pid")" "$(in_container long readlink /proc/self/ns/pid)"
    is "$(in_container long cat /proc/1/cgroup)" "$(in_container long cat /proc/self/cgroup)"
}

test_exec_detached_and_killed() {
    ctr task exec --detach --exec-id side long sleep 61
    has "$(in_container long ps)" 'sleep 61'
    ctr task kill --exec-id side --signal KILL long
    until_true eval '! in_container long ps | grep -q "sleep 61"'
    is RUNNING "$(status_of long)"
}

test_exec_missing_program() {
    exits 1 ctr task exec --exec-id absent long no-such-program
    has "$output" 'OCI runtime exec failed: exec failed: unable to start container process' \
        'exec: "no-such-program": executable file not found in $PATH'
}

test_exec_missing_path() {
    exits 1 ctr task exec --exec-id absent long /no/such/program
    has "$output" 'exec: "/no/such/program": stat /no/such/program: no such file or directory'
}

test_logs() { until_true grep -q ready "$work/log/long"; }

test_kill_with_a_handled_signal() {
    ctr task kill --signal USR1 long
    until_true grep -q 'got usr1' "$work/log/long"
    is RUNNING "$(status_of long)"
}

test_processes() { has "$(ctr task ps long)" "$(pid_of long)"; }

test_metrics() {
    local metrics
    metrics=$(ctr task metrics --format json long)
    # The names of v1, then of v2.
    [ "$(jq '.pids.current' <<<"$metrics")" -ge 1 ]
    [ "$(jq '.memory.usage.usage // .memory.usage' <<<"$metrics")" -gt 0 ]
}

test_pause_and_resume() {
    ctr task pause long
    is PAUSED "$(status_of long)"
    has "$(cgroup_value freezer.state cgroup.freeze "$cgroup/long")" "$([ -e /sys/fs/cgroup/freezer ] && echo FROZEN || echo 1)"
    exits 1 in_container long true
    has "$output" paused
    ctr task resume long
    is RUNNING "$(status_of long)"
    is alive "$(in_container long echo alive)"
}

test_stop_with_sigterm() {
    start term sh -c 'trap "echo bye; exit 3" TERM; echo ready; while :; do sleep 0.1; done'
    until_true grep -q ready "$work/log/term"
    ctr task kill term
    until_true grep -q bye "$work/log/term"
    until_true stopped_is term
    has "$(ctr task delete term 2>&1)" 'exit code 3'
    ctr container delete term
}

test_kill_all() {
    start family sh -c 'sleep 62 & sleep 62 & echo ready; wait'
    until_true grep -q ready "$work/log/family"
    ctr task kill --all --signal KILL family
    until_true stopped_is family
    remove family
    is 0 "$(processes | grep -c 'sleep 62' || true)"
}

test_kill_what_has_stopped() {
    start short true
    until_true stopped_is short
    exits 1 ctr task kill short
    has "$output" 'not found'
    remove short
}

test_delete_of_a_running_task_is_refused() {
    exits 1 ctr task delete long
    is RUNNING "$(status_of long)"
}

test_events() {
    local events
    ctr events >"$work/events" &
    events=$!
    until_true eval 'once true; grep -q /tasks/exit "$work/events"'
    kill $events
    has "$(cat "$work/events")" /tasks/create /tasks/start /tasks/exit /tasks/delete
}

test_checkpoint_is_refused_or_works() {
    # Either it leaves an image, or it says why not. The container is alive after both.
    local code=0 said
    mkdir -p "$work/dump"
    said=$(ctr task checkpoint --image-path "$work/dump" long 2>&1) || code=$?
    if [ $code -eq 0 ]; then [ -n "$(ls "$work/dump")" ]; else grep -qiE 'checkpoint|criu' <<<"$said"; fi
    is RUNNING "$(status_of long)"
    is alive "$(in_container long echo alive)"
}

test_shim_killed() {
    local pid shim
    start orphan sleep 63
    pid=$(pid_of orphan)
    shim=$(awk '/^PPid:/ { print $2 }' "/proc/$pid/status")
    has "$(tr '\0' ' ' <"/proc/$shim/cmdline")" containerd-shim
    kill -KILL "$shim"
    # containerd sees the connection end and deletes the container by the runtime.
    until_true eval "[ ! -e /proc/$pid ]"
    until_true no_state orphan
    until_true no_cgroup orphan
    until_true eval '[ -z "$(status_of orphan)" ]'
    ctr container delete orphan
}

test_container_killed_by_the_runtimes_own_verb() {
    start behind sleep 64
    "$runtime" --root "$state/$cgroup" kill behind KILL
    until_true stopped_is behind
    remove behind
    no_state behind
}

test_restart_of_containerd() {
    local pid
    pid=$(pid_of long)
    stop_daemon containerd
    [ -e "/proc/$pid" ]
    start_containerd
    is "RUNNING $pid" "$(status_of long) $(pid_of long)"
    is alive "$(in_container long echo alive)"
}

test_fifty_at_once() {
    local n
    for n in $(seq 50); do
        (
            code=0
            text=$(container --rm $busybox "many-$n" heard sh -c "echo number $n; exit $((n % 7))" 2>&1 | said) || code=$?
            echo "$code $text" >"$work/many-$n"
        ) &
    done
    wait
    for n in $(seq 50); do is "$((n % 7)) number $n" "$(cat "$work/many-$n")" "container $n"; done
    is long "$(ctr container list --quiet)"
    until_true no_state 'many-*'
    no_cgroup 'many-*'
}

client_main "$@"
