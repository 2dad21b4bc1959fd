# shellcheck shell=bash
# shellcheck disable=SC2016 # what is quoted is for the shell in the container
# shellcheck disable=SC2154,SC2317 # set, and called, by the scripts that source this
# Podman's checks of what `run` can be asked for, each seen from inside the container or on the host. Sourced by podman.sh.

test_run_environment_and_directory() {
    is 'yes red' "$(box --env=COLOUR=red sh -c 'echo $FROM_IMAGE $COLOUR')"
    echo FROM_FILE=line >"$work/env"
    is line "$(box --env-file="$work/env" sh -c 'echo $FROM_FILE')"
    is /home/web "$(box --workdir=/home/web pwd)"
    is named "$(box --hostname=named hostname)"
    is 0027 "$(box --umask=0027 sh -c umask)"
}

test_run_user_and_groups() {
    is 'uid=1000(web) gid=1000(web)' "$(box --user=web id | cut -d' ' -f1,2)"
    is 'uid=1000(web) gid=2000(extra) groups=44,2000(extra)' "$(box --user=1000:2000 --group-add=44 id)"
    is 'me:x:1234:0::/:/bin/sh' "$(box --user=1234 --passwd-entry='me:x:1234:0::/:/bin/sh' tail -n 1 /etc/passwd)"
}

test_run_terminal_and_stdin() {
    is '/dev/pts/0 24 80' "$(on_terminal podman run --rm --network none --tty "$image" sh -c "$terminal_probe" | xargs)"
    exits 6 on_terminal podman run --rm --network none --tty "$image" sh -c 'exit 6'
    is 200000 "$(head -c 200000 /dev/zero | box --interactive sh -c 'wc -c' | tr -d ' ')"
}

test_run_read_only_root() {
    exits 1 box --read-only touch /root/file
    has "$output" 'Read-only file system'
    box --read-only sh -c 'touch /tmp/file /run/file'
}

test_run_binds() {
    mkdir -p "$work/bind"
    box --volume="$work/bind:/b" sh -c 'echo inside >/b/file'
    is inside "$(cat "$work/bind/file")"
    exits 1 box --volume="$work/bind:/b:ro" touch /b/file
    has "$output" 'Read-only file system'
    exits 126 box --volume="$work/bind:/b:noexec" sh -c 'cp /bin/busybox /b/busybox; /b/busybox true'
    touch "$work/bind/single"
    is inside "$(box --volume="$work/bind/file:/etc/single:ro" cat /etc/single)"
}

test_run_bind_propagation() {
    mkdir -p "$work/shared"
    mount --bind "$work/shared" "$work/shared"
    mount --make-shared "$work/shared"
    mkdir -p "$work/shared/late"
    podman run --detach --name slave --network none --volume "$work/shared:/s:rslave" "$image" sleep 10000
    mount -t tmpfs late "$work/shared/late"
    touch "$work/shared/late/seen"
    podman exec slave test -e /s/late/seen
    umount "$work/shared/late" "$work/shared"
    podman rm --force --time 0 slave
}

test_run_tmpfs_and_shm() {
    is '700 1024' "$(box --tmpfs=/t:size=1m,mode=700 sh -c 'echo $(stat -c %a /t) $(df -k /t | tail -n 1 | awk "{ print \$2 }")')"
    exits 1 box --tmpfs=/t:size=64k dd if=/dev/zero of=/t/file bs=1k count=100
    has "$output" 'No space left'
    is 2048 "$(box --shm-size=2m df -k /dev/shm | tail -n 1 | awk '{ print $2 }')"
}

test_run_devices() {
    is 'c 1:5' "$(box --device=/dev/zero:/dev/nil:r sh -c 'stat -c "%F %t:%T" /dev/nil | sed "s/character special file/c/"')"
    box --device=/dev/zero:/dev/nil:r head -c 1 /dev/nil >/dev/null
    # The default set is there, and nothing of the host's but it.
    exits 1 box test -e /dev/kmsg
    box sh -c 'echo >/dev/null; head -c 1 /dev/urandom >/dev/null; test -c /dev/full'
}

test_run_device_rules() {
    local open='mknod /tmp/fuse c 10 229; : <>/tmp/fuse'
    exits 1 box --cap-add=mknod sh -c "$open"
    has "$output" 'Operation not permitted'
    box --cap-add=mknod --device-cgroup-rule='c 10:229 rwm' sh -c "$open"
}

