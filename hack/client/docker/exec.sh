# shellcheck shell=bash disable=SC2016,SC2154
# `docker exec` in all its forms. Sourced by hack/client/docker.sh.

test_exec_output_and_code() { exits 9 docker exec long sh -c 'echo from exec; exit 9' && is 'from exec' "$output"; }

test_exec_stdin() { is 'into exec' "$(echo 'into exec' | docker exec -i long cat)"; }

test_exec_env_cwd_and_user() {
    is 'one /usr/bin 1000:1000' \
        "$(docker exec --env A=one --workdir /usr/bin --user web long sh -c 'echo $A $PWD $(id -u):$(id -g)')"
}

test_exec_terminal() {
    has "$(on_terminal /usr/bin/docker exec -it long sh -c "$terminal_probe")" /dev/pts '24 80'
}

test_exec_terminal_exit_code() { exits 6 on_terminal /usr/bin/docker exec -t long sh -c 'exit 6'; }

test_exec_privileged() {
    [ "$(capability CapBnd "$(cat /proc/self/status)" 24)" = 1 ] || skip 'this host withholds CAP_SYS_RESOURCE'
    is 1 "$(capability CapEff "$(docker exec --privileged long cat /proc/self/status)" 21)"
}

test_exec_capabilities_are_those_of_the_container() {
    background dropped --cap-drop ALL --cap-add KILL -- sleep 60
    is 0000000000000020 "$(docker exec dropped sed -n 's/^CapEff:.//p' /proc/self/status)"
    remove dropped
}

test_exec_has_the_seccomp_filter() { has "$(docker exec long grep ^Seccomp: /proc/self/status)" 2; }

test_exec_detached() {
    docker exec --detach long sh -c 'echo detached >/tmp/detached'
    until_true docker exec long grep -q detached /tmp/detached
}

test_exec_missing_program() {
    exits 126 docker exec long no-such-program
    has "$output" 'OCI runtime exec failed: exec failed: unable to start container process' \
        'exec: "no-such-program": executable file not found in $PATH'
}

test_exec_missing_path() {
    exits 126 docker exec long /no/such
    has "$output" 'exec: "/no/such": stat /no/such: no such file or directory'
}

test_exec_not_executable() {
    exits 126 docker exec long /etc/passwd
    has "$output" 'exec: "/etc/passwd": permission denied'
}

test_exec_missing_cwd() {
    exits 126 docker exec --workdir /no/where long true
    has "$output" /no/where
}

test_exec_killed() {
    docker exec long sh -c 'kill -KILL $$' && return 1
    exits 137 docker exec long sh -c 'kill -KILL $$'
}

test_exec_is_in_the_cgroup_and_namespaces() {
    is "$(docker exec long sh -c 'cat /proc/1/cgroup')" "$(docker exec long cat /proc/self/cgroup)"
    is "$(docker exec long readlink /proc/1/ns/mnt)" "$(docker exec long readlink /proc/self/ns/mnt)"
}

test_exec_inspect() {
    docker exec --detach long sh -c 'until [ -e /tmp/let-go ]; do sleep 0.1; done'
    has "$(docker top long)" let-go
    is 1 "$(field long '{{len .ExecIDs}}')"
    docker exec long touch /tmp/let-go
    until_true field_is long '{{.ExecIDs}}' '[]'
}

test_exec_of_what_does_not_run() {
    docker create --name cold busybox true >/dev/null
    exits 1 docker exec cold true
    has "$output" 'is not running'
    remove cold
}

test_exec_forty_at_once() {
    local n
    for n in $(seq 40); do
        (
            code=0
            said=$(docker exec long sh -c "echo exec $n; exit $((n % 7))" 2>&1) || code=$?
            echo "$code $said" >"$work/exec-$n"
        ) &
    done
    wait
    for n in $(seq 40); do is "$((n % 7)) exec $n" "$(cat "$work/exec-$n")"; done
}
