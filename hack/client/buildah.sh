#!/usr/bin/env bash
# Buildah, with the runtime under `--isolation oci`, and without root. Run by hack/clients.
# shellcheck disable=SC2016 # what is quoted is for the shell in the container
# shellcheck disable=SC2032,SC2033,SC2317 # functions are called indirectly; behind xargs it is the program that is meant
set -euo pipefail
# shellcheck source=hack/client/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=hack/client/containers.sh
. hack/client/containers.sh

prepare() { need_packages "${containers_packages[@]}"; }

# Buildah takes its runtime by path, or by name from PATH. The rest is as Podman is configured.
buildah() { bounded buildah "$@"; }

# in_box [OPTION…] COMMAND…: run it in the working container.
in_box() {
    local options=()
    while [[ ${1-} == -* ]]; do
        options+=("$1")
        shift
    done
    buildah run --isolation oci --runtime "$runtime" --network none "${options[@]}" box -- "$@"
}

# build [OPTION…]: the Containerfile on standard input.
build() {
    cat >"$work/Containerfile"
    buildah build --isolation oci --runtime "$runtime" --network none --file "$work/Containerfile" "$@" "$work/context"
}

begin() {
    local archive=$work/box.tar
    image "$archive" "$image"
    mkdir "$work/context"
    buildah pull "docker-archive:$archive"
    buildah from --pull-never --name box "$image"
}

end() {
    buildah rm --all
    left_no_cgroup
}

test_run_and_exit_codes() {
    is hello "$(in_box echo hello)"
    exits 7 in_box sh -c 'exit 7'
    is 'err' "$(in_box sh -c 'echo err >&2' 2>&1 >/dev/null)"
}

test_run_missing_program() {
    # Buildah has no code of its own for it.
    exits 1 in_box no-such-program
    has "$output" 'not found in $PATH'
    exits 1 in_box /etc/passwd
    has "$output" 'permission denied'
}

test_run_goes_through_the_runtime() {
    local log=$work/called
    # A runtime that writes down what it is asked for first.
    printf '#!/bin/sh\necho "$@" >>%s\nexec %s "$@"\n' "$log" "$runtime" >/usr/local/bin/noted
    chmod +x /usr/local/bin/noted
    buildah run --isolation oci --runtime /usr/local/bin/noted --network none box -- true
    has "$(cat "$log")" 'create ' 'start ' 'delete '
}

test_run_changes_stay() {
    in_box sh -c 'echo one >/kept; mkdir -p /a/b'
    is one "$(in_box cat /kept)"
    is one "$(cat "$(buildah mount box)/kept")"
    buildah umount box
}

test_run_environment_directory_user() {
    is red "$(in_box --env=COLOUR=red sh -c 'echo $COLOUR')"
    is /home/web "$(in_box --workingdir=/home/web pwd)"
    is '1000 1000' "$(in_box --user=web sh -c 'echo $(id -u) $(id -g)')"
    is '1000 2000' "$(in_box --user=1000:2000 sh -c 'echo $(id -u) $(id -g)')"
    is other "$(in_box --hostname=other hostname)"
}

test_run_stdin() {
    is 100000 "$(head -c 100000 /dev/zero | in_box wc -c)"
}

test_run_terminal() {
    local command=(buildah run --tty --isolation oci --runtime "$runtime" --network none box -- sh -c)
    is '/dev/pts/0 24 80' "$(on_terminal "${command[@]}" "$terminal_probe" | xargs)"
    exits 5 on_terminal "${command[@]}" 'exit 5'
}

test_run_volumes_and_mounts() {
    mkdir -p "$work/data"
    in_box --volume="$work/data:/d" sh -c 'echo inside >/d/file'
    is inside "$(cat "$work/data/file")"
    exits 1 in_box --volume="$work/data:/d:ro" touch /d/file
    has "$output" 'Read-only file system'
    exits 1 in_box --mount="type=bind,source=$work/data,destination=/d,ro" touch /d/file
    is tmpfs "$(in_box --mount=type=tmpfs,destination=/t stat -f -c %T /t)"
}

