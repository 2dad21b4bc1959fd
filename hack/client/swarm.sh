#!/usr/bin/env bash
# A Swarm of three dockerd, each with a network namespace and an address of its own on one bridge. Run by hack/clients.
#
# Not here: the routing mesh and virtual addresses, which need IPVS in the kernel. Services have `--endpoint-mode dnsrr`
# and ports of the host.
# shellcheck disable=SC2016 # most of what stands in single quotes is for a shell in a container
set -euo pipefail
# shellcheck source=hack/client/lib.sh
. "$(dirname "$0")/lib.sh"

nodes='1 2 3'
# Swarm itself waits: for heartbeats, before it starts a task again, before it believes that a node is lost.
# shellcheck disable=SC2034 # for until_true
patience=150

prepare() { need_packages busybox-static containerd docker.io iproute2 iptables jq procps tini; }

# A network of three hosts: node N is 10.77.0.N.
begin() {
    local n
    ip link add fabric type bridge
    ip address add 10.77.0.254/24 dev fabric
    ip link set fabric up
    image "$work/busybox.tar" busybox:latest
    for n in $nodes; do
        ip netns add "node$n"
        ip link add "port$n" master fabric type veth peer name eth0 netns "node$n"
        ip link set "port$n" up
        ip -n "node$n" address add "10.77.0.$n/24" dev eth0
        ip -n "node$n" link set lo up
        ip -n "node$n" link set eth0 up
        # No route to anywhere else: a node asks a registry for the image before it takes its own, and must fail at once.
        jq --arg runtime "$runtime" --arg cgroup "/$cgroup/node$n" '.runtimes.oarlock.path = $runtime
            | . + {"default-runtime": "oarlock", "cgroup-parent": $cgroup, "shutdown-timeout": 5}' \
            contrib/docker/daemon.json >"$work/node$n.json"
        start_node "$n"
    done
    for n in $nodes; do
        until_true on "$n" version
        on "$n" load --input "$work/busybox.tar"
    done
}

# Each dockerd has, besides its network, a mount namespace. Not `ip netns exec`: its /sys has no cgroups.
start_node() {
    start_daemon "node$1" nsenter --net="/run/netns/node$1" unshare --mount --propagation slave -- dockerd --config-file "$work/node$1.json" --data-root "$work/data$1" \
        --exec-root "/run/docker$1" --pidfile "/run/docker$1.pid" --host "unix:///run/docker$1.sock"
}