test_run_capabilities() {
    caps() { sed -n 's/^Cap\(Inh\|Eff\|Bnd\):\t//p' | xargs; }
    is '0000000000000000 0000000000002000 0000000000002000' \
        "$(box --cap-drop=all --cap-add=net_raw cat /proc/self/status | caps)"
    exits 1 box --cap-drop=chown chown web /root
    has "$output" 'Operation not permitted'
    box chown web /root
}

test_run_privileged() {
    local own
    own=$(sed -n 's/^CapEff:\t//p' /proc/self/status)
    is "$own" "$(box --privileged sed -n 's/^CapEff:\t//p' /proc/self/status)"
    exits 1 box mount -t tmpfs tmpfs /tmp
    box --privileged mount -t tmpfs tmpfs /tmp
    box --privileged test -e /dev/kmsg
}

test_run_seccomp() {
    cat >"$work/seccomp.json" <<'JSON'
{"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_AARCH64"],
 "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 28}]}
JSON
    exits 1 box --security-opt=seccomp="$work/seccomp.json" mkdir /tmp/d
    has "$output" 'No space left'
    is 2 "$(box sed -n 's/^Seccomp:\t//p' /proc/self/status)"
    is 0 "$(box --security-opt=seccomp=unconfined sed -n 's/^Seccomp:\t//p' /proc/self/status)"
    is 1 "$(box --security-opt=no-new-privileges sed -n 's/^NoNewPrivs:\t//p' /proc/self/status)"
}

test_run_mask_and_unmask() {
    is 0 "$(box --security-opt=mask=/proc/cpuinfo sh -c 'wc -c </proc/cpuinfo')"
    is 0 "$(box sh -c 'wc -c </proc/timer_list')"
    box --security-opt=unmask=/proc/timer_list sh -c 'test "$(head -c 10 /proc/timer_list | wc -c)" -gt 0'
    exits 1 box sh -c 'echo 1 >/proc/sys/kernel/sysrq'
}

test_run_user_namespace() {
    mkdir -p "$work/owned"
    chown 100000:100000 "$work/owned"
    is '0 100000 65536' "$(box --uidmap=0:100000:65536 --gidmap=0:100000:65536 cat /proc/self/uid_map | xargs)"
    box --uidmap=0:100000:65536 --gidmap=0:100000:65536 --volume="$work/owned:/o" \
        sh -c 'test "$(stat -c %u /o)" = 0 && touch /o/file && chown web /o/file'
    is 101000 "$(stat -c %u "$work/owned/file")"
    exits 1 box --uidmap=0:100000:65536 --volume="$work:/w" touch /w/file
    # exec too is inside.
    podman run --detach --name mapped --network none --uidmap 0:100000:65536 "$image" sleep 10000
    is "$(readlink "/proc/$(inspect mapped .State.Pid)/ns/user")" "$(podman exec mapped readlink /proc/self/ns/user)"
    is 100000 "$(stat -c %u "/proc/$(inspect mapped .State.Pid)")"
    podman rm --force --time 0 mapped
}

test_run_user_namespaces_chosen_by_podman() {
    local one two
    echo containers:200000:1000000 | tee /etc/subuid >/etc/subgid
    one=$(box --userns=auto cat /proc/self/uid_map | xargs)
    [[ $one =~ ^0\ [2-9][0-9]{5}\ [0-9]+$ ]] || note "map: $one"
    two=$(box --userns=auto:size=3000 cat /proc/self/uid_map | xargs)
    [[ $two =~ ^0\ [2-9][0-9]{5}\ 3000$ ]] || note "map: $two"
}

test_run_limits_arrive() {
    local at
    podman run --detach --name bounded --network none --memory 64m --memory-reservation 32m --pids-limit 40 \
        --cpu-quota 30000 --cpu-period 60000 --cpuset-cpus 0 "$image" sleep 10000
    at=$(container_cgroup bounded)
    is 67108864 "$(cgroup_value memory.limit_in_bytes memory.max "$at")"
    is 33554432 "$(cgroup_value memory.soft_limit_in_bytes memory.low "$at")"
    is 40 "$(cgroup_value pids.max pids.max "$at")"
    is 0 "$(cgroup_value cpuset.cpus cpuset.cpus "$at")"
    case "$(cgroup_value cpu.cfs_quota_us cpu.max "$at")" in 30000 | '30000 60000') ;; *) note "cpu quota" ;; esac
    podman rm --force --time 0 bounded
}

