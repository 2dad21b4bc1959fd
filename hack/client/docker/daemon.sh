# shellcheck shell=bash disable=SC2016,SC2154
# What happens when a part of Docker itself goes away. Sourced by hack/client/docker.sh.

shim_of() { awk '/^PPid:/ { print $2 }' "/proc/$(field "$1" '{{.State.Pid}}')/status"; }

test_daemon_names_the_runtime() {
    has "$(docker info --format '{{.DefaultRuntime}} {{json .Runtimes}} {{.CgroupDriver}}')" 'oarlock {' "$runtime" cgroupfs
}

test_daemon_shim_killed() {
    local pid id shim
    background orphan -- sleep 63
    pid=$(field orphan '{{.State.Pid}}') id=$(id_of orphan)
    shim=$(shim_of orphan)
    has "$(tr '\0' ' ' <"/proc/$shim/cmdline")" containerd-shim
    kill -KILL "$shim"
    until_true exited orphan
    [ ! -e "/proc/$pid" ]
    until_true no_state "$id"
    until_true no_cgroup "$id"
    remove orphan
}

test_daemon_container_killed_behind_its_back() {
    background behind -- sleep 64
    "$runtime" --root "$(echo /run/docker/runtime-*/moby)" kill "$(id_of behind)" KILL
    until_true exited behind
    is 137 "$(field behind '{{.State.ExitCode}}')"
    remove behind
}

test_daemon_restarted_with_containers_running() {
    local pid
    docker run --detach --name survivor busybox sh -c 'while :; do echo tick; sleep 0.2; done' >/dev/null
    docker run --detach --name ends busybox sh -c 'until [ -e /tmp/end ]; do sleep 0.1; done; exit 5' >/dev/null
    pid=$(field survivor '{{.State.Pid}}')
    stop_daemon dockerd
    [ -e "/proc/$pid" ]
    start_dockerd
    is "true $pid" "$(field survivor '{{.State.Running}} {{.State.Pid}}')"
    is alive "$(docker exec survivor echo alive)"
    docker exec ends touch /tmp/end
    until_true exited ends
    is 5 "$(field ends '{{.State.ExitCode}}')"
    docker stop --time 0 survivor >/dev/null
    remove survivor ends
}

test_daemon_killed_with_containers_running() {
    local pid
    background victim -- sleep 65
    pid=$(field victim '{{.State.Pid}}')
    kill -KILL "$(cat "$work/dockerd.pid")"
    until_true eval '! docker version'
    [ -e "/proc/$pid" ]
    rm -f /run/docker.pid
    start_dockerd
    is "true $pid" "$(field victim '{{.State.Running}} {{.State.Pid}}')"
    is alive "$(docker exec victim echo alive)"
    remove victim
}

test_daemon_restart_policies_after_a_restart() {
    local pid
    background kept --restart unless-stopped -- sleep 66
    background halted --restart unless-stopped -- sleep 66
    docker stop --time 0 halted >/dev/null
    pid=$(field kept '{{.State.Pid}}')
    # It ends while nobody looks.
    stop_daemon dockerd
    kill -KILL "$pid"
    start_dockerd
    until_true eval "running kept && ! field_is kept '{{.State.Pid}}' $pid"
    exited halted
    remove kept halted
}

# A daemon that maps all its containers to a range of ids. Its users come from files of our own.
test_daemon_user_namespace() {
    local DOCKER_HOST=unix:///run/remap.sock file
    export DOCKER_HOST
    mkdir "$work/etc"
    for file in passwd group subuid subgid; do
        cp "/etc/$file" "$work/etc/" 2>/dev/null || true
        case $file in
            passwd) echo 'dockremap:x:64000:64000::/nonexistent:/bin/false' ;;
            group) echo 'dockremap:x:64000:' ;;
            *) echo 'dockremap:200000:65536' ;;
        esac >>"$work/etc/$file"
        [ -e "/etc/$file" ] || skip "no /etc/$file"
        mount --bind "$work/etc/$file" "/etc/$file"
    done
    start_daemon remap dockerd --config-file "$work/daemon.json" --data-root "$work/remap" --exec-root /run/remap \
        --pidfile /run/remap.pid --host "$DOCKER_HOST" --bridge none --userns-remap dockremap:dockremap
    until_true docker version
    docker load --input "$work/busybox.tar" >/dev/null
    is '0 200000 65536 0' "$(once -- sh -c 'echo $(cat /proc/self/uid_map) $(stat -c %u /bin/sh)')"
    background mapped -- sleep 67
    is 200000 "$(stat -c %u "/proc/$(field mapped '{{.State.Pid}}')")"
    is 1000 "$(docker exec --user web mapped id -u)"
    is "$(readlink "/proc/$(field mapped '{{.State.Pid}}')/ns/user")" "$(docker exec mapped readlink /proc/self/ns/user)"
    remove mapped
    stop_daemon remap
    for file in passwd group subuid subgid; do umount "/etc/$file"; done
}
