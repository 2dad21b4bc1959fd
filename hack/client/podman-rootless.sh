# shellcheck shell=bash
# shellcheck disable=SC2016 # what is quoted is for the shell in the container
# shellcheck disable=SC2154,SC2317 # set, and called, by the scripts that source this
# Podman's checks without root: one user who has subordinate ids, one who has none. Sourced by podman.sh.

# The users are in the script's own /etc.
# as USER COMMAND…: with nothing of root's.
as() {
    local home=/home/$1 uid
    uid=$(id -u "$1")
    setpriv --reuid "$uid" --regid "$uid" --init-groups --inh-caps=-all \
        env --ignore-environment --chdir "$work/home/$1" HOME="$work$home" USER="$1" XDG_RUNTIME_DIR="/run/user/$uid" \
        TMPDIR="$TMPDIR" \
        PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin timeout --foreground --kill-after 5 60 "${@:2}"
}

# rootless USER COMMAND…: podman as that user, with the storage that needs no privileges.
rootless() { as "$1" podman "${@:2}"; }

begin_rootless() {
    local user uid
    mkdir -p "$work/home"
    for user in ranged bare; do
        grep -q "^$user:" /etc/passwd || useradd --create-home --home-dir "$work/home/$user" --shell /bin/sh "$user"
        uid=$(id -u $user)
        mkdir -p "/run/user/$uid" "$work/home/$user/.config/containers"
        printf '[storage]\ndriver = "vfs"\n' >"$work/home/$user/.config/containers/storage.conf"
        if [ $user = bare ]; then
            # Files of an image that belong to other users become this one's.
            printf '[storage]\ndriver = "vfs"\n[storage.options]\nignore_chown_errors = "true"\n' \
                >"$work/home/$user/.config/containers/storage.conf"
        fi
        chown -R "$uid:$uid" "/run/user/$uid" "$work/home/$user"
        chmod 700 "/run/user/$uid"
    done
    sed -i '/^bare:/d' /etc/subuid /etc/subgid
    grep -q ^ranged: /etc/subuid || echo ranged:500000:65536 | tee -a /etc/subuid >>/etc/subgid
    chmod 644 "$work/box.tar"
}

test_rootless_with_subordinate_ids() {
    local uid
    begin_rootless
    uid=$(id -u ranged)
    rootless ranged load --quiet --input "$work/box.tar"
    is 'uid=0(root) gid=0(root)' "$(rootless ranged run --rm --network none "$image" id | cut -d' ' -f1,2)"
    is "0 $uid 1" "$(rootless ranged run --rm --network none "$image" sed -n 1p /proc/self/uid_map | xargs)"
    is 1000 "$(rootless ranged run --rm --network none --user web "$image" id -u)"
    is "$uid" "$(rootless ranged run --rm --network none --userns keep-id "$image" id -u)"
}

test_rootless_effects() {
    local uid dir="$work/home/ranged/data"
    uid=$(id -u ranged)
    as ranged mkdir -p "$dir"
    rootless ranged run --rm --network none --volume "$dir:/d" "$image" sh -c 'touch /d/mine; touch /d/webs; chown web /d/webs'
    is "$uid" "$(stat -c %u "$dir/mine")"
    [ "$(stat -c %u "$dir/webs")" -ge 100000 ]
    is 1000 "$(rootless ranged unshare stat -c %u "$dir/webs")"
    exits 9 rootless ranged run --rm --network none "$image" sh -c 'exit 9'
    exits 127 rootless ranged run --rm --network none "$image" nothing
    exits 1 rootless ranged run --rm --network none --read-only "$image" touch /file
    is 'private pid' "$(rootless ranged run --rm --network none "$image" sh -c 'test $$ = 1 && echo private pid')"
    is tmpfs "$(rootless ranged run --rm --network none --tmpfs /t "$image" stat -f -c %T /t)"
    has "$(as ranged script --quiet --command "podman run --rm --tty --network none $image tty" /dev/null)" /dev/pts/0
}

test_rootless_life() {
    rootless ranged run --detach --name nobody --network none "$image" sleep 10000
    is ranged "$(stat -c %U "/proc/$(rootless ranged inspect --format '{{.State.Pid}}' nobody)")"
    is hello "$(rootless ranged exec nobody echo hello)"
    exits 3 rootless ranged exec nobody sh -c 'exit 3'
    is 1000 "$(rootless ranged exec --user web nobody id -u)"
    has "$(rootless ranged top nobody args)" 'sleep 10000'
    rootless ranged stop --time 0 nobody
    is 137 "$(rootless ranged wait nobody)"
    rootless ranged rm nobody
}

test_rootless_pod() {
    rootless ranged pod create --name duo --network none
    rootless ranged run --detach --pod duo --name a "$image" sleep 10000
    is duo "$(rootless ranged exec a hostname)"
    is "$(rootless ranged exec a readlink /proc/self/ns/ipc)" \
        "$(rootless ranged run --rm --pod duo "$image" readlink /proc/self/ns/ipc)"
    rootless ranged pod rm --force --time 0 duo
}

test_rootless_build() {
    mkdir -p "$work/home/ranged/build"
    printf 'FROM %s\nRUN id -u >/made\nUSER web\nRUN id -u >/tmp/webs\n' "$image" >"$work/home/ranged/build/Containerfile"
    rootless ranged build --quiet --isolation rootless --network none --tag localhost/mine "$work/home/ranged/build"
    is '0 1000' "$(rootless ranged run --rm --network none localhost/mine cat /made /tmp/webs | xargs)"
}

test_rootless_without_subordinate_ids() {
    local uid
    begin_rootless
    uid=$(id -u bare)
    rootless bare load --quiet --input "$work/box.tar"
    is "0 $uid 1" "$(rootless bare run --rm --network none "$image" cat /proc/self/uid_map | xargs)"
    exits 4 rootless bare run --rm --network none "$image" sh -c 'exit 4'
    rootless bare run --detach --name solo --network none "$image" sleep 10000
    is 0 "$(rootless bare exec solo id -u)"
    rootless bare rm --force --time 0 solo
}

test_rootless_leaves_nothing() {
    local user
    for user in ranged bare; do
        rootless $user rm --all --force --time 0
        is '' "$(find "/run/user/$(id -u $user)" -name exec.fifo)"
        # The process that keeps Podman's user namespace.
        kill "$(cat "/run/user/$(id -u $user)/libpod/tmp/pause.pid")"
    done
}
