//! Mount targets, and whatever else a runtime makes in the root: CVE-2021-30465, CVE-2024-45310, CVE-2025-24965.

use std::fs;
use std::os::unix::fs::symlink;

use super::Host;
use crate::harness::{Bundle, json};

#[test]
fn cve_2021_30465_mount_targets_never_reach_the_host_through_links() {
    let mut bundle = Bundle::waiting();
    let host = Host::new(&bundle);
    let volume = bundle.host_dir("volume");
    fs::write(volume.join("file"), "").unwrap();
    let [absolute, climbing] = host.ways();
    for (name, target) in [
        ("absolute", absolute),
        ("climbing", climbing),
        ("magic", "/proc/self/root".to_owned()),
        ("parent", "/proc/1/cwd".to_owned()),
    ] {
        symlink(target, volume.join(name)).unwrap();
        bundle.bind(&volume, "/vol", &["rbind"]);
        bundle.mount(&format!("/vol/{name}/made"), "tmpfs", "tmpfs", &[]);
        let created = bundle.rt.finish(bundle.command("create", &[]));
        bundle.rt.call(["delete", "--force", &bundle.id]);
        host.untouched(&format!("{name}: {created}"));
        bundle.unmount(&format!("/vol/{name}/made")).unmount("/vol");
    }
}

#[test]
fn cve_2024_45310_directories_for_mounts_are_not_made_on_the_host() {
    let mut bundle = Bundle::waiting();
    let host = Host::new(&bundle);
    symlink(&host.canary, bundle.rootfs("link")).unwrap();
    bundle.mount("/link/one/two", "tmpfs", "tmpfs", &[]);
    bundle.bind("/dev/null".as_ref(), "/link/file/null", &[]);
    bundle.rt.finish(bundle.command("create", &[]));
    bundle.rt.call(["delete", "--force", &bundle.id]);
    host.untouched("create");
}

#[test]
fn cve_2025_24965_nothing_that_the_runtime_makes_in_the_root_follows_a_link_out() {
    let mut bundle = Bundle::waiting();
    let host = Host::new(&bundle);
    for way in host.ways() {
        for name in ["run", "work", "tmp"] {
            fs::remove_file(bundle.rootfs(name)).or_else(|_| fs::remove_dir(bundle.rootfs(name))).ok();
            symlink(&way, bundle.rootfs(name)).unwrap();
        }
        bundle.set("/process/cwd", "/work/in/here").mount("/tmp/made", "tmpfs", "tmpfs", &["tmpcopyup"]);
        bundle.push("/linux/devices", json!({"path": "/run/device", "type": "c", "major": 1, "minor": 3}));
        // The directory of the readiness socket is made below /run.
        let socket = host.canary.with_file_name("notify");
        let listener = std::os::unix::net::UnixDatagram::bind(&socket).unwrap();
        let mut command = bundle.command("create", &[]);
        command.env("NOTIFY_SOCKET", &socket);
        let created = bundle.rt.finish(command);
        bundle.rt.call(["delete", "--force", &bundle.id]);
        host.untouched(&created.to_string());
        drop(listener);
        fs::remove_file(&socket).unwrap();
        bundle.unmount("/tmp/made").remove("/linux/devices");
    }
}
