//! CVE-2019-5736: the runtime's own binary, reached through `/proc/PID/exe`.

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};

use super::Host;
use super::host::binary;
use crate::exec::{command, exec};
use crate::harness::{Bundle, Fifo, json};

#[test]
fn cve_2019_5736_the_runtimes_binary_cannot_be_written_from_inside() {
    let mut bundle = Bundle::new();
    let _host = Host::new(&bundle);
    // The image's program is a link to what executes it.
    symlink("/proc/self/exe", bundle.rootfs("program")).unwrap();
    bundle.args(&["/program", "--version"]);
    bundle.allow_sys_admin();
    bundle.run();
    bundle.file("script", "#!/proc/self/exe\n", 0o755);
    bundle.args(&["/script"]);
    bundle.run();
}

#[test]
fn cve_2019_5736_an_open_descriptor_of_init_does_not_lead_to_a_writable_binary() {
    let mut bundle = Bundle::new();
    let mut go = Fifo::new(&bundle.rootfs("go"));
    let mut result = Fifo::new(&bundle.rootfs("result"));
    bundle.allow_sys_admin().add_probe();
    for set in ["bounding", "effective", "permitted"] {
        // So that init lets itself be looked into, for all that it hides.
        bundle.push(&format!("/process/capabilities/{set}"), json!("CAP_SYS_PTRACE"));
    }
    // A process of the image keeps what init was executed from, waits until init has become the program (a file
    // that is being executed is busy), makes its mount writable if it can, and opens it for writing.
    bundle.file(
        "hook",
        "#!/bin/sh
        unlock() { /probe unlock 9; mount -o remount,bind,rw /proc/self/fd/9; mount -o remount,rw /proc/self/fd/9; }
        if (true < /proc/1/exe); then exec 9< /proc/1/exe; unlock > /dev/null 2>&1; fi
        (echo held > /result; read line < /go; unlock
         if (: >> /proc/self/fd/9); then stat -Lc %d:%i /proc/self/fd/9 > /result; else echo refused > /result; fi
        ) > /dev/null 2>&1 &
        ",
        0o755,
    );
    bundle.set("/hooks/startContainer", json!([{"path": "/hook"}])).args(&["sleep", "1000"]);
    let container = bundle.started();
    assert_eq!(result.line(), "held");
    // runc's and crun's start may return a moment before the program is executed.
    while container.proc("comm").trim() != "sleep" {
        std::thread::yield_now();
    }
    go.tell("go");
    let file = fs::metadata(binary()).unwrap();
    let opened = result.line();
    assert_ne!(opened, format!("{}:{}", file.dev(), file.ino()), "the host's binary could be written");
}

#[test]
fn cve_2019_5736_the_runtime_cannot_be_written_through_proc() {
    let mut bundle = Bundle::waiting();
    bundle.allow_sys_admin();
    // The program is the runtime itself, if this link leads to it.
    symlink("/proc/self/exe", bundle.rootfs("bin/self")).unwrap();
    let _host = Host::new(&bundle);
    let _container = bundle.started();
    let watcher = "while [ ! -e /stop ]; do for p in /proc/[0-9]*/exe; do (: >>$p) 2>/dev/null; done; done; true";
    let running = bundle.rt.spawn(command(&bundle, &[], &["sh", "-c", watcher]));
    for _ in 0..30 {
        exec(&bundle, &[], &["self", "--version"]);
        exec(&bundle, &[], &["true"]).ok();
    }
    bundle.file("stop", "", 0o644);
    running.wait().ok();
}
