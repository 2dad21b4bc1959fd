//! What the host has mounted, against the root of a user namespace that holds every capability there is in it.

use std::fs;

use super::Host;
use crate::harness::{Bundle, Fifo, HostMount, MountTable, json};

/// A bundle whose root, of a user namespace, has every capability in it and tries `script`.
fn as_userns_root(script: &str) -> Bundle {
    let mut bundle = Bundle::sh(script);
    bundle.user_namespace().allow_sys_admin();
    bundle
}

#[test]
fn root_of_a_user_namespace_cannot_make_a_read_only_mount_of_the_host_writable() {
    differs!(
        "crun",
        "crun 1.8.1 moves detached trees into the namespace of the container's root, which are not locked"
    );
    let mut bundle = as_userns_root(
        "mount -o remount,bind,rw /vol 2>/dev/null; mount -o remount,rw /vol 2>/dev/null; touch /vol/x 2>/dev/null && echo wrote; echo end",
    );
    let _host = Host::new(&bundle);
    let source = bundle.host_dir("source");
    std::os::unix::fs::chown(&source, Some(100_000), Some(100_000)).unwrap();
    let _mount = HostMount::itself(&source).restricted();
    bundle.bind(&source, "/vol", &["rbind", "ro"]);
    if crate::harness::runtime::name() == "runc" {
        bundle.set("/mounts/7/options", json!(["rbind", "ro", "nosuid", "nodev", "noexec"]));
    }
    bundle.run().ok().prints("end");
}

#[test]
fn root_of_a_user_namespace_cannot_uncover_what_a_mount_of_the_host_covers() {
    differs!(
        "crun",
        "crun 1.8.1 moves detached trees into the namespace of the container's root, which are not locked"
    );
    let mut bundle = as_userns_root(
        "umount /vol/sub 2>/dev/null; umount -l /vol/sub 2>/dev/null; cat /vol/sub/secret 2>/dev/null; echo end",
    );
    let _host = Host::new(&bundle);
    let source = bundle.host_dir("source");
    let sub = bundle.host_dir("source/sub");
    fs::write(sub.join("secret"), "covered").unwrap();
    let _cover = HostMount::tmpfs(&sub);
    bundle.bind(&source, "/vol", &["rbind"]);
    bundle.run().ok().prints("end");
}

#[test]
fn root_of_a_user_namespace_cannot_mount_on_the_host_through_a_shared_source() {
    let mut bundle = as_userns_root("true");
    let _host = Host::new(&bundle);
    let source = bundle.host_dir("source");
    let _shared = HostMount::tmpfs(&source).shared();
    fs::create_dir(source.join("sub")).unwrap();
    let mut said = Fifo::new(&bundle.rootfs("said"));
    bundle.script("mount -t tmpfs t /vol/sub; echo done > /said; sleep 1000");
    for propagation in ["rprivate", "rslave", "rshared"] {
        bundle.set(
            "/mounts/7",
            json!({"destination": "/vol", "type": "bind", "source": source, "options": ["rbind", propagation]}),
        );
        let container = bundle.started();
        assert_eq!(said.line(), "done");
        let host = fs::read_to_string("/proc/self/mountinfo").unwrap();
        assert!(!MountTable::parse(&host).has(source.join("sub").to_str().unwrap()), "{propagation}");
        drop(container);
    }
}
