# shellcheck shell=bash disable=SC2016,SC2154
# What `docker run` promises to the program that it runs. Sourced by hack/client/docker.sh.

test_run_output_and_code() {
    is hello "$(once -- echo hello)"
    exits 7 once -- sh -c 'exit 7'
}

test_run_outputs_are_kept_apart() {
    is 'out' "$(once -- sh -c 'echo out; echo err >&2' 2>"$work/err")"
    is 'err' "$(cat "$work/err")"
}

test_run_stdin() { is 'through stdin' "$(echo 'through stdin' | once -i -- cat)"; }

test_run_much_output() { is 4194304 "$(once -- head -c 4194304 /dev/zero | wc -c)"; }

test_run_program_not_in_path() {
    exits 127 once -- no-such-program
    has "$output" 'OCI runtime create failed' 'exec: "no-such-program": executable file not found in $PATH'
}

test_run_missing_path() {
    exits 127 once -- /no/such/program
    has "$output" 'exec: "/no/such/program": stat /no/such/program: no such file or directory'
}

test_run_program_not_executable() {
    exits 126 once -- /etc/passwd
    has "$output" 'exec: "/etc/passwd": permission denied'
}

test_run_program_is_a_directory() {
    # Docker has a rule for what newer runcs say, "is a directory", since 23.0 only.
    exits 126 once -- /etc
    has "$output" 'exec: "/etc"'
}

test_run_cwd_is_a_file() {
    exits 125 once --workdir /etc/passwd -- true
    has "$output" 'not a directory'
}

test_run_killed() {
    until_true docker kill fg &
    exits 137 once --name fg -- sleep 60
}

test_run_env() {
    echo 'FROM_FILE=three' >"$work/env"
    is 'yes one two three' \
        "$(once --env A=one --env B=two --env-file "$work/env" -- sh -c 'echo $FROM_IMAGE $A $B $FROM_FILE')"
}

test_run_cwd() { is /new/place "$(once --workdir /new/place -- pwd)"; }

test_run_user_by_name() { is '1000 1000' "$(once --user web -- sh -c 'echo $(id -u) $(id -g)')"; }

test_run_user_by_number_with_groups() {
    is '1234 2345 2345 3000' "$(once --user 1234:2345 --group-add 3000 -- sh -c 'echo $(id -u) $(id -g) $(id -G)')"
}

test_run_hostname() { is 'harbour harbour.example' "$(once --hostname harbour --domainname example -- sh -c 'echo $(hostname) $(hostname -f)')"; }

test_run_hosts() { has "$(once --add-host db:10.9.8.7 -- cat /etc/hosts)" '10.9.8.7	db'; }

test_run_entrypoint() { is 'a b' "$(once --entrypoint echo -- a b)"; }

test_run_terminal() {
    has "$(on_terminal /usr/bin/docker run --rm -it busybox sh -c "$terminal_probe")" /dev/pts/0 '24 80'
}

test_run_terminal_exit_code() { exits 5 on_terminal /usr/bin/docker run --rm -t busybox sh -c 'exit 5'; }

test_run_terminal_signals_by_key() {
    # ^C typed on the terminal is SIGINT for the program in the container.
    local got probe='trap "echo interrupted; exit 4" INT; echo ready; while :; do sleep 0.1; done'
    got=$( (until_true logged keys ready; printf '\003'; until_true exited keys) |
        script --quiet --return --command '/usr/bin/docker run -it --name keys busybox sh -c '"'$probe'" /dev/null || true)
    has "$got" interrupted
    is 4 "$(field keys '{{.State.ExitCode}}')"
    remove keys
}

test_run_read_only() {
    exits 1 once --read-only -- touch /file
    has "$output" 'Read-only file system'
    is ok "$(once --read-only --tmpfs /scratch -- sh -c 'touch /scratch/file && echo ok')"
}

test_run_bind() {
    echo one >"$work/share/in"
    is one "$(once --volume "$work/share:/share" -- sh -c 'cat /share/in; echo two >/share/out')"
    is two "$(cat "$work/share/out")"
}