test_run_limits_bite() {
    # conmon leaves a file "oom" where Podman was called.
    cd "$work" || return
    exits 137 podman run --name greedy --network none --memory 16m --memory-swap 16m "$image" \
        sh -c 'tail /dev/zero'
    [ -e oom ]
    podman rm greedy
    exits 2 box --pids-limit=5 sh -c 'for i in 1 2 3 4 5 6 7 8; do sleep 1 & done; wait'
    has "$output" "can't fork"
}

test_run_ulimits() {
    is '100 200' "$(box --ulimit=nofile=100:200 --ulimit=nproc=4096:4096 sh -c 'echo $(ulimit -n) $(ulimit -Hn)')"
    exits 153 box --ulimit=fsize=1024:1024 --ulimit=nofile=1024:1024 --ulimit=nproc=4096:4096 \
        sh -c 'head -c 2000 /dev/zero >/tmp/file; exit $?'
}

test_run_sysctl() {
    is 1 "$(box --sysctl=net.ipv4.ip_forward=1 cat /proc/sys/net/ipv4/ip_forward)"
    is 9000 "$(box --sysctl=kernel.msgmax=9000 cat /proc/sys/kernel/msgmax)"
    [ "$(cat /proc/sys/kernel/msgmax)" != 9000 ]
}

test_run_init() {
    has "$(box --init cat /proc/1/cmdline | tr '\0' ' ')" podman-init
    exits 143 box --init sh -c 'kill -TERM $$'
}

test_run_scheduling_and_personality() {
    is 300 "$(box --oom-score-adj=300 cat /proc/self/oom_score_adj)"
    # runc has had no personality before 1.2.
    case "$(uname -m) $runtime_name" in
        'x86_64 runc') ;;
        x86_64*) is i686 "$(box --personality=LINUX32 uname -m)" ;;
    esac
}

test_run_timeout_ends_it() {
    exits 255 box --timeout=1 sleep 10000
}

test_run_shares_the_hosts_namespaces() {
    local kind
    for kind in pid ipc uts; do
        is "$(readlink /proc/self/ns/$kind)" "$(box --$kind=host readlink /proc/self/ns/$kind)" $kind
        [ "$(readlink /proc/self/ns/$kind)" != "$(box readlink /proc/self/ns/$kind)" ]
    done
    is "$(readlink /proc/self/ns/net)" "$(podman run --rm --network host "$image" readlink /proc/self/ns/net)"
}

test_run_shares_a_containers_namespaces() {
    local kind pid
    pid=$(inspect base .State.Pid)
    for kind in pid ipc; do
        is "$(readlink "/proc/$pid/ns/$kind")" "$(box --$kind=container:base readlink /proc/self/ns/$kind)"
    done
    is "$(readlink "/proc/$pid/ns/net")" "$(podman run --rm --network container:base "$image" readlink /proc/self/ns/net)"
    has "$(box --pid=container:base ps)" 'sleep 10000'
}

test_run_cgroup_namespace() {
    is / "$(box --cgroupns=private sed 's/.*://' /proc/self/cgroup | sort -u)"
    has "$(box --cgroupns=host cat /proc/self/cgroup)" libpod-
}

test_run_without_a_cgroup() {
    case "$runtime_name" in runc) skip "runc has no --cgroup-manager" ;; esac
    is "$(sort /proc/self/cgroup)" "$(box --cgroups=disabled --cgroupns=host cat /proc/self/cgroup | sort)"
    exits 5 box --cgroups=disabled sh -c 'exit 5'
}

test_run_below_another_cgroup() {
    has "$(box --cgroup-parent=/elsewhere --cgroupns=host cat /proc/self/cgroup)" /elsewhere/libpod-
    cgroup_trees | xargs -I{} find {}/elsewhere -depth -type d -exec rmdir {} \; 2>/dev/null || true
}

test_run_for_systemd() {
    has "$(box --systemd=always cat /proc/self/mountinfo)" ' /run rw' ' /run/lock rw' ' /sys/fs/cgroup/systemd '
    is podman "$(box --systemd=always sh -c 'echo $container')"
}

test_run_keeps_descriptors_and_writes_the_pid() {
    echo kept >"$work/kept"
    is kept "$(box --preserve-fds=1 sh -c 'cat <&3' 3<"$work/kept")"
    podman run --detach --name pidfile --network none --pidfile "$work/pidfile" "$image" sleep 10000
    is "$(inspect pidfile .State.Pid)" "$(cat "$work/pidfile")"
    podman rm --force --time 0 pidfile
}

