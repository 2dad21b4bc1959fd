#!/bin/sh
# Put oarlock on a Kubernetes node: the binary, and a runtime "oarlock" in containerd's configuration. Made to run in
# the container of daemonset.yaml, with the node's root at $HOST; running it again changes nothing.
set -eu

usage() {
    cat <<'TEXT'
usage: install.sh [install|remove]

Environment:
  HOST     where the node's root is (default: /host)
  SOURCE   the binary to install (default: /oarlock)
  CONFIG   containerd's configuration, on the node (default: /etc/containerd/config.toml)
  TARGET   where the binary goes, on the node (default: /usr/local/bin/oarlock)
  RESTART  what restarts containerd when its configuration has changed
           (default: nsenter --target 1 --mount -- systemctl restart containerd)
TEXT
}

HOST=${HOST-/host} SOURCE=${SOURCE-/oarlock}
CONFIG=${CONFIG-/etc/containerd/config.toml} TARGET=${TARGET-/usr/local/bin/oarlock}
RESTART=${RESTART-nsenter --target 1 --mount -- systemctl restart containerd}

config=$HOST$CONFIG
begin='# begin oarlock: written by its installer, and removed by it' end='# end oarlock'

# The configuration without our part.
others() { if [ -e "$config" ]; then sed "/^$begin\$/,/^$end\$/d" "$config"; fi; }

# Our part, in the form that belongs to the version of the rest. No version at all is version 1, whose names are others.
ours() {
    version=$(others | sed -n 's/^version *= *\([0-9]*\).*/\1/p' | head -n 1)
    case "$version" in
        2) plugin='"io.containerd.grpc.v1.cri"' ;;
        3 | 4) plugin='"io.containerd.cri.v1.runtime"' ;;
        *) echo "install.sh: $CONFIG: version ${version:-1} of the configuration is not supported; use 2 or newer" >&2; return 1 ;;
    esac
    echo "$begin"
    # A containerd that is told of one runtime forgets that it has runc by default.
    if ! others | grep -q '^ *\[plugins.*\.containerd\.runtimes\.'; then
        cat <<TOML
[plugins.$plugin.containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"
TOML
    fi
    cat <<TOML
[plugins.$plugin.containerd.runtimes.oarlock]
  runtime_type = "io.containerd.runc.v2"
  [plugins.$plugin.containerd.runtimes.oarlock.options]
    BinaryName = "$TARGET"
    SystemdCgroup = ${SYSTEMD_CGROUP-false}
$end
TOML
}

# write FILE: from standard input, at once or not at all. The answer is whether it changed.
write() {
    mkdir -p "${1%/*}"
    cat >"$1.new"
    if cmp -s "$1.new" "$1"; then rm "$1.new"; return 1; fi
    if [ -e "$1" ]; then chmod "$(stat -c %a "$1")" "$1.new"; fi
    mv "$1.new" "$1"
}

restart() {
    echo "restarting containerd"
    $RESTART
}

case "${1-install}" in
    install)
        if write "$HOST$TARGET" <"$SOURCE"; then echo "installed $TARGET"; fi
        chmod 755 "$HOST$TARGET"
        # A node without a configuration has containerd's defaults.
        [ -e "$config" ] || echo 'version = 2' | write "$config"
        part=$(ours)
        text=$(others; printf '%s\n' "$part")
        if printf '%s\n' "$text" | write "$config"; then echo "added the runtime to $CONFIG"; restart; fi
        ;;
    remove)
        text=$(others)
        if printf '%s\n' "$text" | write "$config"; then echo "removed the runtime from $CONFIG"; restart; fi
        rm -f "$HOST$TARGET"
        ;;
    -h | --help) usage ;;
    *) usage >&2; exit 1 ;;
esac
