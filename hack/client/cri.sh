#!/usr/bin/env bash
# Kubernetes, as far as a node's containerd sees it: pods and containers by the Container Runtime Interface, with the
# runtime put into containerd's configuration by contrib/kubernetes/install.sh. Run by hack/clients.
# shellcheck disable=SC2016 # most of what stands in single quotes is for a shell in a container
set -euo pipefail
# shellcheck source=hack/client/lib.sh
. "$(dirname "$0")/lib.sh"

image=localhost/busybox:1

prepare() { need_packages busybox-static containerd jq python3-grpcio python3-yaml; }

begin() {
    # oom_score_adj: pods ask for less than some hosts let even root have.
    cat >"$work/config.toml" <<TOML
version = 2
root = "$work/root"
state = "/run/containerd"

[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "localhost/pause:1"
  restrict_oom_score_adj = true
TOML
    cp "$work/config.toml" "$work/plain.toml"
    installer install
    start_daemon containerd containerd --config "$work/config.toml"
    until_true cri Version '{}'
    image "$work/pause.tar" localhost/pause:1 '' '["/bin/sleep", "600"]'
    image "$work/busybox.tar" $image
    for file in pause busybox; do
        bounded ctr --address /run/containerd/containerd.sock --namespace k8s.io image import "$work/$file.tar"
    done
    until_true image_known
    pod=$(cri RunPodSandbox "$(pod_request first)" | jq -r '."1"')
    echo "$pod" >"$work/pod"
}

end() {
    remove_pod "$(cat "$work/pod")"
    stop_daemon containerd
    # The parent that the kubelet names for a pod is the kubelet's.
    cgroup_dirs | while read -r dir; do find "$dir" -mindepth 1 -maxdepth 1 -type d -exec rmdir {} \;; done
}

installer() {
    HOST='' SOURCE=$runtime CONFIG=$work/config.toml TARGET=$work/bin/oarlock RESTART='echo restarted' \
        contrib/kubernetes/install.sh "$@"
}

# /usr/bin: the Python that has Debian's packages.
cri() { /usr/bin/python3 hack/client/cri.py /run/containerd/containerd.sock "$@"; }

image_known() { [ "$(cri ImageStatus '{"1": {"1": "'$image'"}}')" != '{}' ]; }

# pod_config NAME: on the node's network, which needs no CNI plugin.
pod_config() {
    jq -n --arg name "$1" --arg cgroup "/$cgroup/pod-$1" --arg log "$work/log" '{
        "1": {"1": $name, "2": ("uid-" + $name), "3": "default"}, "3": $log,
        "8": {"1": $cgroup, "2": {"1": {"1": 2}}}}'
}

pod_request() { jq -n --argjson config "$(pod_config "$1")" '{"1": $config, "2": "oarlock"}'; }

# create POD NAME COMMAND [MORE]: a container that runs a shell command; MORE is merged into its ContainerConfig.
create() {
    local default='{}'
    cri CreateContainer "$(jq -n --arg pod "$1" --arg name "$2" --arg image $image --arg command "$3" \
        --argjson more "${4:-$default}" --argjson sandbox "$(pod_config first)" '{"1": $pod, "3": $sandbox, "2": ({
            "1": {"1": $name}, "2": {"1": $image}, "3": ["/bin/sh", "-c"], "4": [$command], "11": ($name + ".log")}
            * $more)}')" | jq -r '."1"'
}

start() { cri StartContainer '{"1": "'"$1"'"}' >/dev/null; }
stop() { cri StopContainer '{"1": "'"$1"'", "2": 1}' >/dev/null; }
remove() { cri RemoveContainer '{"1": "'"$1"'"}' >/dev/null; }
remove_pod() { cri StopPodSandbox '{"1": "'"$1"'"}'; cri RemovePodSandbox '{"1": "'"$1"'"}'; }
# The fields of ContainerStatus: 3 is the state (1 runs, 2 has exited; what is 0 is not sent), 7 the exit code.
status() { cri ContainerStatus '{"1": "'"$1"'"}' | jq -r '."1"."'"$2"'" // 0'; }
state_is() { [ "$(status "$1" 3)" = "$2" ]; }
# in_container ID JSON-LIST
in_container() { cri ExecSync '{"1": "'"$1"'", "2": '"$2"', "3": 30}'; }
said() { sed 's/^[^ ]* std[a-z]* [FP] //' "$work/log/$1.log"; }

# prints WANTED COMMAND [MORE]: what a container in the pod says.
prints() {
    local id
    id=$(create "$(cat "$work/pod")" "c-$BASHPID-$RANDOM" "$2" "${3-}")
    start "$id"
    until_true state_is "$id" 2
    is "$1" "$(said "$(status "$id" 2 | jq -r '."1"')" | xargs)"
    remove "$id"
}

