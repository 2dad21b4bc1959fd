#!/usr/bin/env bash
# Podman, without its daemon and with. Run by hack/clients.
# shellcheck disable=SC2016 # what is quoted is for the shell in the container
# shellcheck disable=SC2032,SC2033,SC2317 # functions are called indirectly; behind xargs it is the program that is meant
set -euo pipefail
# shellcheck source=hack/client/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=hack/client/containers.sh
. hack/client/containers.sh
also=(hack/client/podman-run.sh hack/client/podman-pods.sh hack/client/podman-rootless.sh)
for file in "${also[@]}"; do
    # shellcheck source=/dev/null
    . "$file"
done

prepare() { need_packages "${containers_packages[@]}" python3; }

podman() { bounded podman "$@"; }

# box [OPTION…] COMMAND…: run it in a container that is removed afterwards. Options end where the image would be.
box() {
    local options=()
    while [[ ${1-} == -* ]]; do
        # Each option is one word: --name=value.
        options+=("$1")
        shift
    done
    podman run --rm --network=none "${options[@]}" "$image" "$@"
}

# inspect CONTAINER FIELD
inspect() { podman inspect --format "{{$2}}" "$1"; }

begin() {
    image "$work/box.tar" "$image"
    podman load --input "$work/box.tar"
    podman run --detach --name base --network none --hostname base --env COLOUR=blue "$image" sleep 10000
}

end() {
    local directory pid command
    # After an exec by the service its conmon waits five minutes, for somebody to ask for the exit code.
    while read -r pid command; do
        if [[ $command == *conmon*--exec-process-spec* ]]; then kill "$pid"; fi
    done < <(processes)
    podman rm --all --force --time 0
    podman pod rm --all --force
    # Each Podman that begins mounts its store again: the last clean-up of a conmon must be over.
    until_true alone
    for directory in /run/netns "$work/storage/overlay"; do
        if mountpoint --quiet "$directory"; then umount "$directory"; fi
    done
    left_no_cgroup
}

test_the_shipped_file_makes_the_runtime_known_by_name() {
    local file=/etc/containers/containers.conf
    is "$runtime_name" "$(inspect base .OCIRuntime)"
    # Without it being the one that is used by default.
    sed '/^runtime =/d' $file >"$work/other.conf"
    mount --bind "$work/other.conf" $file
    lacks "$(podman info --format '{{.Host.OCIRuntime.Name}}')" oarlock
    is hello "$(podman --runtime "$runtime_name" run --network none --name named "$image" echo hello)"
    umount $file
    is "$runtime_name" "$(inspect named .OCIRuntime)"
    podman rm named
}

test_the_file_for_crio_is_one_that_crio_understands() {
    # CRI-O itself is not in Debian. The keys are those of crio.conf(5).
    is 'oci /usr/local/bin/oarlock' "$(python3 -c '
import sys, tomllib
conf = tomllib.load(open(sys.argv[1], "rb"))
runtime = conf["crio"]["runtime"]
handler = runtime["runtimes"]["oarlock"]
assert conf.keys() == {"crio"} and conf["crio"].keys() == {"runtime"}, conf
assert runtime.keys() == {"runtimes"}, runtime
assert handler.keys() <= {"runtime_path", "runtime_type", "runtime_root", "monitor_path", "monitor_cgroup",
    "monitor_env", "monitor_exec_cgroup", "allowed_annotations"}, handler
print(handler["runtime_type"], handler["runtime_path"])
' contrib/crio/oarlock.conf)"
}

test_create_start_wait_remove() {
    podman create --name four --network none "$image" sh -c 'echo started; exit 4'
    is created "$(inspect four .State.Status)"
    is started "$(podman start --attach four || echo "$?" >"$work/code")"
    is 4 "$(cat "$work/code")"
    is 4 "$(podman wait four)"
    is exited "$(inspect four .State.Status)"
    podman rm four
    exits 1 podman container exists four
}

test_removed_when_it_ends() {
    podman run --detach --rm --name short --network none "$image" true
    gone() { ! podman container exists short; }
    until_true gone
}

test_exit_codes() {
    exits 42 box sh -c 'exit 42'
    exits 127 box no-such-program
    has "$output" 'not found in $PATH'
    exits 127 box /no/such/program
    exits 126 box /etc/passwd
    has "$output" 'permission denied'
    exits 126 box /etc
}