test_run_bind_read_only() {
    exits 1 once --volume "$work/share:/share:ro" -- touch /share/no
    has "$output" 'Read-only file system'
    [ ! -e "$work/share/no" ]
}

test_run_bind_of_a_file() {
    echo 'a file' >"$work/file"
    is 'a file' "$(once --mount "type=bind,source=$work/file,target=/etc/motd" -- cat /etc/motd)"
}

test_run_bind_propagation() {
    mkdir -p "$work/tree"
    mount --bind "$work/tree" "$work/tree"
    mount --make-shared "$work/tree"
    mkdir -p "$work/tree/later"
    background slave --volume "$work/tree:/tree:rslave" -- sleep 60
    mount -t tmpfs -o size=1m tmpfs "$work/tree/later"
    touch "$work/tree/later/seen"
    is seen "$(docker exec slave ls /tree/later)"
    remove slave
    umount "$work/tree/later" "$work/tree"
}

test_run_volume() {
    docker volume create data >/dev/null
    once --volume data:/data -- sh -c 'echo kept >/data/file'
    is kept "$(once --volume data:/data -- cat /data/file)"
    docker volume rm data >/dev/null
}

test_run_volumes_from() {
    background holder --volume /data -- sh -c 'echo held >/data/file; sleep 60'
    until_true docker exec holder test -s /data/file
    is held "$(once --volumes-from holder -- cat /data/file)"
    docker rm --force --volumes holder
}

test_run_tmpfs() {
    has "$(once --tmpfs /scratch:size=1m,mode=1770,noexec -- sh -c 'grep " /scratch " /proc/mounts; stat -c %a /scratch')" \
        noexec size=1024k 1770
}

test_run_shm_size() { has "$(once --shm-size 3m -- grep ' /dev/shm ' /proc/mounts)" size=3072k; }

test_run_device() {
    is 'character special file crw-rw-rw- x' "$(once --device /dev/zero:/dev/nothing -- \
        sh -c 'echo $(stat -c "%F %A" /dev/nothing) $(head -c 1 /dev/nothing | tr "\0" x)')"
}

test_run_device_read_only() {
    exits 1 once --device /dev/full:/dev/full:r -- sh -c 'head -c 1 /dev/full >/dev/null && echo x >/dev/full'
    has "$output" 'Operation not permitted'
}

test_run_device_rule() {
    # Not in the list of devices, but made inside: the rule alone decides.
    [ -e /dev/fuse ] || skip 'no /dev/fuse'
    exits 1 once -- sh -c 'mknod /fuse c 10 229 && exec 3<>/fuse'
    has "$output" 'Operation not permitted'
    once --device-cgroup-rule 'c 10:229 rw' -- sh -c 'mknod /fuse c 10 229 && exec 3<>/fuse'
}

