//! `/dev` in an image that means ill: CVE-2026-41579 (runc) and CVE-2026-47766 (crun), default devices and links made
//! through a symlink; CVE-2025-52565, the console.

use std::fs;
use std::os::unix::fs::symlink;

use super::Host;
use crate::harness::sockets::FdReceiver;
use crate::harness::terminal::Terminal;
use crate::harness::{Bundle, MountTable};

#[test]
fn cve_2026_41579_a_dev_that_is_a_symlink_makes_nothing_on_the_host() {
    differs!("runc", "runc 1.1.5 is older than the fix");
    differs!("crun", "crun 1.8.1 is older than the fix");
    let mut bundle = Bundle::waiting();
    let host = Host::new(&bundle);
    for destination in ["/dev/pts", "/dev/shm", "/dev/mqueue", "/dev"] {
        bundle.unmount(destination);
    }
    for target in host.ways() {
        fs::remove_dir(bundle.rootfs("dev")).or_else(|_| fs::remove_file(bundle.rootfs("dev"))).unwrap();
        symlink(target, bundle.rootfs("dev")).unwrap();
        let created = bundle.rt.finish(bundle.command("create", &[]));
        bundle.rt.call(["delete", "--force", &bundle.id]);
        host.untouched(&created.to_string());
    }
}

#[test]
fn cve_2025_52565_a_dev_console_that_is_a_symlink_is_not_followed_to_the_host() {
    let mut bundle = Bundle::sh("echo on-console > /dev/console; echo done");
    let _host = Host::new(&bundle);
    let canary = bundle.host_dir("outside").join("file");
    fs::write(&canary, "host text").unwrap();
    for destination in ["/dev/shm", "/dev/mqueue", "/dev"] {
        bundle.unmount(destination);
    }
    fs::create_dir_all(bundle.rootfs("dev/pts")).unwrap();
    symlink(&canary, bundle.rootfs("dev/console")).unwrap();
    bundle.set("/process/terminal", true);
    let socket = FdReceiver::new(bundle.host_dir("c").join("console"));
    let flags = ["--console-socket", socket.path.to_str().unwrap()];
    let created = bundle.rt.finish(bundle.command("create", &flags));
    if created.code == 0 {
        let pid = &bundle.rt.state(&bundle.id)["pid"];
        let table = fs::read_to_string(format!("/proc/{pid}/mountinfo")).unwrap();
        // What was mounted on the host would not be in this table.
        assert_eq!(MountTable::parse(&table).at("/dev/console").kind, "devpts", "{created}");
        let mut terminal = Terminal::new(socket.receive().0);
        bundle.rt.call(["start", &bundle.id]);
        terminal.read_all();
    }
    assert_eq!(fs::read_to_string(&canary).unwrap(), "host text");
}
