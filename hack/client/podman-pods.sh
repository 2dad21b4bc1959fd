# shellcheck shell=bash
# shellcheck disable=SC2016 # what is quoted is for the shell in the container
# shellcheck disable=SC2154,SC2317 # set, and called, by the scripts that source this
# Podman's checks of pods: containers that share namespaces, by `podman pod` and by Kubernetes' YAML. Sourced by podman.sh.

# shared POD-MEMBER POD-MEMBER KIND…: both are in the same namespace of each KIND, and not in the host's.
shared() {
    local kind one two
    one=$(inspect "$1" .State.Pid) two=$(inspect "$2" .State.Pid)
    for kind in "${@:3}"; do
        is "$(readlink "/proc/$one/ns/$kind")" "$(readlink "/proc/$two/ns/$kind")" "$kind"
        [ "$(readlink "/proc/$one/ns/$kind")" != "$(readlink "/proc/self/ns/$kind")" ] || note "$kind is the host's"
    done
}

test_pod_shares_what_it_says() {
    podman pod create --name pair --hostname pair --network none
    podman run --detach --pod pair --name left "$image" sh -c 'echo seen >/dev/shm/note; exec httpd -f -p 127.0.0.1:80 -h /dev/shm'
    podman run --detach --pod pair --name right "$image" sleep 10000
    shared left right net ipc uts
    [ "$(readlink "/proc/$(inspect left .State.Pid)/ns/pid")" != "$(readlink "/proc/$(inspect right .State.Pid)/ns/pid")" ]
    is pair "$(podman exec left hostname)"
    is pair "$(podman exec right hostname)"
    # Over the loopback device of the one, and through the shared memory of the other.
    fetched() { is seen "$(podman exec right wget -qO- http://127.0.0.1/note)"; }
    until_true fetched
    is seen "$(podman exec right cat /dev/shm/note)"
    podman pod pause pair
    is paused "$(inspect right .State.Status)"
    podman pod unpause pair
    has "$(podman pod top pair args)" httpd 'sleep 10000'
    [ "$(podman pod stats --no-stream --format '{{.CID}}' pair | wc -l)" -ge 2 ]
    podman pod stop --time 0 pair
    is exited "$(inspect left .State.Status)"
    podman pod start pair
    is running "$(inspect left .State.Status)"
    podman pod kill pair
    podman pod rm --force pair
    exits 1 podman container exists left
}

test_pod_shares_processes_when_asked() {
    podman pod create --name family --share pid,ipc,net,uts --network none
    podman run --detach --pod family --name one "$image" sleep 11111
    podman run --detach --pod family --name two "$image" sleep 22222
    shared one two pid net
    has "$(podman exec one ps)" 'sleep 22222'
    # A signal from the one ends the other.
    podman exec one sh -c 'kill -9 $(ps | sed -n "s/^ *\([0-9]*\) .*sleep 22222/\1/p" | head -n 1)'
    is 137 "$(podman wait two)"
    is running "$(inspect one .State.Status)"
    podman pod rm --force --time 0 family
}

test_pod_limits_are_for_all_of_it() {
    podman pod create --name tight --network none --cpus 0.5
    podman run --detach --pod tight --name member "$image" sleep 10000
    has "$(container_cgroup member)" "$(podman pod inspect tight --format '{{.ID}}')"
    podman pod rm --force --time 0 tight
}

test_pod_init_containers_come_first() {
    podman pod create --name stages --network none
    podman create --pod stages --name before --init-ctr once "$image" sh -c 'echo first >/dev/shm/order'
    podman create --pod stages --name after "$image" sh -c 'echo second >>/dev/shm/order; cat /dev/shm/order; exec sleep 10000'
    podman pod start stages
    ordered() { is 'first second' "$(podman logs after | xargs)"; }
    until_true ordered
    podman pod rm --force --time 0 stages
}

test_pod_of_ten() {
    local i
    podman pod create --name ten --network none
    for i in $(seq 10); do echo "$i"; done | xargs -P 10 -I{} \
        timeout 120 podman run --detach --pod ten --name ten-{} "$image" sh -c 'echo I am {}; sleep 0.2; exit {}'
    for i in $(seq 10); do
        is "$i" "$(podman wait "ten-$i")"
        is "I am $i" "$(podman logs "ten-$i")"
        is "$(podman pod inspect ten --format '{{.ID}}')" "$(inspect "ten-$i" .Pod)"
    done
    podman pod rm --force --time 0 ten
    lacks "$(podman ps --all --format '{{.Names}}')" ten-
}

test_ten_pods_at_once() {
    cat >"$work/pod" <<'SCRIPT'
set -e
timeout 120 podman pod create --name "many-$1" --network none
timeout 120 podman run --pod "many-$1" --name "many-$1-a" "$2" sh -c "echo one of $1; exit $1" || [ $? -eq "$1" ]
timeout 120 podman run --detach --pod "many-$1" --name "many-$1-b" "$2" sleep 10000
timeout 120 podman exec "many-$1-b" hostname >"$3/hostname-$1"
timeout 120 podman pod rm --force --time 0 "many-$1"
SCRIPT
    seq 10 | xargs -P 10 -I{} bash "$work/pod" {} "$image" "$work"
    for i in $(seq 10); do is "many-$i" "$(cat "$work/hostname-$i")"; done
    is '' "$(podman pod ps --quiet)"
    lacks "$(podman ps --all --format '{{.Names}}')" many-
}

test_kube_play() {
    mkdir -p "$work/kube"
    cat >"$work/kube.yaml" <<YAML
apiVersion: v1
kind: Pod
metadata:
  name: shop
spec:
  hostname: shop
  restartPolicy: Never
  volumes:
    - name: shared
      hostPath: {path: $work/kube, type: Directory}
  initContainers:
    - name: ready
      image: $image
      command: [sh, -c, "echo ready >/shared/init"]
      volumeMounts: [{name: shared, mountPath: /shared}]
  containers:
    - name: web
      image: $image
      command: [sh, -c, "cat /shared/init >/shared/page; exec httpd -f -p 127.0.0.1:8080 -h /shared"]
      volumeMounts: [{name: shared, mountPath: /shared}]
      env: [{name: COLOUR, value: green}]
      resources: {limits: {memory: 64Mi}}
    - name: side
      image: $image
      command: [sleep, "10000"]
      workingDir: /home/web
      securityContext:
        runAsUser: 1000
        readOnlyRootFilesystem: true
        capabilities: {drop: [ALL]}
YAML
    podman kube play --network none "$work/kube.yaml"
    shared shop-web shop-side net ipc uts
    is shop "$(podman exec shop-web hostname)"
    is shop "$(podman exec shop-side hostname)"
    page() { is ready "$(podman exec shop-side wget -qO- http://127.0.0.1:8080/page)"; }
    until_true page
    is green "$(podman exec shop-web sh -c 'echo $COLOUR')"
    is 67108864 "$(cgroup_value memory.limit_in_bytes memory.max "$(container_cgroup shop-web)")"
    is '1000 /home/web' "$(podman exec shop-side sh -c 'echo $(id -u) $(pwd)')"
    is 0000000000000000 "$(podman exec shop-side sed -n 's/^CapBnd:\t//p' /proc/self/status)"
    exits 1 podman exec shop-side touch /home/web/file
    podman kube down "$work/kube.yaml"
    is '' "$(podman pod ps --quiet)"
}