test_exec_output_environment_directory_user() {
    is base "$(podman exec base hostname)"
    is 'blue red' "$(podman exec --env SHADE=red base sh -c 'echo $COLOUR $SHADE')"
    is /home/web "$(podman exec --workdir /home/web base pwd)"
    is 'uid=1000(web) gid=1000(web) groups=2000(extra)' "$(podman exec --user web base id)"
    is 'uid=1000(web) gid=2000(extra)' "$(podman exec --user 1000:2000 base id | cut -d' ' -f1,2)"
    has "$(podman exec base cat /proc/1/cmdline | tr '\0' ' ')" sleep
    exits 0 podman exec base sh -c 'echo to stderr >&2'
    is 'to stderr' "$output"
}

test_exec_stdin() {
    is 3000 "$(seq 3000 | podman exec --interactive base sh -c 'wc -l' | tr -d ' ')"
    # Without --interactive there is none.
    is 0 "$(echo ignored | podman exec base sh -c 'wc -c' | tr -d ' ')"
}

test_exec_on_a_terminal() {
    is '/dev/pts/0 24 80' "$(on_terminal podman exec --tty base sh -c "$terminal_probe" | xargs)"
    exits 3 on_terminal podman exec --tty base sh -c 'exit 3'
}

test_exec_exit_codes() {
    exits 7 podman exec base sh -c 'exit 7'
    exits 137 podman exec base sh -c 'kill -9 $$'
    exits 127 podman exec base no-such-program
    exits 126 podman exec base /etc/passwd
    exits 126 podman exec base /etc
    exits 127 podman exec --workdir /no/such/directory base true
}

test_exec_detached_outlives_its_client() {
    podman exec --detach base sh -c 'echo $$ >/tmp/detached; exec sleep 5000'
    until_true podman exec base test -s /tmp/detached
    is 'sleep 5000' "$(podman exec base sh -c 'tr "\0" " " </proc/$(cat /tmp/detached)/cmdline' | sed 's/ $//')"
    podman exec base sh -c 'kill $(cat /tmp/detached)'
}

test_exec_descriptors_and_privileges() {
    echo kept >"$work/kept"
    is kept "$(podman exec --preserve-fds 1 base sh -c 'cat <&3' 3<"$work/kept")"
    is 0000000000000000 "$(podman exec --user web base sed -n 's/^CapEff:\t//p' /proc/self/status)"
    is "$(sed -n 's/^CapEff:\t//p' /proc/self/status)" "$(podman exec --privileged base sed -n 's/^CapEff:\t//p' /proc/self/status)"
}

test_exec_storm() {
    local i
    for i in $(seq 24); do
        echo "command podman exec base sh -c 'echo $i; exit $i'; echo \$? >&2"
    done | xargs -P 8 -d '\n' -n 1 bash -c >"$work/storm.out" 2>"$work/storm.codes"
    is "$(seq 24)" "$(sort -n "$work/storm.out")"
    is "$(seq 24)" "$(sort -n "$work/storm.codes")"
}

test_logs() {
    podman run --name talker --network none "$image" sh -c 'echo out; echo err >&2; seq 3'
    is "$(printf '1\n2\n3\nerr\nout')" "$(podman logs talker 2>&1 | sort)"
    is err "$(podman logs talker 2>&1 >/dev/null)"
    podman rm talker
    podman run --detach --name teller --network none "$image" sh -c 'sleep 0.3; echo late'
    is late "$(podman logs --follow teller)"
    podman rm --force --time 0 teller
}

test_stats_and_top() {
    local stats
    stats=$(podman stats --no-stream --format '{{.PIDs}} {{.MemUsageBytes}}' base)
    [[ $stats =~ ^[1-9][0-9]*\ [1-9] ]] || note "stats: $stats"
    has "$(podman top base pid args)" '1           sleep 10000'
    # With options of ps it is ps that looks, by the pids.
    has "$(podman top base -eo pid,args)" 'sleep 10000'
}

test_pause() {
    local ticks
    podman run --detach --name counter --network none "$image" sh -c 'while :; do echo >>/n; done'
    podman pause counter
    is paused "$(inspect counter .State.Status)"
    exits 255 podman exec counter true
    ticks=$(awk '{ print $14 + $15 }' "/proc/$(inspect counter .State.Pid)/stat")
    sleep 0.2
    is "$ticks" "$(awk '{ print $14 + $15 }' "/proc/$(inspect counter .State.Pid)/stat")"
    podman unpause counter
    is running "$(inspect counter .State.Status)"
    podman exec counter true
    podman rm --force --time 0 counter
}

