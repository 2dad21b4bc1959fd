# shellcheck shell=bash
# shellcheck disable=SC2154 # set by lib.sh
# What the scripts for Podman and Buildah share. Sourced after lib.sh, not run.
#
# Users, networks, leases and cgroups have fixed places. So the script gets an /etc, a /var/lib, a /usr/local/bin and a
# cgroup tree of its own, before the checks begin.

runtime_name=$(basename "$runtime")
# shellcheck disable=SC2034 # for the clients
image=localhost/box:1
# Podman and Buildah hand on the size of their own terminal beside the start.
# shellcheck disable=SC2016,SC2034 # for the shell in the container
terminal_probe='tty; until stty size 2>/dev/null | grep -v "^0 0"; do :; done'
# shellcheck disable=SC2034 # for the clients
containers_packages=(buildah busybox-static catatonit conmon containernetworking-plugins fuse-overlayfs
    golang-github-containers-common golang-github-containers-image iptables iproute2 podman procps uidmap util-linux)

# private_host "$@": give this script its own of what is the host's. It begins anew, in a cgroup namespace.
private_host() {
    local tree
    [ "$1" = run ] && [ -n "$work" ] || return 0
    if [ -z "${CLIENT_PRIVATE-}" ]; then
        for tree in $(cgroup_trees); do
            mkdir "$tree/$cgroup"
            # On v1 a new cpuset has no processor until it is given some.
            for file in cpuset.cpus cpuset.mems; do
                if [ -e "$tree/$file" ] && [ "$tree" != /sys/fs/cgroup ]; then cat "$tree/$file" >"$tree/$cgroup/$file"; fi
            done
            echo 0 >"$tree/$cgroup/cgroup.procs"
        done
        CLIENT_PRIVATE=yes exec unshare --cgroup -- "$0" "$@"
    fi
    # crun before 1.9 does not work beside a v2 tree that has controllers.
    case "$runtime_name" in crun) umount /sys/fs/cgroup/unified 2>/dev/null || true ;; esac
    for tree in $(cgroup_trees); do
        mount --bind "$tree/$cgroup" "$tree"
        if [ -e "$tree/cgroup.subtree_control" ]; then
            # A v2 cgroup with processes cannot have controllers for those below it.
            mkdir "$tree/script"
            echo 0 >"$tree/script/cgroup.procs"
        fi
    done
    mount -t tmpfs -o mode=755 tmpfs /var/lib
    cp -a /etc /var/lib/etc
    mount --bind /var/lib/etc /etc
    mount -t tmpfs -o mode=755 tmpfs /usr/local/bin
    # crun 1.8.1 gives the host's away to the root of a user namespace.
    mknod --mode 666 /var/lib/null c 1 3
    mount --bind /var/lib/null /dev/null
    # Buildah keeps the caches of builds here.
    export TMPDIR=/var/lib/tmp
    mkdir --mode 1777 $TMPDIR
    configure
}

# cgroup_trees: where the cgroup hierarchies are mounted.
cgroup_trees() {
    local tree
    for tree in /sys/fs/cgroup /sys/fs/cgroup/*; do
        if [ ! -L "$tree" ] && [ -e "$tree/cgroup.procs" ]; then
            echo "$tree"
            # Below a v2 tree at the top there are only its cgroups.
            [ "$tree" != /sys/fs/cgroup ] || return 0
        fi
    done
}

# configure: oarlock by the file that is shipped for it, another runtime by one of the same form.
configure() {
    mkdir -p /etc/containers/containers.conf.d
    if [ "$runtime_name" = oarlock ]; then
        cp "$runtime" /usr/local/bin/oarlock
        cp contrib/podman/oarlock.conf /etc/containers/containers.conf.d/oarlock.conf
    else
        cat >"/etc/containers/containers.conf.d/$runtime_name.conf" <<TOML
[engine.runtimes]
$runtime_name = ["$runtime"]
TOML
    fi
    # Without CAP_SYS_RESOURCE the limits that Podman asks for by default cannot be set.
    cat >/etc/containers/containers.conf <<TOML
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=4096:4096"]
log_driver = "k8s-file"
[engine]
events_logger = "file"
init_path = "$(command -v catatonit)"
runtime = "$runtime_name"
TOML
    cat >/etc/containers/storage.conf <<TOML
[storage]
driver = "overlay"
graphroot = "$work/storage"
runroot = "/run/containers/storage"
TOML
}

# left_no_cgroup: of the containers' cgroups none is left. Podman keeps some for itself, and on a hybrid host forgets the
# v2 ones of its pods.
left_no_cgroup() {
    local left
    left=$(cgroup_trees | xargs -I{} find {} -mindepth 1 -type d \( -name '*libpod-*' -o -name 'buildah*' \))
    is '' "$left" cgroups
}