capability() { echo $((16#$(sed -n "s/^$1:.//p" <<<"$2") >> $3 & 1)); }

test_run_capabilities() {
    local status
    # CAP_CHOWN is 0, CAP_NET_ADMIN 12, CAP_SYS_TIME 25.
    status=$(once --cap-add NET_ADMIN --cap-drop CHOWN -- cat /proc/self/status)
    is '0 1 0' "$(capability CapEff "$status" 0) $(capability CapEff "$status" 12) $(capability CapBnd "$status" 25)"
    status=$(once --cap-drop ALL -- cat /proc/self/status)
    is 0000000000000000 "$(sed -n 's/^CapEff:.//p' <<<"$status")"
}

test_run_capabilities_of_a_user() {
    is '0000000000000000' "$(once --user 1000 -- sed -n 's/^CapEff:.//p' /proc/self/status)"
}

test_run_privileged() {
    [ "$(capability CapBnd "$(cat /proc/self/status)" 24)" = 1 ] || skip 'this host withholds CAP_SYS_RESOURCE'
    has "$(once --privileged -- sh -c 'mount -t tmpfs tmpfs /tmp && grep " /tmp " /proc/mounts')" tmpfs
}

test_run_no_new_privileges() {
    is 1 "$(once --security-opt no-new-privileges -- sed -n 's/^NoNewPrivs:.//p' /proc/self/status)"
}

test_run_seccomp_default() {
    has "$(once -- sh -c 'grep ^Seccomp: /proc/self/status; unshare -U true 2>&1 || true')" 2 'Operation not permitted'
}

test_run_seccomp_unconfined() {
    is 0 "$(once --security-opt seccomp=unconfined -- sed -n 's/^Seccomp:.//p' /proc/self/status)"
}

test_run_seccomp_profile() {
    echo '{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_ERRNO", "errnoRet": 28}]}' \
        >"$work/profile.json"
    exits 1 once --security-opt "seccomp=$work/profile.json" -- mkdir /d
    has "$output" 'No space left on device'
}

test_run_masked_paths() {
    # Of Docker's list, those that this kernel has.
    is '' "$(once -- sh -c 'cat /proc/kcore /proc/keys /proc/timer_list /proc/sched_debug 2>/dev/null
        ls -A /proc/acpi /proc/scsi /proc/asound /sys/firmware 2>/dev/null | grep -v ":$" | grep .' || true)"
    [ -s /proc/keys ] || [ -s /proc/timer_list ] || [ -n "$(ls -A /sys/firmware)" ] || skip 'nothing there to be masked'
}

test_run_read_only_paths() {
    exits 1 once -- sh -c 'echo 10 >/proc/sys/vm/swappiness'
    has "$output" 'Read-only file system'
}

test_run_sysctl() { is 4096 "$(once --sysctl net.core.somaxconn=4096 -- cat /proc/sys/net/core/somaxconn)"; }

test_run_sysctl_of_the_host_is_refused() {
    exits 125 once --sysctl kernel.sysrq=0 -- true
    has "$output" kernel.sysrq
}

test_run_init() {
    has "$(once --init -- sh -c 'tr "\0" " " </proc/1/cmdline; echo; echo $$')" docker-init
    # Orphans are reaped.
    is 0 "$(once --init -- sh -c '(sleep 0.1 & ); sleep 0.5; ps | grep -c "[Z]ombie\|\[sleep\]" || true')"
}

test_run_oom_score() { is 500 "$(once --oom-score-adj 500 -- cat /proc/self/oom_score_adj)"; }

test_run_cgroup_namespace() {
    is / "$(once --cgroupns private -- sed -n 's,^[0-9]*:pids:,,p' /proc/self/cgroup | grep . || echo /)"
}

test_run_pid_of_another() {
    has "$(once --pid container:long -- ps)" 'sleep 0.1' 'echo ready'
}

test_run_pid_of_the_host() { is 1 "$(once --pid host -- sh -c '[ $$ -gt 2 ] && echo 1')"; }

test_run_ipc_of_another() {
    background sharer --ipc shareable -- sleep 60
    docker exec sharer sh -c 'echo shared >/dev/shm/file'
    is shared "$(once --ipc container:sharer -- cat /dev/shm/file)"
    remove sharer
}

test_run_network_of_another() {
    is "$(docker exec long readlink /proc/self/ns/net)" "$(once --network container:long -- readlink /proc/self/ns/net)"
}

test_run_network_none_and_host() {
    is lo "$(once --network none -- ls /sys/class/net | xargs)"
    is "$(readlink /proc/self/ns/net)" "$(once --network host -- readlink /proc/self/ns/net)"
}

test_run_published_port() {
    background web --publish 127.0.0.1:18080:80 -- sh -c 'echo served >/index.html; exec httpd -f -h /'
    until_true busybox wget -q -O - http://127.0.0.1:18080/index.html
    is served "$(busybox wget -q -O - http://127.0.0.1:18080/index.html)"
    remove web
}

test_run_names_on_a_network() {
    docker network create lan >/dev/null
    background server --network lan -- sh -c 'echo named >/index.html; exec httpd -f -h /'
    until_true once --network lan -- wget -q -O - http://server/index.html
    is named "$(once --network lan -- wget -q -O - http://server/index.html)"
    remove server
    docker network rm lan >/dev/null
}