test_update() {
    podman run --detach --name limited --network none --memory 64m --cpu-shares 300 "$image" sleep 10000
    podman update --cpu-shares 500 --memory 96m --memory-swap 192m --cpuset-cpus 0 limited
    # v2 has a weight in its place, by a formula that has changed over time.
    case "$(cgroup_value cpu.shares cpu.weight "$(container_cgroup limited)")" in 500 | [1-9]?) ;; *) note "cpu" ;; esac
    is 100663296 "$(cgroup_value memory.limit_in_bytes memory.max "$(container_cgroup limited)")"
    is 0 "$(cgroup_value cpuset.cpus cpuset.cpus "$(container_cgroup limited)")"
    podman rm --force --time 0 limited
}

test_stop_and_kill() {
    local pid
    podman run --detach --name signals --network none "$image" sh -c \
        'trap "echo usr1" USR1; trap "echo term; exit 5" TERM; echo ready; while :; do sleep 0.05; done'
    ready() { podman logs signals | grep -q "$1"; }
    until_true ready ready
    podman kill --signal USR1 signals
    until_true ready usr1
    podman stop signals
    is 5 "$(podman wait signals)"
    until_true ready term
    podman rm signals
    podman run --detach --name stubborn --network none --stop-signal WINCH "$image" sleep 10000
    pid=$(inspect stubborn .State.Pid)
    podman stop --time 1 stubborn
    [ ! -e "/proc/$pid" ]
    is 137 "$(podman wait stubborn)"
    podman start stubborn
    podman kill stubborn
    is 137 "$(podman wait stubborn)"
    podman rm stubborn
}

test_restart() {
    local before
    podman run --detach --name again --network none "$image" sleep 10000
    before=$(inspect again .State.Pid)
    podman restart --time 0 again
    [ "$before" != "$(inspect again .State.Pid)" ]
    is running "$(inspect again .State.Status)"
    podman rm --force --time 0 again
}

test_restart_policies() {
    mkdir -p "$work/restarts"
    podman run --detach --name tries --network none --restart on-failure:2 --volume "$work/restarts:/n" "$image" \
        sh -c 'echo >>/n/tries; exit 3'
    done_trying() { [ "$(wc -l <"$work/restarts/tries")" -eq 3 ] && [ "$(inspect tries .State.Status)" = exited ]; }
    until_true done_trying
    is 2 "$(inspect tries .RestartCount)"
    podman rm tries
    podman run --detach --name always --network none --restart always --volume "$work/restarts:/n" "$image" \
        sh -c 'echo >>/n/always; exec sleep 10000'
    kill -9 "$(inspect always .State.Pid)"
    restarted() { [ "$(wc -l <"$work/restarts/always")" -ge 2 ] && [ "$(inspect always .State.Status)" = running ]; }
    until_true restarted
    podman rm --force --time 0 always
}

test_health_checks() {
    podman run --detach --name patient --network none --health-interval disable --health-retries 1 \
        --health-cmd 'test -e /tmp/well' "$image" sleep 10000
    exits 1 podman healthcheck run patient
    podman exec patient touch /tmp/well
    exits 0 podman healthcheck run patient
    is healthy "$(inspect patient .State.Health.Status)"
    podman rm --force --time 0 patient
}

test_rename_and_copy() {
    podman run --detach --name old --network none --tmpfs /t "$image" sleep 10000
    podman rename old new
    echo host >"$work/in"
    podman cp "$work/in" new:/root/in
    is host "$(podman exec new cat /root/in)"
    podman exec new sh -c 'echo guest >/root/out'
    podman cp new:/root/out "$work/out"
    is guest "$(cat "$work/out")"
    # Into a mount of the container's, which only its namespace shows.
    podman cp "$work/in" new:/t/in
    is host "$(podman exec new cat /t/in)"
    podman rm --force --time 0 new
}

test_diff_commit_export() {
    podman run --name changed --network none "$image" sh -c 'echo mark >/root/mark; rm /etc/group'
    has "$(podman diff changed)" 'A /root/mark' 'D /etc/group'
    podman commit --quiet changed localhost/changed
    is mark "$(podman run --rm --network none localhost/changed cat /root/mark)"
    podman export changed | tar --to-stdout --extract root/mark | grep -qx mark
    podman rm changed
    podman rmi localhost/changed
}

