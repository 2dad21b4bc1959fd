#!/usr/bin/env bash
# Docker: dockerd with its own containerd, driven by the docker command. Run by hack/clients.
# shellcheck disable=SC2016 # most of what stands in single quotes is for a shell in a container
set -euo pipefail
# shellcheck source=hack/client/lib.sh
. "$(dirname "$0")/lib.sh"
also=(hack/client/docker/{run,limits,exec,life,build,daemon}.sh)
# shellcheck source=/dev/null
for file in "${also[@]}"; do . "$file"; done

export DOCKER_HOST=unix:///run/docker.sock
# The size of the terminal comes after the start.
# shellcheck disable=SC2034 # for the files that are sourced
terminal_probe='test -t 0 && test -t 1 && tty; until stty size 2>/dev/null | grep -v "^0 0"; do sleep 0.1; done'

prepare() {
    need_packages busybox-static containerd docker-compose docker.io iproute2 iptables jq procps tini
}

begin() {
    mkdir "$work/bin" "$work/share"
    # BuildKit takes "runc" from PATH, whatever daemon.json says.
    ln -s "$runtime" "$work/bin/runc"
    # The configuration that we give to people, with what makes this daemon ours.
    jq --arg runtime "$runtime" --arg cgroup "/$cgroup" '.runtimes.oarlock.path = $runtime
        | . + {"default-runtime": "oarlock", "cgroup-parent": $cgroup, "live-restore": true, "experimental": true,
               "default-shm-size": "8M", "shutdown-timeout": 5}' contrib/docker/daemon.json >"$work/daemon.json"
    start_dockerd
    image "$work/busybox.tar" busybox:latest
    docker load --input "$work/busybox.tar"
    docker run --detach --name long --hostname long busybox sh -c \
        'trap "exit 3" TERM; trap "echo got usr1" USR1; echo ready; echo warned >&2; while :; do sleep 0.1; done'
}

end() {
    local left
    mapfile -t left < <(docker ps --all --quiet)
    docker rm --force --volumes "${left[@]}"
    docker volume prune --force
    docker network prune --force
    stop_daemon dockerd
    cgroup_dirs | while read -r left; do
        # BuildKit's parent of its containers: a runtime removes what is the container's own.
        if [ -d "$left/buildkit" ]; then rmdir "$left/buildkit"; fi
    done
    # A dockerd that was killed had its own directory and the host's network namespace mounted.
    while umount "$work/docker" || umount /run/docker/netns/default; do :; done
}

start_dockerd() {
    PATH=$work/bin:$PATH start_daemon dockerd dockerd --config-file "$work/daemon.json" --data-root "$work/docker" \
        --exec-root /run/docker --pidfile /run/docker.pid --host "$DOCKER_HOST"
    until_true docker version
}

# /usr/bin, because another build of the command may stand before Debian's on PATH.
docker() { bounded /usr/bin/docker "$@"; }

# once OPTION… [COMMAND…]: run it in a busybox container, which is removed again. Options end at the first "--".
once() {
    local options=()
    while [ $# -gt 0 ] && [ "$1" != -- ]; do options+=("$1"); shift; done
    docker run --rm "${options[@]}" busybox "${@:2}"
}

# background NAME OPTION… -- COMMAND…
background() {
    local options=(--detach --name "$1")
    shift
    while [ $# -gt 0 ] && [ "$1" != -- ]; do options+=("$1"); shift; done
    docker run "${options[@]}" busybox "${@:2}" >/dev/null
}

field() { docker inspect --format "$2" "$1"; }
field_is() { [ "$(field "$1" "$2")" = "$3" ]; }
running() { field_is "$1" '{{.State.Running}}' true; }
exited() { field_is "$1" '{{.State.Status}}' exited; }
logged() { docker logs "$1" 2>&1 | grep -q -- "$2"; }
remove() { docker rm --force "$@" >/dev/null; }
id_of() { field "$1" '{{.Id}}'; }
# limit NAME-V1 NAME-V2 CONTAINER
limit() { cgroup_value "$1" "$2" "$cgroup/$(id_of "$3")"; }
no_cgroup() { [ -z "$(find /sys/fs/cgroup -path "*/$cgroup/$1")" ]; }
no_state() { [ -z "$(find /run/docker/runtime-* -mindepth 2 -maxdepth 2 -name "$1" 2>/dev/null)" ]; }

client_main "$@"
