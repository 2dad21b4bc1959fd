# fish completion for oarlock; install as /usr/share/fish/vendor_completions.d/oarlock.fish

set -l commands create start run state kill delete exec list ps mounts pause resume update events spec features plan check doctor help
set -l make "__fish_seen_subcommand_from create run"

function __oarlock_ids
    set -l root (string match -r -- '--root[ =](\S+)' (commandline -p))
    if set -q root[2]
        oarlock --root $root[2] list --quiet 2>/dev/null
    else
        oarlock list --quiet 2>/dev/null
    end
end

complete -c oarlock -f
complete -c oarlock -n "not __fish_seen_subcommand_from $commands" -a "$commands"
complete -c oarlock -n "not __fish_seen_subcommand_from $commands" -l root -x -a "(__fish_complete_directories)" -d "Directory of the state"
complete -c oarlock -n "not __fish_seen_subcommand_from $commands" -l log -r -F -d "Append messages to a file"
complete -c oarlock -n "not __fish_seen_subcommand_from $commands" -l log-format -x -a "text json" -d "Form of the log"
complete -c oarlock -n "not __fish_seen_subcommand_from $commands" -l log-level -x -a "error warning info debug" -d "Log what is at least as grave"
complete -c oarlock -n "not __fish_seen_subcommand_from $commands" -l debug -d "Log everything"
complete -c oarlock -n "not __fish_seen_subcommand_from $commands" -l rootless -x -a "true false auto" -d "Work without privileges"
complete -c oarlock -n "not __fish_seen_subcommand_from $commands" -l systemd-cgroup -d "Refused: there is no systemd driver yet"
complete -c oarlock -n "not __fish_seen_subcommand_from $commands" -l cgroup-manager -x -a "cgroupfs systemd disabled" -d "How cgroups are made"
complete -c oarlock -n "not __fish_seen_subcommand_from $commands" -s v -l version -d "Print versions"
complete -c oarlock -s h -l help -d "Print help"

complete -c oarlock -n "$make" -s b -l bundle -x -a "(__fish_complete_directories)" -d "The bundle"
complete -c oarlock -n "$make" -s f -l config -r -F -d "Read the configuration from a file"
complete -c oarlock -n "$make" -l console-socket -r -F -d "Send the terminal to a socket"
complete -c oarlock -n "$make" -l pid-file -r -F -d "Write the process ID to a file"
complete -c oarlock -n "$make" -l pidfd-socket -r -F -d "Send a pidfd to a socket"
complete -c oarlock -n "$make" -l preserve-fds -x -d "Leave file descriptors open"
complete -c oarlock -n "$make" -l no-pivot -d "Do not use pivot_root"
complete -c oarlock -n "$make" -l no-new-keyring -d "Keep the session keyring"
complete -c oarlock -n "__fish_seen_subcommand_from run" -s d -l detach -d "Return once it runs"
complete -c oarlock -n "__fish_seen_subcommand_from run" -l keep -d "Do not delete it afterwards"
complete -c oarlock -n "__fish_seen_subcommand_from run" -l no-subreaper -d "Do not adopt orphans"