test_run_capabilities() {
    bounding() { sed -n 's/^CapBnd:\t//p'; }
    is 0 "$((16#$(in_box cat /proc/self/status | bounding) & 1 << 13))"
    is "$((1 << 13))" "$((16#$(in_box --cap-add=cap_net_raw cat /proc/self/status | bounding) & 1 << 13))"
    exits 1 in_box --cap-drop=cap_chown chown web /root
    in_box chown root /root
}

test_run_is_isolated() {
    local kind
    for kind in pid mnt ipc uts net; do
        [ "$(readlink /proc/self/ns/$kind)" != "$(in_box readlink /proc/self/ns/$kind)" ] || note "$kind is the host's"
    done
    is 1 "$(in_box sh -c 'echo $$')"
    is 2 "$(in_box sed -n 's/^Seccomp:\t//p' /proc/self/status)"
    exits 1 in_box sh -c 'echo 1 >/proc/sys/kernel/sysrq'
}

test_run_in_the_hosts_namespaces() {
    is "$(readlink /proc/self/ns/ipc)" "$(in_box --ipc=host readlink /proc/self/ns/ipc)"
    is "$(readlink /proc/self/ns/pid)" "$(in_box --pid=host readlink /proc/self/ns/pid)"
    is "$(readlink /proc/self/ns/net)" "$(buildah run --isolation oci --runtime "$runtime" --network host box -- \
        readlink /proc/self/ns/net)"
}

test_copy_and_config() {
    echo copied >"$work/context/file"
    buildah copy --chown 1000:1000 box "$work/context/file" /home/web/file
    is '1000 copied' "$(in_box sh -c 'echo $(stat -c %u /home/web/file) $(cat /home/web/file)')"
    buildah config --env SHADE=dark --workingdir /home/web --user web box
    is 'dark /home/web 1000' "$(in_box sh -c 'echo $SHADE $(pwd) $(id -u)')"
    buildah config --env SHADE- --workingdir / --user root box
}

test_commit() {
    in_box sh -c 'echo committed >/mark'
    buildah commit --quiet box localhost/committed
    is from "$(buildah from --pull-never --name from localhost/committed)"
    is committed "$(buildah run --isolation oci --runtime "$runtime" --network none from -- cat /mark)"
    buildah rm from
    buildah rmi localhost/committed
}

test_build_steps() {
    echo given >"$work/context/given"
    build --quiet --tag localhost/steps --build-arg WHO=me <<FILE
FROM $image AS first
ARG WHO
RUN echo "\$WHO" >/who && cp /bin/busybox /own && chown web:web /own
FROM $image
COPY --from=first /who /own /
COPY given /given
RUN ["cp", "/given", "/taken"]
USER web
WORKDIR /home/web
RUN id -u >uid; pwd >pwd
FILE
    buildah from --pull-never --name steps localhost/steps
    is 'me given 1000 /home/web' "$(buildah run --isolation oci --runtime "$runtime" --network none steps -- \
        cat /who /taken /home/web/uid /home/web/pwd | xargs)"
    buildah rm steps
    buildah rmi localhost/steps
}

test_build_that_fails_has_the_steps_exit_code() {
    exits 9 build <<FILE
FROM $image
RUN exit 9
FILE
    exits 1 build <<FILE
FROM $image
RUN ["/no/such/program"]
FILE
    has "${output,,}" 'no such file or directory'
}

test_build_mounts_and_secrets() {
    printf hush >"$work/secret"
    output=$(build --no-cache --secret "id=word,src=$work/secret" <<FILE 2>&1
FROM $image
RUN --mount=type=secret,id=word cat /run/secrets/word && echo
RUN --mount=type=tmpfs,target=/scratch stat -f -c 'scratch is %T' /scratch
RUN --mount=type=bind,source=given,target=/mnt/given cat /mnt/given
RUN --mount=type=cache,target=/cache echo first >>/cache/n && echo "cached \$(wc -l </cache/n)"
RUN --mount=type=cache,target=/cache echo second >>/cache/n && echo "cached \$(wc -l </cache/n)"
FILE
    )
    has "$output" hush 'scratch is tmpfs' given 'cached 1' 'cached 2'
}

