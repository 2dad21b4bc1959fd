//! The races: a neighbour that shares a volume, or the image's directory, exchanges a directory for a symlink while the
//! container is made. Whatever the outcome, a container has what it was to have, and the host is as it was.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use super::Host;
use super::swap::{Swapper, rounds};
use crate::harness::sockets::FdReceiver;
use crate::harness::{Bundle, MountTable, json};

/// Makes the container `rounds` times while `a` and `b` are exchanged, and hands each outcome to `look`: the mount table
/// of one that came to life, and what was said. Containers must have come to life, and the names been exchanged, often
/// enough to mean something.
fn race(bundle: &Bundle, (a, b): (&Path, &Path), flags: &[&str], mut look: impl FnMut(Option<&MountTable>, &str)) {
    let swapper = Swapper::new(a, b);
    let mut made = 0;
    for _ in 0..rounds() {
        let output = bundle.rt.finish(bundle.command("create", flags));
        let said = output.to_string();
        if output.code == 0 {
            let pid = &bundle.rt.state(&bundle.id)["pid"];
            let table = fs::read_to_string(format!("/proc/{pid}/mountinfo")).expect("mountinfo of init");
            look(Some(&MountTable::parse(&table)), &said);
            made += 1;
        } else {
            look(None, &said);
        }
        bundle.rt.call(["delete", "--force", &bundle.id]).ok();
    }
    assert!(swapper.count() > rounds(), "only {} exchanges in {} rounds", swapper.count(), rounds());
    assert!(made > 0, "not one container came to life in {} rounds", rounds());
}

#[test]
fn cve_2021_30465_a_mount_target_that_is_exchanged_never_leads_out() {
    let mut bundle = Bundle::waiting();
    let host = Host::new(&bundle);
    let volume = bundle.host_dir("volume");
    fs::create_dir(volume.join("a")).unwrap();
    for way in host.ways() {
        fs::remove_file(volume.join("b")).ok();
        symlink(way, volume.join("b")).unwrap();
        bundle.bind(&volume, "/vol", &["rbind"]);
        bundle.mount("/vol/a", "tmpfs", "raced", &[]);
        race(&bundle, (&volume.join("a"), &volume.join("b")), &[], |table, said| {
            host.untouched(said);
            let Some(table) = table else { return };
            // Wherever in the root the link led: what was mounted on the host would not be in this table.
            let found = table.0.iter().filter(|mount| mount.source == "raced").count();
            assert_eq!(found, 1, "the mount is not in the container: {said}");
        });
        bundle.unmount("/vol/a").unmount("/vol");
        // Which of the two is the link depends on the number of exchanges.
        if !volume.join("a").symlink_metadata().unwrap().is_dir() {
            fs::remove_file(volume.join("a")).unwrap();
            fs::rename(volume.join("b"), volume.join("a")).unwrap();
        }
    }
}

#[test]
fn cve_2024_45310_directories_are_not_made_through_an_exchanged_link() {
    differs!("runc", "runc 1.1.5 is older than the fix");
    differs!("crun", "crun 1.8.1 makes them with the path as a string");
    let mut bundle = Bundle::waiting();
    let host = Host::new(&bundle);
    let volume = bundle.host_dir("volume");
    fs::create_dir(volume.join("a")).unwrap();
    symlink(&host.canary, volume.join("b")).unwrap();
    bundle.bind(&volume, "/vol", &["rbind"]);
    for name in ["x", "y", "z"] {
        bundle.mount(&format!("/vol/a/{name}/deep/er"), "tmpfs", "tmpfs", &[]);
        bundle.bind("/dev/null".as_ref(), &format!("/vol/a/{name}-file"), &[]);
    }
    race(&bundle, (&volume.join("a"), &volume.join("b")), &[], |_, said| {
        host.untouched(said);
        for link in ["a", "b"].map(|name| volume.join(name)) {
            if link.symlink_metadata().unwrap().is_dir() {
                for entry in fs::read_dir(&link).into_iter().flatten().flatten() {
                    fs::remove_dir_all(entry.path()).or_else(|_| fs::remove_file(entry.path())).ok();
                }
            }
        }
    });
}

#[test]
fn cve_2019_19921_a_proc_that_is_exchanged_for_a_link_is_refused_or_right() {
    differs!("crun", "crun follows a link at /proc inside the root");
    let bundle = Bundle::waiting();
    let _host = Host::new(&bundle);
    fs::create_dir(bundle.rootfs("bad-proc")).unwrap();
    symlink("/bad-proc", bundle.rootfs("link")).unwrap();
    race(&bundle, (&bundle.rootfs("proc"), &bundle.rootfs("link")), &[], |table, said| {
        let mounts = table.iter().flat_map(|table| &table.0);
        for mount in mounts.filter(|mount| mount.kind == "proc" && mount.root == "/") {
            // A mount goes where its directory is moved; it is never where the link leads.
            assert_ne!(mount.point, "/bad-proc", "{said}");
        }
    });
}

#[test]
fn cve_2026_41579_a_dev_that_is_exchanged_for_a_link_makes_nothing_on_the_host() {
    differs!("runc", "runc 1.1.5 is older than the fix");
    differs!("crun", "crun 1.8.1 is older than the fix");
    let mut bundle = Bundle::waiting();
    let host = Host::new(&bundle);
    for destination in ["/dev/pts", "/dev/shm", "/dev/mqueue", "/dev"] {
        bundle.unmount(destination);
    }
    symlink(&host.canary, bundle.rootfs("link")).unwrap();
    race(&bundle, (&bundle.rootfs("dev"), &bundle.rootfs("link")), &[], |_, said| {
        host.untouched(said);
        for name in ["dev", "link"] {
            // Made anew each time, or nothing would be left to do.
            for entry in fs::read_dir(bundle.rootfs(name)).into_iter().flatten().flatten() {
                if bundle.rootfs(name).symlink_metadata().unwrap().is_dir() {
                    fs::remove_file(entry.path()).ok();
                }
            }
        }
    });
}

