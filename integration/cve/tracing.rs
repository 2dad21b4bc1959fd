//! CVE-2016-9962: a process on its way into a container, as seen from inside.

use std::fs;
use std::os::unix::fs::MetadataExt;

use crate::exec::{command, exec};
use crate::harness::{Bundle, Fifo, json};

#[test]
fn cve_2016_9962_the_waiting_init_holds_nothing_of_the_host() {
    let bundle = Bundle::waiting();
    let container = bundle.create();
    for entry in fs::read_dir(format!("/proc/{}/fd", container.pid)).unwrap() {
        let target = fs::read_link(entry.unwrap().path()).unwrap();
        assert!(!target.is_dir() || target.starts_with("/proc"), "a directory of the host: {target:?}");
    }
}

#[test]
fn cve_2016_9962_the_waiting_init_cannot_be_looked_into_from_inside() {
    differs!("runc", "runc 1.1.5 leaves its init traceable by those with the same capabilities");
    let bundle = Bundle::waiting();
    let _container = bundle.create();
    // Of the same user, and with the same capabilities.
    let output = exec(&bundle, &[], &["sh", "-c", "readlink /proc/1/fd/0; ls -a /proc/1/cwd/; echo end"]).ok();
    output.prints("end");
}

#[test]
fn cve_2016_9962_the_waiting_init_is_not_dumpable() {
    let bundle = Bundle::waiting();
    let container = bundle.create();
    // Files of a process that is not dumpable belong to root, whoever it runs as: seen with another uid.
    let mut other = Bundle::waiting();
    other.set("/process/user", json!({"uid": 1000, "gid": 1000}));
    let waiting = other.create();
    let environ = fs::metadata(format!("/proc/{}/environ", waiting.pid)).unwrap();
    assert_eq!(environ.uid(), 0);
    assert_eq!(container.status(), "created");
}

/// A program in the container that looks into every process it sees, while others join. What it found: a root without
/// the marker, a directory of the host.
fn watched_joins(bundle: &Bundle) -> String {
    bundle.file("marker", "", 0o644);
    let mut fifo = Fifo::new(&bundle.rootfs("fifo"));
    let _container = bundle.started();
    let watcher = "echo up >/fifo; while [ ! -e /stop ]; do for p in /proc/[0-9]*; do \
        if [ -e $p/root/ ] && [ ! -e $p/root/marker ]; then [ -e $p/root/ ] && echo root $p; fi; \
        for fd in $p/fd/*; do if [ -d $fd/ ]; then echo $fd; fi; done; done; done 2>/dev/null";
    let running = bundle.rt.spawn(command(bundle, &[], &["sh", "-c", watcher]));
    fifo.line();
    for _ in 0..100 {
        exec(bundle, &[], &["true"]).ok();
    }
    bundle.file("stop", "", 0o644);
    running.wait().ok().stdout
}

#[test]
fn cve_2016_9962_a_process_on_its_way_in_shows_nothing_of_the_host() {
    assert_eq!(watched_joins(&Bundle::waiting()), "");
}

#[test]
fn cve_2016_9962_nor_to_a_tracer_in_a_user_namespace() {
    let mut bundle = Bundle::waiting();
    bundle.user_namespace();
    for set in ["bounding", "effective", "permitted"] {
        bundle.push(&format!("/process/capabilities/{set}"), json!("CAP_SYS_PTRACE"));
    }
    assert_eq!(watched_joins(&bundle), "");
}
