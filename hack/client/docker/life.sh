# shellcheck shell=bash disable=SC2016,SC2154
# A container's life after its start. Sourced by hack/client/docker.sh.

test_life_logs() {
    is ready "$(docker logs long 2>/dev/null | head -n 1)"
    is warned "$(docker logs long 2>&1 >/dev/null | head -n 1)"
    has "$(docker logs --timestamps --tail 1 long 2>&1)" T Z
}

test_life_logs_are_followed() {
    background talks -- sh -c 'echo one; sleep 0.5; echo two'
    is 'one two' "$(docker logs --follow talks | xargs)"
    remove talks
}

test_life_top() { has "$(docker top long)" 'sleep 0.1' "$(field long '{{.State.Pid}}')"; }

test_life_top_with_columns() { has "$(docker top long -o pid,comm)" COMMAND "$(field long '{{.State.Pid}}')" ' sh'; }

test_life_stats() {
    local stats
    stats=$(docker stats --no-stream --format '{{.PIDs}} {{.MemUsage}}' long)
    # Processes, then memory: neither is nothing.
    [[ $stats =~ ^[1-9][0-9]*\ [1-9] ]] || note "stats: $stats"
}

test_life_pause() {
    docker pause long >/dev/null
    is paused "$(field long '{{.State.Status}}')"
    has "$(limit freezer.state cgroup.freeze long)" "$(v1 freezer && echo FROZEN || echo 1)"
    exits 1 docker exec long true
    has "$output" 'is paused'
    docker unpause long >/dev/null
    is running "$(field long '{{.State.Status}}')"
    is alive "$(docker exec long echo alive)"
}

test_life_kill_while_paused() {
    background frozen -- sleep 60
    docker pause frozen >/dev/null
    docker kill frozen >/dev/null
    until_true exited frozen
    is 137 "$(field frozen '{{.State.ExitCode}}')"
    remove frozen
}

test_life_handled_signal() {
    docker kill --signal USR1 long >/dev/null
    until_true logged long 'got usr1'
    running long
}

test_life_stop() {
    background polite -- sh -c 'trap "echo bye; exit 3" TERM; echo ready; while :; do sleep 0.1; done'
    until_true logged polite ready
    docker stop polite >/dev/null
    is '3 false' "$(field polite '{{.State.ExitCode}} {{.State.Running}}')"
    logged polite bye
    remove polite
}

test_life_stop_with_its_own_signal() {
    background quits --stop-signal QUIT -- sh -c 'trap "exit 8" QUIT; echo ready; while :; do sleep 0.1; done'
    until_true logged quits ready
    docker stop quits >/dev/null
    is 8 "$(field quits '{{.State.ExitCode}}')"
    remove quits
}

test_life_stop_of_the_deaf() {
    background deaf -- sleep 60
    docker stop --time 1 deaf >/dev/null
    is 137 "$(field deaf '{{.State.ExitCode}}')"
    remove deaf
}

test_life_start_again() {
    background twice -- sh -c 'echo run; exit 2'
    until_true exited twice
    docker start --attach twice || is 2 $?
    is 2 "$(docker logs twice | grep -c run)"
    remove twice
}

test_life_restart() {
    local before
    background again -- sleep 60
    before=$(field again '{{.State.Pid}}')
    docker restart --time 0 again >/dev/null
    running again
    [ "$before" != "$(field again '{{.State.Pid}}')" ]
    remove again
}

test_life_restart_on_failure() {
    background fails --restart on-failure:2 -- sh -c 'echo try; exit 1'
    until_true field_is fails '{{.State.Status}} {{.RestartCount}}' 'exited 2'
    is 3 "$(docker logs fails | grep -c try)"
    remove fails
}

test_life_restart_always() {
    local before
    background phoenix --restart always -- sleep 60
    before=$(field phoenix '{{.State.Pid}}')
    kill -KILL "$before"
    until_true eval "running phoenix && ! field_is phoenix '{{.State.Pid}}' $before"
    is 1 "$(field phoenix '{{.RestartCount}}')"
    remove phoenix
}

test_life_health() {
    background sick --health-cmd 'test -e /tmp/well' --health-interval 0.3s --health-retries 1 -- sleep 60
    until_true field_is sick '{{.State.Health.Status}}' unhealthy
    docker exec sick touch /tmp/well
    until_true field_is sick '{{.State.Health.Status}}' healthy
    remove sick
}

test_life_wait() {
    background waits -- sh -c 'sleep 0.5; exit 11'
    is 11 "$(docker wait waits)"
    remove waits
}

test_life_attach() {
    docker create -i --name attached busybox cat >/dev/null
    is 'to attach' "$(echo 'to attach' | docker start --attach --interactive attached)"
    remove attached
}

test_life_removed_after_its_end() {
    docker run --detach --rm --name gone busybox true >/dev/null
    until_true eval '! docker inspect gone'
}

test_life_remove_of_the_running_is_refused() {
    exits 1 docker rm long
    has "$output" 'cannot remove a running container'
    running long
}

test_life_rename() {
    background before -- sleep 60
    docker rename before after
    is /after "$(field after '{{.Name}}')"
    is alive "$(docker exec after echo alive)"
    remove after
}

test_life_copy() {
    echo inwards >"$work/copied"
    docker cp "$work/copied" long:/tmp/copied
    is inwards "$(docker exec long cat /tmp/copied)"
    docker exec long sh -c 'echo outwards >/tmp/copied'
    docker cp long:/tmp/copied "$work/copied"
    is outwards "$(cat "$work/copied")"
}

test_life_diff_commit_export() {
    background changed -- sh -c 'echo new >/added; sleep 60'
    until_true docker exec changed test -s /added
    has "$(docker diff changed)" 'A /added'
    docker commit changed saved >/dev/null
    is new "$(docker run --rm saved cat /added)"
    has "$(docker export changed | tar -t)" added
    remove changed
    docker rmi saved >/dev/null
}

test_life_import() {
    docker export long | docker import - imported >/dev/null
    is imported "$(docker run --rm imported echo imported)"
    docker rmi imported >/dev/null
}

test_life_events() {
    local since
    since=$(date +%s.%N)
    once --name seen -- true
    has "$(docker events --since "$since" --until "$(date +%s.%N)" --filter container=seen --format '{{.Action}}' | xargs)" \
        'create' 'start' 'die' 'destroy'
}

test_life_checkpoint_is_refused_or_works() {
    local code=0 said
    said=$(docker checkpoint create --leave-running long first 2>&1) || code=$?
    if [ $code -eq 0 ]; then has "$(docker checkpoint ls long)" first; else grep -qiE 'checkpoint|criu' <<<"$said"; fi
    running long
    is alive "$(docker exec long echo alive)"
}

test_life_thirty_at_once() {
    local n
    for n in $(seq 30); do
        (
            code=0
            said=$(once --name "many-$n" -- sh -c "echo number $n; exit $((n % 7))" 2>&1) || code=$?
            echo "$code $said" >"$work/many-$n"
        ) &
    done
    wait
    for n in $(seq 30); do is "$((n % 7)) number $n" "$(cat "$work/many-$n")" "container $n"; done
    is '' "$(docker ps --all --quiet --filter name=many)"
    # What is left in the cgroups and the state is that of the containers that run.
    is "$(docker ps --quiet --no-trunc | sort)" "$(find /run/docker/runtime-*/moby -mindepth 1 -maxdepth 1 -name '[0-9a-f]*' -printf '%f\n' | sort)"
}
