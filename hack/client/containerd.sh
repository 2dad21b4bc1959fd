#!/usr/bin/env bash
# containerd, driven by ctr. Run by hack/clients.
set -euo pipefail
# shellcheck source=hack/client/lib.sh
. "$(dirname "$0")/lib.sh"

prepare() { need_packages busybox-static containerd; }

# containerd's namespace is the name of the cgroup that its containers are put below.
ctr() { bounded ctr --address /run/containerd/containerd.sock --namespace "$cgroup" "$@"; }

begin() {
    cat >"$work/config.toml" <<TOML
version = 2
root = "$work/root"
state = "/run/containerd"
disabled_plugins = ["io.containerd.grpc.v1.cri"]
TOML
    start_containerd
    image "$work/busybox.tar" docker.io/library/busybox:latest
    ctr image import "$work/busybox.tar"
}

start_containerd() {
    start_daemon containerd containerd --config "$work/config.toml"
    containerd=$daemon_pid
    until_true ctr version
}

end() { stop_daemon "$containerd"; }

# crun_ OPTION… ID [COMMAND…]: run a container of the busybox image with the runtime.
container() { ctr run --runc-binary "$runtime" --runc-root /run/runtime "$@"; }

busybox=docker.io/library/busybox:latest

test_run_prints_and_is_removed() {
    is hello "$(container --rm $busybox hello echo hello)"
    is '' "$(ctr container list --quiet)"
}

test_run_exit_code() {
    exits 7 container --rm $busybox code sh -c 'exit 7'
}

client_main "$@"