test_run_keeps_the_callers_groups() {
    case "$runtime_name" in runc) skip "runc has no run.oci.keep_original_groups" ;; esac
    is 'groups=4242' "$(setpriv --groups 4242 timeout 60 podman run --rm --network none \
        --annotation run.oci.keep_original_groups=1 "$image" id | grep -o 'groups=.*')"
}

test_run_tells_that_it_is_ready() {
    local listener
    # Perl is in every Debian; busybox cannot write to such a socket.
    perl -MSocket -e '
        socket(my $s, AF_UNIX, SOCK_DGRAM, 0) or die; bind($s, pack_sockaddr_un($ARGV[0])) or die;
        open(my $ready, ">", "$ARGV[0].ready"); close $ready;
        $| = 1; my $all = "";
        while (defined recv($s, my $text, 4096, 0)) { print $text; $all .= $text; last if $all =~ /READY=1/ && $all =~ /MAINPID=/ }
    ' "$work/notify" >"$work/notified" &
    listener=$!
    until_true test -e "$work/notify.ready"
    NOTIFY_SOCKET=$work/notify podman run --detach --name unit --network none --sdnotify container \
        --volume /usr:/usr:ro --volume /usr/lib:/lib:ro --volume /usr/lib64:/lib64:ro "$image" /usr/bin/perl -MSocket -e '
            socket(my $s, AF_UNIX, SOCK_DGRAM, 0) or die "socket";
            connect($s, pack_sockaddr_un($ENV{NOTIFY_SOCKET})) or die "connect: $!";
            send($s, "READY=1\n", 0) or die "send: $!"; sleep 10000'
    wait "$listener"
    has "$(cat "$work/notified")" READY=1 MAINPID=
    podman rm --force --time 0 unit
}

test_run_secrets() {
    printf hush >"$work/secret"
    podman secret create word "$work/secret"
    is hush "$(box --secret=word cat /run/secrets/word)"
    is hush "$(box --secret=word,type=env,target=WORD sh -c 'echo $WORD')"
    podman secret rm word
}

test_run_volumes() {
    podman volume create store
    box --volume=store:/home/web sh -c 'echo kept >/home/web/file'
    is kept "$(box --volume=store:/v:ro cat /v/file)"
    podman volume rm store
    # The image's own directory is what a new volume begins with.
    is box "$(box --mount=type=image,source="$image",destination=/img sh -c 'test -x /img/bin/busybox && echo box')"
    mkdir -p "$work/lower"
    box --volume="$work/lower:/l:O" touch /l/file
    [ ! -e "$work/lower/file" ]
}

test_run_hooks_of_the_hosts() {
    mkdir -p "$work/hooks"
    cat >"$work/hooks/one.json" <<JSON
{"version": "1.0.0", "hook": {"path": "/bin/sh", "args": ["sh", "-c", "cat >$work/hooked"]},
 "when": {"always": true}, "stages": ["createRuntime", "poststop"]}
JSON
    podman --hooks-dir "$work/hooks" run --rm --network none "$image" true
    until_true grep -q '"status": *"stopped"' "$work/hooked"
}

test_run_root_directory() {
    rootfs "$work/plain"
    is mark "$(echo mark >"$work/plain/mark"; podman run --rm --network none --rootfs "$work/plain" cat /mark)"
}

test_networks() {
    local address request
    podman network create --subnet 10.77.0.0/24 wires
    podman run --detach --name server --network wires --publish 8080:80 "$image" \
        sh -c 'echo page >/index.html; exec httpd -f -p 80 -h /'
    address=$(inspect server .NetworkSettings.Networks.wires.IPAddress)
    has "$address" 10.77.0.
    # busybox's wget, linked statically, cannot look up names.
    request='GET / HTTP/1.0\r\n\r\n'
    serves() { podman run --rm --network wires "$image" sh -c "printf '$request' | nc $address 80" | grep -qx page; }
    until_true serves
    printf '%b' "$request" | busybox nc 127.0.0.1 8080 | grep -qx page
    has "$(box --add-host=other:1.2.3.4 cat /etc/hosts)" '1.2.3.4'
    has "$(podman run --rm --network wires --dns 9.9.9.9 "$image" cat /etc/resolv.conf)" 'nameserver 9.9.9.9'
    podman rm --force --time 0 server
    podman network rm wires
}
