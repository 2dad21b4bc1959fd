# bash completion for oarlock; install as /usr/share/bash-completion/completions/oarlock
# shellcheck shell=bash

_oarlock_ids() {
    local root=()
    local i
    for ((i = 1; i < COMP_CWORD; i++)); do
        case ${COMP_WORDS[i]} in
            --root) root=(--root "${COMP_WORDS[i + 1]}") ;;
        esac
    done
    oarlock "${root[@]}" list --quiet 2>/dev/null
}

_oarlock() {
    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]}
    local commands="create start run state kill delete exec list ps mounts pause resume update events spec features plan check doctor completion help"
    local globals="--root --log --log-format --debug --log-level --systemd-cgroup --cgroup-manager --rootless --version --help"
    local create="--bundle --config --console-socket --pid-file --pidfd-socket --preserve-fds --no-pivot --no-new-keyring --trace"
    local update="--resources --blkio-weight --cpu-burst --cpu-idle --cpu-period --cpu-quota --cpu-rt-period --cpu-rt-runtime --cpu-share --cpuset-cpus --cpuset-mems --memory --memory-reservation --memory-swap --pids-limit --l3-cache-schema --mem-bw-schema"
    local command='' i words=''

    for ((i = 1; i < COMP_CWORD; i++)); do
        case ${COMP_WORDS[i]} in
            --root | --log | --log-format | --log-level | --cgroup-manager | --rootless) ((i++)) ;;
            -*) ;;
            *) command=${COMP_WORDS[i]}; break ;;
        esac
    done

    case $prev in
        --root | --bundle | -b) mapfile -t COMPREPLY < <(compgen -d -- "$cur"); return ;;
        --log | --config | --console-socket | --pid-file | --pidfd-socket | --process | -p | --resources | -r | --trace | --timings) mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
        --log-format) words="text json" ;;
        --log-level) words="error warning info debug" ;;
        --cgroup-manager) words="cgroupfs systemd disabled" ;;
        --rootless) [ "$command" = spec ] || words="true false auto" ;;
        --format | -f)
            case $command$prev in
                list* | ps*) words="table json" ;;
                plan--format | check--format | doctor--format) words="text json" ;;
                *) mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
            esac
            ;;
    esac

    if [ -z "$words" ]; then
        case $command in
            '') words="$commands $globals" ;;
            create) words=$create ;;
            run) words="$create --detach --keep --no-subreaper" ;;
            start) words="--trace $(_oarlock_ids)" ;;
            state | pause | resume) words=$(_oarlock_ids) ;;
            exec) words="--process --tty --detach --env --user --additional-gids --cwd --cap --process-label --apparmor --no-new-privs --console-socket --pidfd-socket --pid-file --cgroup --ignore-paused --preserve-fds --trace $(_oarlock_ids)" ;;
            ps) words="--format $(_oarlock_ids)" ;;
            update) words="$update $(_oarlock_ids)" ;;
            mounts)
                words="add remove"
                [ "$prev" = mounts ] || words=$(_oarlock_ids)
                ((COMP_CWORD - i < 3)) || { mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return; }
                ;;
            events) words="--stats --interval $(_oarlock_ids)" ;;
            kill)
                words="--all --regex $(_oarlock_ids)"
                [ "$prev" = kill ] || words="$words HUP INT QUIT KILL USR1 USR2 TERM STOP CONT"
                ;;
            delete) words="--force --regex --trace $(_oarlock_ids)" ;;
            list) words="--format --quiet" ;;
            spec) words="--bundle --config --rootless" ;;
            completion) words="bash fish zsh" ;;
            plan | check)
                words="--config --format"
                [ "$command" = check ] || words="$words --timings"
                [[ $cur == -* ]] || { mapfile -t COMPREPLY < <(compgen -d -- "$cur"); return; }
                ;;
            doctor) words="--format" ;;
            help) words=$commands ;;
        esac
    fi
    mapfile -t COMPREPLY < <(compgen -W "$words" -- "$cur")
}

complete -F _oarlock oarlock