complete -c oarlock -n "__fish_seen_subcommand_from start state kill delete exec ps mounts pause resume update events" -a "(__oarlock_ids)"
complete -c oarlock -n "__fish_seen_subcommand_from kill" -s a -l all -d "Signal all processes"
complete -c oarlock -n "__fish_seen_subcommand_from kill delete" -s r -l regex -d "The ID is a regular expression"
complete -c oarlock -n "__fish_seen_subcommand_from delete" -s f -l force -d "Kill it first"
complete -c oarlock -n "__fish_seen_subcommand_from exec" -s p -l process -r -F -d "Read the process from a file"
complete -c oarlock -n "__fish_seen_subcommand_from exec" -s t -l tty -d "Give it a terminal"
complete -c oarlock -n "__fish_seen_subcommand_from exec" -s d -l detach -d "Return once it runs"
complete -c oarlock -n "__fish_seen_subcommand_from exec" -s e -l env -x -d "Set a variable"
complete -c oarlock -n "__fish_seen_subcommand_from exec" -s u -l user -x -d "Run it as this user"
complete -c oarlock -n "__fish_seen_subcommand_from exec" -s g -l additional-gids -x -d "Add a group"
complete -c oarlock -n "__fish_seen_subcommand_from exec" -l cwd -x -d "Working directory"
complete -c oarlock -n "__fish_seen_subcommand_from exec" -s c -l cap -x -d "Add a capability"
complete -c oarlock -n "__fish_seen_subcommand_from exec" -l process-label -x -d "SELinux label"
complete -c oarlock -n "__fish_seen_subcommand_from exec" -l apparmor -x -d "AppArmor profile"
complete -c oarlock -n "__fish_seen_subcommand_from exec" -l no-new-privs -d "Gain no privileges"
complete -c oarlock -n "__fish_seen_subcommand_from exec" -l console-socket -r -F -d "Send the terminal to a socket"
complete -c oarlock -n "__fish_seen_subcommand_from exec" -l pidfd-socket -r -F -d "Send a pidfd to a socket"
complete -c oarlock -n "__fish_seen_subcommand_from exec" -l pid-file -r -F -d "Write the process ID to a file"
complete -c oarlock -n "__fish_seen_subcommand_from exec" -l cgroup -x -d "Cgroup below the container's"
complete -c oarlock -n "__fish_seen_subcommand_from exec" -l ignore-paused -d "Enter a paused container, too"
complete -c oarlock -n "__fish_seen_subcommand_from exec" -l preserve-fds -x -d "Leave file descriptors open"
complete -c oarlock -n "__fish_seen_subcommand_from list" -s f -l format -x -a "table json" -d "Form of the list"
complete -c oarlock -n "__fish_seen_subcommand_from list" -s q -l quiet -d "IDs only"
complete -c oarlock -n "__fish_seen_subcommand_from ps" -s f -l format -x -a "table json" -d "Form of the list"
complete -c oarlock -n "__fish_seen_subcommand_from events" -l stats -d "Print once"
complete -c oarlock -n "__fish_seen_subcommand_from events" -l interval -x -d "Time between two lines"
complete -c oarlock -n "__fish_seen_subcommand_from update" -s r -l resources -r -F -d "Read the changes from a file"
complete -c oarlock -n "__fish_seen_subcommand_from update" -l blkio-weight -x -d "Limit: blkio-weight"
complete -c oarlock -n "__fish_seen_subcommand_from update" -l cpu-burst -x -d "Limit: cpu-burst"
complete -c oarlock -n "__fish_seen_subcommand_from update" -l cpu-idle -x -d "Limit: cpu-idle"
complete -c oarlock -n "__fish_seen_subcommand_from update" -l cpu-period -x -d "Limit: cpu-period"
complete -c oarlock -n "__fish_seen_subcommand_from update" -l cpu-quota -x -d "Limit: cpu-quota"
complete -c oarlock -n "__fish_seen_subcommand_from update" -l cpu-rt-period -x -d "Limit: cpu-rt-period"
complete -c oarlock -n "__fish_seen_subcommand_from update" -l cpu-rt-runtime -x -d "Limit: cpu-rt-runtime"
complete -c oarlock -n "__fish_seen_subcommand_from update" -l cpu-share -x -d "Limit: cpu-share"
complete -c oarlock -n "__fish_seen_subcommand_from update" -l cpuset-cpus -x -d "Limit: cpuset-cpus"
complete -c oarlock -n "__fish_seen_subcommand_from update" -l cpuset-mems -x -d "Limit: cpuset-mems"
complete -c oarlock -n "__fish_seen_subcommand_from update" -l memory -x -d "Limit: memory"
complete -c oarlock -n "__fish_seen_subcommand_from update" -l memory-reservation -x -d "Limit: memory-reservation"
complete -c oarlock -n "__fish_seen_subcommand_from update" -l memory-swap -x -d "Limit: memory-swap"
complete -c oarlock -n "__fish_seen_subcommand_from update" -l pids-limit -x -d "Limit: pids-limit"
complete -c oarlock -n "__fish_seen_subcommand_from update" -l l3-cache-schema -x -d "Share of the L3 cache (Intel RDT)"
complete -c oarlock -n "__fish_seen_subcommand_from update" -l mem-bw-schema -x -d "Share of the memory bandwidth (Intel RDT)"
complete -c oarlock -n "__fish_seen_subcommand_from spec" -s b -l bundle -x -a "(__fish_complete_directories)" -d "Where to"
complete -c oarlock -n "__fish_seen_subcommand_from spec" -l rootless -d "One that works without root"
complete -c oarlock -n "__fish_seen_subcommand_from plan check" -s f -l config -r -F -d "Read the configuration from a file"
complete -c oarlock -n "__fish_seen_subcommand_from plan check doctor" -l format -x -a "text json" -d "Form of the output"
complete -c oarlock -n "__fish_seen_subcommand_from plan check" -a "(__fish_complete_directories)"
complete -c oarlock -n "__fish_seen_subcommand_from mounts" -a "add remove"
complete -c oarlock -n "__fish_seen_subcommand_from mounts" -F