#[test]
fn cve_2025_52565_a_console_that_is_exchanged_for_a_link_is_the_pty_or_refused() {
    let mut bundle = Bundle::waiting();
    let _host = Host::new(&bundle);
    for destination in ["/dev/shm", "/dev/mqueue", "/dev"] {
        bundle.unmount(destination);
    }
    fs::create_dir_all(bundle.rootfs("dev/pts")).unwrap();
    let file = bundle.host_dir("outside").join("file");
    fs::write(&file, "host text").unwrap();
    fs::write(bundle.rootfs("dev/console"), "").unwrap();
    symlink(&file, bundle.rootfs("dev/link")).unwrap();
    bundle.set("/process/terminal", true);
    let socket = FdReceiver::new(bundle.host_dir("c").join("console"));
    let flags = ["--console-socket", socket.path.to_str().unwrap()];
    race(&bundle, (&bundle.rootfs("dev/console"), &bundle.rootfs("dev/link")), &flags, |table, said| {
        let Some(table) = table else { return socket.discard() };
        socket.receive();
        // A symlink that comes back after the mount only hides it; what is mounted must be the pty, in the root.
        let consoles = table.0.iter().filter(|mount| mount.kind == "devpts" && mount.root != "/").count();
        assert_eq!(consoles, 1, "{said}");
    });
    assert_eq!(fs::read_to_string(&file).unwrap(), "host text");
}

#[test]
fn cve_2025_52881_a_sysctl_is_not_written_into_what_is_raced_over_it() {
    differs!("crun", "crun has no list of what may be mounted over /proc");
    let mut bundle = Bundle::waiting();
    let _host = Host::new(&bundle);
    let volume = bundle.host_dir("volume");
    let fake = bundle.host_dir("fake").join("file");
    fs::write(&fake, "fake").unwrap();
    fs::write(volume.join("a"), "").unwrap();
    symlink("/proc/sys/net/ipv4/ip_unprivileged_port_start", volume.join("b")).unwrap();
    bundle.bind(&volume, "/vol", &["rbind"]).bind(&fake, "/vol/a", &[]);
    bundle.set("/linux/sysctl", json!({"net.ipv4.ip_unprivileged_port_start": "77"}));
    race(&bundle, (&volume.join("a"), &volume.join("b")), &[], |table, said| {
        let mut mounts = table.iter().flat_map(|table| &table.0);
        let over = mounts.find(|mount| mount.point.starts_with("/proc/sys/net"));
        assert!(over.is_none(), "{over:?}: {said}");
        assert_eq!(fs::read_to_string(&fake).unwrap(), "fake", "{said}");
    });
}

#[test]
fn cve_2025_52881_cgroups_are_not_mounted_where_an_exchanged_link_leads_into_proc() {
    differs!("crun", "crun has no list of what may be mounted over /proc");
    let mut bundle = Bundle::waiting();
    let _host = Host::new(&bundle);
    let volume = bundle.host_dir("volume");
    fs::create_dir(volume.join("a")).unwrap();
    symlink("/proc/sys/net", volume.join("b")).unwrap();
    bundle.bind(&volume, "/vol", &["rbind"]);
    bundle.mount("/vol/a", "cgroup", "cgroup", &["nosuid", "noexec", "nodev", "ro"]);
    race(&bundle, (&volume.join("a"), &volume.join("b")), &[], |table, said| {
        let mut mounts = table.iter().flat_map(|table| &table.0);
        let over = mounts.find(|mount| mount.point.starts_with("/proc/sys/net"));
        assert!(over.is_none(), "{over:?}: {said}");
    });
}

#[test]
fn cve_2025_52881_a_console_is_not_mounted_where_an_exchanged_link_leads_into_proc() {
    differs!("runc", "runc 1.1.5 is older than the fix");
    differs!("crun", "crun 1.8.1 loses the race");
    let mut bundle = Bundle::waiting();
    let _host = Host::new(&bundle);
    for destination in ["/dev/shm", "/dev/mqueue", "/dev"] {
        bundle.unmount(destination);
    }
    fs::create_dir_all(bundle.rootfs("dev/pts")).unwrap();
    let [console, link, new] = ["dev/console", "dev/link", "dev/new"].map(|name| bundle.rootfs(name));
    fs::write(&console, "").unwrap();
    symlink("/proc/sys/kernel/domainname", &link).unwrap();
    bundle.set("/process/terminal", true);
    let socket = FdReceiver::new(bundle.host_dir("c").join("console"));
    let flags = ["--console-socket", socket.path.to_str().unwrap()];
    race(&bundle, (&console, &link), &flags, |table, said| {
        match table {
            Some(_) => drop(socket.receive()),
            None => socket.discard(),
        }
        let mut mounts = table.iter().flat_map(|table| &table.0);
        let over = mounts.find(|mount| mount.kind == "devpts" && mount.point.starts_with("/proc"));
        assert!(over.is_none(), "{over:?}: {said}");
        // A link that the runtime finds at the console's place it takes away.
        fs::OpenOptions::new().write(true).create_new(true).open(&console).ok();
        if ![&console, &link].iter().any(|name| name.is_symlink()) {
            symlink("/proc/sys/kernel/domainname", &new).unwrap();
            fs::rename(&new, &link).unwrap();
        }
    });
}