test_build_limits_and_privileges() {
    output=$(build --no-cache --memory 64m --ulimit nofile=100:200 --ulimit nproc=4096:4096 --cap-add CAP_NET_RAW \
        --shm-size 2m <<FILE 2>&1
FROM $image
RUN cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max 2>/dev/null; ulimit -n
RUN sed -n 's/^CapEff:/caps /p' /proc/self/status; df -k /dev/shm | tail -n 1 | awk '{ print "shm " \$2 }'
FILE
    )
    has "$output" 67108864 100 'shm 2048'
    [ $((16#$(sed -n 's/^caps[[:space:]]*//p' <<<"$output") & 1 << 13)) -ne 0 ]
}

test_build_below_a_cgroup() {
    has "$(build --no-cache --cgroup-parent /builds --cgroupns host <<FILE 2>&1
FROM $image
RUN cat /proc/self/cgroup
FILE
    )" /builds
    cgroup_trees | xargs -I{} find {}/builds -depth -type d -exec rmdir {} \; 2>/dev/null || true
}

test_build_in_a_user_namespace() {
    has "$(build --no-cache --userns-uid-map 0:100000:65536 --userns-gid-map 0:100000:65536 <<FILE 2>&1
FROM $image
RUN cat /proc/self/uid_map
FILE
    )" 100000
}

test_ten_builds_at_once() {
    local i
    printf 'FROM %s\nARG N\nRUN echo made $N >/n; sleep 0.2; cat /n\n' "$image" >"$work/Containerfile.many"
    seq 10 | xargs -P 5 -I{} timeout 120 buildah build --no-cache --isolation oci --runtime "$runtime" --network none \
        --build-arg N={} --tag localhost/many:{} --file "$work/Containerfile.many" "$work/context" >"$work/many" 2>&1
    for i in $(seq 10); do has "$(cat "$work/many")" "made $i"; done
    seq -f localhost/many:%.0f 10 | xargs buildah rmi >/dev/null
}

test_chroot_needs_no_runtime() {
    is hello "$(buildah run --isolation chroot --runtime /no/runtime box -- echo hello)"
}

test_rootless() {
    local uid home=$work/builder
    useradd --create-home --home-dir "$home" --shell /bin/sh builder
    uid=$(id -u builder)
    sed -i '/^builder:/d' /etc/subuid /etc/subgid
    echo builder:500000:65536 | tee -a /etc/subuid >>/etc/subgid
    mkdir -p "/run/user/$uid" "$home/.config/containers"
    printf '[storage]\ndriver = "vfs"\n' >"$home/.config/containers/storage.conf"
    printf 'FROM %s\nRUN id -u >/root-is; chown web /root-is\nUSER web\nRUN cat /proc/self/uid_map >/tmp/map\n' "$image" \
        >"$home/Containerfile"
    chown -R "$uid:$uid" "/run/user/$uid" "$home"
    chmod 644 "$work/box.tar"
    as_builder() {
        setpriv --reuid "$uid" --regid "$uid" --init-groups --inh-caps=-all env --ignore-environment --chdir "$home" \
            HOME="$home" USER=builder XDG_RUNTIME_DIR="/run/user/$uid" TMPDIR="$TMPDIR" \
            PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin timeout 60 "$@"
    }
    as_builder buildah pull --quiet "docker-archive:$work/box.tar"
    as_builder buildah build --quiet --isolation rootless --runtime "$runtime" --network none --tag localhost/mine "$home"
    as_builder buildah from --pull-never --name mine localhost/mine
    is "0 0 $uid 1" "$(as_builder buildah run --isolation rootless --runtime "$runtime" --network none --user root mine -- \
        sh -c 'echo $(cat /root-is) $(head -n 1 /tmp/map)')"
    is 1000 "$(as_builder buildah run --isolation rootless --runtime "$runtime" --network none mine -- id -u)"
    exits 4 as_builder buildah run --isolation rootless --runtime "$runtime" --network none mine -- sh -c 'exit 4'
    as_builder buildah rm mine
}

private_host "$@"
client_main "$@"
