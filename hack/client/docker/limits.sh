# shellcheck shell=bash disable=SC2016,SC2154
# Limits, read back where the kernel keeps them. Sourced by hack/client/docker.sh.

v1() { [ -e "/sys/fs/cgroup/$1/tasks" ]; }

test_limits_memory() {
    background small --memory 32m --memory-swap 48m --memory-reservation 16m -- sleep 60
    is 33554432 "$(limit memory.limit_in_bytes memory.max small)"
    if v1 memory; then
        is 50331648 "$(limit memory.memsw.limit_in_bytes none small)"
        is 16777216 "$(limit memory.soft_limit_in_bytes none small)"
    else
        is 16777216 "$(limit none memory.swap.max small)"
        is 16777216 "$(limit none memory.low small)"
    fi
    remove small
}

test_limits_out_of_memory() {
    background hungry --memory 16m --memory-swap 16m -- sh -c 'x=$(head -c 67108864 /dev/zero | tr "\0" x); echo survived'
    until_true exited hungry
    is 'true' "$(field hungry '{{.State.OOMKilled}}')"
    remove hungry
}

test_limits_cpu() {
    background slow --cpus 0.5 --cpu-shares 512 --cpuset-cpus 0 -- sleep 60
    has "$(limit cpu.cfs_quota_us cpu.max slow)" 50000
    is 0 "$(limit cpuset.cpus cpuset.cpus slow)"
    if v1 cpu; then is 512 "$(limit cpu.shares none slow)"; fi
    is 0 "$(docker exec slow sed -n 's/^Cpus_allowed_list:.//p' /proc/self/status)"
    remove slow
}

test_limits_pids() {
    # Enough for the runtime's own threads, if it has any.
    background few --pids-limit 20 -- sleep 60
    is 20 "$(limit pids.max pids.max few)"
    exits 2 docker exec few sh -c 'for n in $(seq 25); do sleep 1 & done; wait'
    has "$output" fork
    remove few
}

test_limits_blkio() {
    local disk
    v1 blkio || skip 'no blkio controller on v1'
    disk=$(lsblk --nodeps --noheadings --paths --output NAME | head -n 1)
    background disk --device-read-bps "$disk:1mb" -- sleep 60
    has "$(limit blkio.throttle.read_bps_device none disk)" 1048576
    remove disk
}

test_limits_ulimits() {
    is '123 456' "$(once --ulimit nofile=123:456 -- sh -c 'echo $(ulimit -Sn) $(ulimit -Hn)')"
    is 0 "$(once --ulimit core=0 -- sh -c 'ulimit -c')"
}

test_limits_updated() {
    background grows --memory 32m --memory-swap 32m -- sleep 60
    docker update --memory 64m --memory-swap 64m --cpus 0.25 --pids-limit 50 grows >/dev/null
    is 67108864 "$(limit memory.limit_in_bytes memory.max grows)"
    is 50 "$(limit pids.max pids.max grows)"
    has "$(limit cpu.cfs_quota_us cpu.max grows)" 25000
    is 67108864 "$(field grows '{{.HostConfig.Memory}}')"
    remove grows
}

test_limits_update_that_fails() {
    background fixed --memory 32m --memory-swap 32m -- sleep 60
    exits 1 docker update --memory 64m fixed
    is 33554432 "$(limit memory.limit_in_bytes memory.max fixed)"
    remove fixed
}