test_installer_adds_the_runtime() {
    has "$(containerd --config "$work/config.toml" config dump)" \
        '[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.oarlock]' "BinaryName = \"$work/bin/oarlock\""
    is "$(sha256sum <"$runtime")" "$(sha256sum <"$work/bin/oarlock")"
}

test_installer_twice_changes_nothing() {
    local before
    before=$(cat "$work/config.toml")
    is '' "$(installer install)"
    is "$before" "$(cat "$work/config.toml")"
}

test_installer_removes_what_it_added() {
    cp "$work/config.toml" "$work/kept.toml"
    is 'removed the runtime from '"$work"'/config.toml restarting containerd restarted' "$(installer remove | xargs)"
    is "$(cat "$work/plain.toml")" "$(cat "$work/config.toml")"
    [ ! -e "$work/bin/oarlock" ]
    installer install
    is "$(cat "$work/kept.toml")" "$(cat "$work/config.toml")"
}

test_installer_on_a_node_of_containerd_2() {
    local CONFIG=$work/three.toml
    echo 'version = 3' >"$CONFIG"
    HOST='' SOURCE=$runtime CONFIG=$CONFIG TARGET=$work/three RESTART=true contrib/kubernetes/install.sh
    # The same runtimes as in the file for people, which has the other kind of quotes.
    is "$(sed "s,/usr/local/bin/oarlock,$work/three,; s/'/\"/g; /^#/d; /^\$/d" contrib/containerd/config-v3.toml)" \
        "$(sed '/^#/d; /^$/d' "$CONFIG")"
}

test_installer_beside_another_runtime() {
    local CONFIG=$work/beside.toml
    cat "$work/plain.toml" - >"$CONFIG" <<'TOML'
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    base_runtime_spec = ""
TOML
    HOST='' SOURCE=$runtime CONFIG=$CONFIG TARGET=$work/beside RESTART=true contrib/kubernetes/install.sh
    has "$(containerd --config "$CONFIG" config dump)" '.containerd.runtimes.runc]' '.containerd.runtimes.oarlock]' "$work/beside"
}

test_installer_refuses_version_1() {
    echo 'oom_score = 0' >"$work/one.toml"
    exits 1 env HOST='' SOURCE="$runtime" CONFIG="$work/one.toml" TARGET="$work/one" RESTART=true contrib/kubernetes/install.sh
    has "$output" 'version 1 of the configuration is not supported'
    is 'oom_score = 0' "$(cat "$work/one.toml")"
}

test_config_for_containerd_1_is_the_same() {
    sed "s,/usr/local/bin/oarlock,$work/bin/oarlock,; /^version/d" contrib/containerd/config-v2.toml |
        cat "$work/plain.toml" - >"$work/merged.toml"
    dump() { containerd --config "$1" config dump | grep -v '^imports'; }
    diff <(dump "$work/config.toml") <(dump "$work/merged.toml")
}

test_manifests() {
    /usr/bin/python3 - contrib/kubernetes <<'PYTHON'
import sys, yaml
directory = sys.argv[1]
runtime_class = yaml.safe_load(open(f"{directory}/runtimeclass.yaml"))
daemon_set = yaml.safe_load(open(f"{directory}/daemonset.yaml"))
assert (runtime_class["apiVersion"], runtime_class["kind"], runtime_class["handler"]) == ("node.k8s.io/v1", "RuntimeClass", "oarlock")
assert (daemon_set["apiVersion"], daemon_set["kind"]) == ("apps/v1", "DaemonSet")
spec = daemon_set["spec"]
pod = spec["template"]["spec"]
assert spec["selector"]["matchLabels"].items() <= spec["template"]["metadata"]["labels"].items()
# Pods of the class go where the installer has been.
assert runtime_class["scheduling"]["nodeSelector"] == pod["nodeSelector"]
install = pod["initContainers"][0]
assert install["command"] == ["/install.sh", "install"] and install["securityContext"]["privileged"] and pod["hostPID"]
# Every mount has its volume, and lies where install.sh expects the node.
volumes = {volume["name"]: volume["hostPath"]["path"] for volume in pod["volumes"]}
for mount in install["volumeMounts"]:
    assert mount["mountPath"] == "/host" + volumes[mount["name"]], mount
assert sorted(volumes.values()) == ["/etc/containerd", "/usr/local/bin"]
PYTHON
}

test_pod_has_its_cgroup() {
    [ -n "$(find /sys/fs/cgroup -path "*/$cgroup/pod-first/$(cat "$work/pod")")" ]
}