end() {
    local n left
    for n in $nodes; do
        on "$n" swarm leave --force || true
        mapfile -t left < <(on "$n" ps --all --quiet)
        [ ${#left[@]} -eq 0 ] || on "$n" rm --force "${left[@]}"
        stop_daemon "node$n"
    done
    for n in $nodes; do
        ip netns delete "node$n"
        cgroup_dirs | while read -r left; do
            # The parent that the daemon was told to use: a runtime removes what is the container's own.
            if [ -d "$left/node$n" ]; then rmdir "$left/node$n"; fi
        done
    done
    ip link delete fabric
    # ip makes this directory a mount, and leaves it.
    umount /run/netns
}

# on NODE COMMAND…: docker on that node.
on() { bounded /usr/bin/docker --host "unix:///run/docker$1.sock" "${@:2}"; }

# tasks SERVICE NODE: how many of its tasks run on that node.
tasks() { on "$2" ps --quiet --filter "label=com.docker.swarm.service.name=$1" | wc -l; }

# replicas SERVICE N [NODE]: it says that N of N run, asked on that node.
replicas() { [ "$(on "${3:-1}" service ls --filter "name=$1" --format '{{.Replicas}}' | cut -d' ' -f1)" = "$2/$2" ]; }

# task_of SERVICE NODE: a container of the service there.
task_of() { on "$2" ps --quiet --no-trunc --filter "label=com.docker.swarm.service.name=$1" | head -n 1; }

# serve NAME OPTION… -- COMMAND…: make a service. SIGKILL, because the first process of a container is deaf to SIGTERM, and
# each stop would last for ten seconds.
serve() {
    local options=(--detach --no-resolve-image --endpoint-mode dnsrr --stop-signal KILL --name "$1")
    shift
    while [ $# -gt 0 ] && [ "$1" != -- ]; do options+=("$1"); shift; done
    on 1 service create "${options[@]}" busybox "${@:2}"
}

remove() {
    local n
    on 1 service rm "$1"
    for n in $nodes; do until_true eval "[ -z \"\$(task_of $1 $n)\" ]"; done
}

test_swarm_of_three() {
    local token n
    on 1 swarm init --advertise-addr 10.77.0.1 --listen-addr 10.77.0.1
    token=$(on 1 swarm join-token --quiet manager)
    for n in 2 3; do on "$n" swarm join --advertise-addr "10.77.0.$n" --listen-addr "10.77.0.$n" --token "$token" 10.77.0.1:2377; done
    until_true eval '[ "$(on 1 node ls --format "{{.Status}} {{.ManagerStatus}}" | grep -cE "^Ready (Leader|Reachable)")" = 3 ]'
}

test_service_on_every_node() {
    local n
    serve everywhere --mode global -- sh -c 'echo up; sleep 600'
    until_true replicas everywhere 3
    for n in $nodes; do
        is 1 "$(tasks everywhere "$n")" "tasks on node $n"
        is up "$(on "$n" logs "$(task_of everywhere "$n")")"
    done
    remove everywhere
}

test_service_settings_reach_the_container() {
    local task
    echo 'the secret' | on 1 secret create word - >/dev/null
    echo 'the config' | on 1 config create text - >/dev/null
    serve set --constraint node.hostname!=nowhere --replicas 1 --env A=one --workdir /usr/bin --user web \
        --hostname 'task-{{.Task.Slot}}' --limit-memory 32m --limit-cpu 0.5 --secret word --config text \
        --mount type=tmpfs,destination=/scratch --read-only --cap-drop CHOWN --init -- sleep 600
    until_true replicas set 1
    local n at=''
    for n in $nodes; do if [ "$(tasks set "$n")" = 1 ]; then at=$n; fi; done
    task=$(task_of set "$at")
    is 'one /usr/bin 1000 task-1 the secret the config' \
        "$(on "$at" exec "$task" sh -c 'echo $A $PWD $(id -u) $(hostname) $(cat /run/secrets/word /text)')"
    is 33554432 "$(cgroup_value memory.limit_in_bytes memory.max "$cgroup/node$at/$task")"
    has "$(cgroup_value cpu.cfs_quota_us cpu.max "$cgroup/node$at/$task")" 50000
    has "$(on "$at" exec "$task" grep ' /scratch ' /proc/mounts)" tmpfs
    exits 1 on "$at" exec --user 0 "$task" touch /file
    has "$output" 'Read-only file system'
    remove set
    on 1 secret rm word
    on 1 config rm text
}

test_service_port_of_the_host() {
    local n
    serve web --mode global --publish mode=host,published=8080,target=80 -- \
        sh -c 'echo served >/index.html; exec httpd -f -h /'
    until_true replicas web 3
    for n in $nodes; do
        until_true busybox wget -q -O - "http://10.77.0.$n:8080/index.html"
        is served "$(busybox wget -q -O - "http://10.77.0.$n:8080/index.html")"
    done
    remove web
}

test_service_health() {
    serve well --replicas 1 --health-cmd 'test -e /tmp/well' --health-interval 0.5s --health-retries 100 -- \
        sh -c 'sleep 1; touch /tmp/well; sleep 600'
    until_true replicas well 1
    remove well
}

test_service_task_that_dies_is_replaced() {
    local n at='' before
    serve mortal --replicas 1 --restart-delay 0s -- sleep 600
    until_true replicas mortal 1
    for n in $nodes; do if [ "$(tasks mortal "$n")" = 1 ]; then at=$n; fi; done
    before=$(task_of mortal "$at")
    kill -KILL "$(on "$at" inspect --format '{{.State.Pid}}' "$before")"
    until_true eval "[ \"\$(on 1 service ps --quiet mortal | wc -l)\" = 2 ]"
    until_true replicas mortal 1
    remove mortal
}

test_service_scaled() {
    serve many --replicas 2 -- sleep 600
    until_true replicas many 2
    on 1 service scale --detach many=6
    until_true replicas many 6
    is 6 "$(($(tasks many 1) + $(tasks many 2) + $(tasks many 3)))"
    on 1 service scale --detach many=1
    until_true replicas many 1
    until_true eval '[ "$(($(tasks many 1) + $(tasks many 2) + $(tasks many 3)))" = 1 ]'
    remove many
}

test_service_rolling_update() {
    local n
    serve rolling --replicas 3 --update-parallelism 1 --update-delay 0s --update-order start-first --env VERSION=1 -- sleep 600
    until_true replicas rolling 3
    on 1 service update --detach --env-add VERSION=2 rolling
    until_true eval '[ "$(on 1 service inspect --format "{{.UpdateStatus.State}}" rolling)" = completed ]'
    for n in $nodes; do
        if [ "$(tasks rolling "$n")" -gt 0 ]; then is 2 "$(on "$n" exec "$(task_of rolling "$n")" sh -c 'echo $VERSION')"; fi
    done
    remove rolling
}

test_service_that_cannot_start_is_reported() {
    serve broken --replicas 1 --restart-condition none -- /no/such/program
    until_true eval 'on 1 service ps --no-trunc --format "{{.Error}}" broken | grep -q "no such file or directory"'
    remove broken
}

test_overlay_network() {
    local task
    on 1 network create --driver overlay --attachable lan 2>"$work/overlay" || skip "$(tail -n 1 "$work/overlay")"
    serve server --mode global --network lan -- sh -c 'hostname >/index.html; exec httpd -f -h /'
    if ! replicas server 3; then
        until_true eval 'replicas server 3 || on 1 service ps --no-trunc --format "{{.Error}}" server | grep -q .'
        replicas server 3 || skip "overlay: $(on 1 service ps --no-trunc --format '{{.Error}}' server | grep . | head -n 1)"
    fi
    task=$(task_of server 1)
    # Each by the name of the service, over VXLAN.
    until_true eval "[ \"\$(on 1 exec $task nslookup server. 127.0.0.11 2>/dev/null | grep -c '^Address.*10\\.')\" -ge 3 ]"
    is 3 "$(for n in $nodes; do
        on 1 exec "$task" wget -q -O - "http://$(on "$n" inspect --format '{{.NetworkSettings.Networks.lan.IPAddress}}' "$(task_of server "$n")")/index.html"
    done | sort -u | wc -l)"
    remove server
    until_true on 1 network rm lan
}

test_stack() {
    cat >"$work/stack.yml" <<'YAML'
version: "3.8"
networks: { default: { external: true, name: host } }
services:
  worker:
    image: busybox
    command: sh -c 'echo "worker $$ROLE"; sleep 600'
    environment: { ROLE: stacked }
    stop_grace_period: 0s
    deploy: { mode: global, endpoint_mode: dnsrr }
YAML
    on 1 stack deploy --resolve-image never --compose-file "$work/stack.yml" app
    until_true replicas app_worker 3
    is 'worker stacked' "$(on 2 logs "$(task_of app_worker 2)")"
    on 1 stack rm app
    until_true eval '[ -z "$(task_of app_worker 2)$(task_of app_worker 1)$(task_of app_worker 3)" ]'
}

test_service_survives_a_drained_node() {
    serve moved --replicas 3 -- sleep 600
    until_true replicas moved 3
    on 1 node update --availability drain "$(on 2 info --format '{{.Swarm.NodeID}}')"
    until_true eval '[ "$(tasks moved 2)" = 0 ]'
    # Not what the service says: until node 2 has reported the end of its own, that one still counts.
    until_true eval '[ "$(($(tasks moved 1) + $(tasks moved 3)))" = 3 ]'
    until_true replicas moved 3
    on 1 node update --availability active "$(on 2 info --format '{{.Swarm.NodeID}}')"
    remove moved
}

test_service_survives_the_loss_of_a_node() {
    local pid
    serve robust --replicas 4 -- sleep 600
    until_true replicas robust 4
    # Node 3 is lost: its cable is cut and its daemon killed. What it ran runs on, unknown to the others.
    ip link set port3 down
    pid=$(cat "$work/node3.pid")
    kill -KILL "$pid"
    # The manager takes some heartbeats to believe it.
    until_true eval '[ "$(on 1 node ls --format "{{.Status}}" | grep -c Down)" = 1 ]'
    until_true eval '[ "$(($(tasks robust 1) + $(tasks robust 2)))" = 4 ]'
}

test_lost_node_comes_back() {
    rm -f /run/docker3.pid
    ip link set port3 up
    start_node 3
    until_true on 3 version
    until_true eval '[ "$(on 1 node ls --format "{{.Status}}" | grep -c Ready)" = 3 ]'
    # The tasks that it had when it was lost have been given to others; it ends its own.
    until_true eval '[ "$(tasks robust 3)" = 0 ]'
    until_true replicas robust 4
    on 1 service scale --detach robust=6
    until_true replicas robust 6
    [ "$(tasks robust 3)" -ge 1 ]
    remove robust
}

client_main "$@"