test_checkpoint_is_refused_while_the_container_runs_on() {
    if "$runtime" checkpoint --help >/dev/null 2>&1; then skip "the runtime has checkpoint, which needs criu"; fi
    exits 125 podman container checkpoint base
    has "$output" "checkpoint"
    is running "$(inspect base .State.Status)"
    podman exec base true
}

test_a_killed_conmon_leaves_nothing() {
    local id pid conmon
    id=$(podman run --detach --name orphan --network none "$image" sleep 10000)
    pid=$(inspect orphan .State.Pid) conmon=$(inspect orphan .State.ConmonPid)
    kill -9 "$conmon"
    until_true test ! -e "/proc/$conmon"
    # The program does not notice, and can be entered and ended as before.
    is running "$(inspect orphan .State.Status)"
    is hello "$(podman exec orphan echo hello)"
    podman rm --force --time 0 orphan
    [ ! -e "/proc/$pid" ]
    exits 1 podman container exists orphan
    # It is conmon that has the runtime delete a container. Podman forgets it without.
    is stopped "$("$runtime" state "$id" | sed -n 's/^ *"status": *"\(.*\)".*/\1/p')"
    "$runtime" delete "$id"
}

test_a_program_killed_from_outside() {
    podman run --detach --name victim --network none "$image" sleep 10000
    kill -9 "$(inspect victim .State.Pid)"
    is 137 "$(podman wait victim)"
    podman rm victim
}

test_renumber_with_a_container_running() {
    podman system renumber
    is running "$(inspect base .State.Status)"
    is base "$(podman exec base hostname)"
}

test_the_service_restarts_while_containers_run() {
    remote() { podman --remote --url "unix:///run/podman-test.sock" "$@"; }
    start_daemon service podman system service --time 0 unix:///run/podman-test.sock
    until_true remote info
    remote run --detach --name served --network none "$image" sleep 10000
    is served "$(remote ps --format '{{.Names}}' --filter name=served)"
    is hello "$(remote run --rm --network none "$image" echo hello)"
    exits 7 remote run --rm --network none "$image" sh -c 'exit 7'
    is inside "$(remote exec served echo inside)"
    exits 9 remote exec served sh -c 'exit 9'
    stop_daemon service
    is running "$(inspect served .State.Status)"
    start_daemon service podman system service --time 0 unix:///run/podman-test.sock
    until_true remote info
    is again "$(remote exec served echo again)"
    remote rm --force --time 0 served
    stop_daemon service
}

test_build() {
    mkdir -p "$work/build"
    cat >"$work/build/Containerfile" <<'FILE'
FROM localhost/box:1 AS first
RUN echo "made by $(id -u)" >/made && mkdir /own && chown web /own
FROM localhost/box:1
COPY --from=first /made /made
ENV STEP=two
USER web
WORKDIR /home/web
RUN echo "$STEP by $(id -u) in $(pwd)" >made
CMD ["cat", "/made", "/home/web/made"]
FILE
    podman build --quiet --isolation oci --network none --tag localhost/built "$work/build"
    is "$(printf 'made by 0\ntwo by 1000 in /home/web')" "$(podman run --rm --network none localhost/built)"
    podman rmi --force localhost/built
    printf 'FROM %s\nRUN exit 9\n' "$image" >"$work/build/Containerfile"
    exits 9 podman build --isolation oci --network none "$work/build"
    podman rmi --force --all --filter dangling=true || true
}

test_thirty_at_once() {
    local i
    for i in $(seq 30); do echo "$i"; done |
        xargs -P 10 -I{} bash -c 'command podman run --rm --network none '$image' sh -c "echo {}; exit {}"; echo $? >&2' \
            >"$work/many.out" 2>"$work/many.codes"
    is "$(seq 30)" "$(sort -n "$work/many.out")"
    is "$(seq 30)" "$(sort -n "$work/many.codes")"
    is '' "$(podman ps --quiet --all --filter status=exited)"
}

# container_cgroup NAME: the path of its cgroup below each tree.
container_cgroup() { inspect "$1" .State.CgroupPath; }

private_host "$@"
client_main "$@"