test_unknown_handler_is_refused() {
    exits 1 cri RunPodSandbox "$(pod_request other | jq '."2" = "nothing"')"
    has "$output" 'no runtime for "nothing" is configured'
}

test_container_output() {
    prints 'hello from a pod' 'echo hello from a pod'
    prints 'an error' 'echo an error >&2'
}

test_container_exit_code() {
    local id
    id=$(create "$(cat "$work/pod")" code 'exit 7')
    start "$id"
    until_true state_is "$id" 2
    is 7 "$(status "$id" 7)"
    remove "$id"
}

test_container_environment_and_cwd() {
    prints 'one /usr/bin' 'echo $A $PWD' '{"5": "/usr/bin", "6": [{"1": "A", "2": "one"}]}'
}

test_container_user() { prints '1000 1000' 'echo $(id -u) $(id -g)' '{"15": {"2": {"6": "web"}}}'; }

test_container_mount() {
    echo mounted >"$work/file"
    prints 'mounted read-only' 'cat /mnt/file; echo x 2>/dev/null >/mnt/file || echo read-only' \
        '{"7": [{"1": "/mnt/file", "2": "'"$work"'/file", "3": true}]}'
}

test_container_read_only_root() { prints 'read-only' 'touch /x 2>/dev/null || echo read-only' '{"15": {"2": {"7": true}}}'; }

test_container_capabilities() {
    prints 0000000000001001 'sed -n "s/^CapEff:.//p" /proc/self/status' \
        '{"15": {"2": {"1": {"1": ["CHOWN", "NET_ADMIN"], "2": ["ALL"]}}}}'
}

test_container_shares_the_pods_namespaces() {
    local pid
    pid=$(pgrep -f '^/bin/sleep 600' | head -n 1)
    prints "$(readlink "/proc/$pid/ns/ipc") $(readlink "/proc/$pid/ns/uts")" \
        'echo $(readlink /proc/self/ns/ipc) $(readlink /proc/self/ns/uts)'
}

test_container_limits_and_their_update() {
    local id
    id=$(create "$(cat "$work/pod")" limits 'sleep 600' '{"15": {"1": {"1": 100000, "2": 50000, "4": 33554432}}}')
    start "$id"
    is 33554432 "$(cgroup_value memory.limit_in_bytes memory.max "$cgroup/pod-first/$id")"
    has "$(cgroup_value cpu.cfs_quota_us cpu.max "$cgroup/pod-first/$id")" 50000
    cri UpdateContainerResources '{"1": "'"$id"'", "2": {"1": 100000, "2": 25000, "4": 67108864}}'
    is 67108864 "$(cgroup_value memory.limit_in_bytes memory.max "$cgroup/pod-first/$id")"
    has "$(cgroup_value cpu.cfs_quota_us cpu.max "$cgroup/pod-first/$id")" 25000
    stop "$id"
    remove "$id"
}

test_container_exec() {
    local id
    id=$(create "$(cat "$work/pod")" exec 'sleep 600')
    start "$id"
    is '{"1":"out\n","2":"err\n","3":9}' "$(in_container "$id" '["sh", "-c", "echo out; echo err >&2; exit 9"]' | jq -c .)"
    exits 1 in_container "$id" '["no-such-program"]'
    has "$output" 'exec: "no-such-program": executable file not found in $PATH'
    # The memory that it uses: field 3, of which 2 is the working set.
    [ "$(cri ContainerStats '{"1": "'"$id"'"}' | jq '."1"."3"."2"."1"')" -gt 0 ]
    stop "$id"
    # By SIGTERM: only the first process of the pod, whose pid namespace this is, is deaf to it.
    is 143 "$(status "$id" 7)"
    remove "$id"
}

test_container_that_cannot_start() {
    local id
    id=$(create "$(cat "$work/pod")" wrong x '{"3": ["/no/such/program"]}')
    exits 1 start "$id"
    has "$output" 'exec: "/no/such/program": stat /no/such/program: no such file or directory'
    remove "$id"
}

test_pod_of_three_comes_and_goes() {
    local second id ids=()
    second=$(cri RunPodSandbox "$(pod_request second)" | jq -r '."1"')
    for id in a b c; do ids+=("$(create "$second" "$id" 'trap "exit 0" TERM; while :; do sleep 0.1; done')"); done
    for id in "${ids[@]}"; do start "$id"; done
    for id in "${ids[@]}"; do state_is "$id" 1; done
    remove_pod "$second"
    is '' "$(find /sys/fs/cgroup -path "*/$cgroup/pod-second/?*" -type d)"
    exits 1 cri ContainerStatus '{"1": "'"${ids[0]}"'"}'
    has "$output" NOT_FOUND
}

client_main "$@"
