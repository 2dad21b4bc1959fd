//! `exec` and what has been done through it: published holes, and what a program in the container can do meanwhile.

use std::os::unix::fs::symlink;

use crate::exec::{command, exec, sh};
use crate::harness::{Bundle, Fifo, json};

/// The five sets of the program: inheritable, permitted, effective, bounding, ambient.
#[track_caller]
fn sets(bundle: &Bundle, flags: &[&str]) -> [u64; 5] {
    let output = sh(bundle, flags, "grep Cap /proc/self/status").ok();
    ["CapInh:", "CapPrm:", "CapEff:", "CapBnd:", "CapAmb:"]
        .map(|key| u64::from_str_radix(output.field(key), 16).unwrap())
}

const CHOWN: u64 = 1 << 0;
const NET_RAW: u64 = 1 << 13;

#[test]
fn capabilities_are_the_containers() {
    let mut bundle = Bundle::waiting();
    let one = json!(["CAP_CHOWN"]);
    bundle.set("/process/capabilities", json!({ "bounding": one, "permitted": one, "effective": one }));
    let _container = bundle.started();
    assert_eq!(sets(&bundle, &[]), [0, CHOWN, CHOWN, CHOWN, 0]);
    assert_eq!(sets(&bundle, &["-u", "1000"]), [0, 0, 0, CHOWN, 0]);
}

#[test]
fn cve_2022_29162_a_capability_asked_for_is_not_inheritable() {
    differs!("crun", "crun gives what is asked for in place of the container's");
    let mut bundle = Bundle::waiting();
    let one = json!(["CAP_CHOWN"]);
    bundle.set("/process/capabilities", json!({ "bounding": one, "permitted": one, "effective": one }));
    let _container = bundle.started();
    let both = CHOWN | NET_RAW;
    assert_eq!(sets(&bundle, &["--cap", "CAP_NET_RAW"]), [0, both, both, both, 0]);
    // A user other than root gains nothing but the bound.
    assert_eq!(sets(&bundle, &["-c", "CAP_NET_RAW", "-u", "1000"]), [0, 0, 0, both, 0]);
    if crate::harness::is_oarlock() {
        exec(&bundle, &["-c", "CAP_OF_TOMORROW"], &["true"]).code_is(255).says("--cap");
    }
}

#[test]
fn cve_2025_27612_a_container_without_capabilities_gives_none() {
    let mut bundle = Bundle::waiting();
    bundle.set("/process/capabilities", json!({}));
    let _container = bundle.started();
    assert_eq!(sets(&bundle, &[]), [0; 5]);
    let document = json!({ "cwd": "/", "user": { "uid": 0, "gid": 0 }, "env": ["PATH=/bin"],
        "args": ["grep", "CapEff", "/proc/self/status"] });
    let file = bundle.path("process.json");
    std::fs::write(&file, document.to_string()).unwrap();
    let output = exec(&bundle, &["--process", file.to_str().unwrap()], &[]).ok();
    assert_eq!(output.field("CapEff:"), "0000000000000000");
}

#[test]
fn cve_2026_30892_what_is_no_id_is_refused() {
    differs!("crun", "crun 1.8.1 is older than the fix, and exits with 1 where it refuses");
    let bundle = Bundle::waiting();
    let _container = bundle.started();
    for user in ["4294967295", "-1", "1x", ":1", "1:", "1:4294967295", "1:x", "", "root", "0x1", " 1", "4294967296"] {
        if !crate::harness::is_oarlock() && !matches!(user, "1x" | ":1" | "1:x" | "root") {
            continue;
        }
        let output = exec(&bundle, &[&format!("--user={user}")], &["true"]);
        assert_eq!(output.code, 255, "{user:?}: {output}");
    }
}

#[test]
fn cve_2016_3697_a_user_is_a_number_whatever_the_image_says() {
    let bundle = Bundle::waiting();
    bundle.file("etc/passwd", "1000:x:0:0::/:/bin/sh\n", 0o644);
    let _container = bundle.started();
    exec(&bundle, &["-u", "1000:1000"], &["id", "-u"]).ok().prints("1000");
}

#[test]
fn cve_2024_21626_a_cwd_in_a_descriptor_of_the_runtime_is_refused() {
    let bundle = Bundle::waiting();
    for fd in 3..32 {
        symlink(format!("/proc/self/fd/{fd}"), bundle.rootfs(&format!("fd{fd}"))).unwrap();
    }
    let _container = bundle.started();
    for fd in 3..32 {
        for cwd in [format!("/proc/self/fd/{fd}"), format!("/fd{fd}")] {
            let output = exec(&bundle, &["--cwd", &cwd], &["ls", "."]);
            assert_ne!(output.code, 0, "{cwd}: {output}");
            assert!(output.stdout.is_empty(), "{cwd}: {output}");
        }
    }
}

#[test]
fn cve_2019_5736_the_runtime_cannot_be_written_through_proc() {
    let mut bundle = Bundle::waiting();
    bundle.allow_sys_admin();
    // The program is the runtime itself, if this link leads to it.
    symlink("/proc/self/exe", bundle.rootfs("bin/self")).unwrap();
    let before = std::fs::read(which(crate::harness::runtime::binary())).unwrap();
    let _container = bundle.started();
    let watcher = "while [ ! -e /stop ]; do for p in /proc/[0-9]*/exe; do (: >>$p) 2>/dev/null; done; done; true";
    let running = bundle.rt.spawn(command(&bundle, &[], &["sh", "-c", watcher]));
    for _ in 0..30 {
        exec(&bundle, &[], &["self", "--version"]);
        exec(&bundle, &[], &["true"]).ok();
    }
    bundle.file("stop", "", 0o644);
    running.wait().ok();
    assert_eq!(before, std::fs::read(which(crate::harness::runtime::binary())).unwrap());
}

fn which(name: &str) -> std::path::PathBuf {
    if name.contains('/') {
        return name.into();
    }
    let path = std::env::var("PATH").unwrap();
    path.split(':').map(|dir| std::path::Path::new(dir).join(name)).find(|path| path.exists()).unwrap()
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

#[test]
fn no_new_privileges_and_labels_are_the_containers_or_the_flags() {
    differs!("crun", "crun does not take the container's");
    for (given, flags, expected) in [(true, &[][..], "1"), (false, &[], "0"), (false, &["--no-new-privs"], "1")] {
        let mut bundle = Bundle::waiting();
        bundle.set("/process/noNewPrivileges", given);
        let _container = bundle.started();
        let output = exec(&bundle, flags, &["grep", "NoNewPrivs", "/proc/self/status"]).ok();
        assert_eq!(output.field("NoNewPrivs:"), expected);
    }
}

#[test]
fn a_label_that_the_host_does_not_have_is_refused() {
    if std::path::Path::new("/sys/kernel/security/apparmor").exists() {
        skip!("about hosts without AppArmor");
    }
    differs!("crun", "crun looks first whether there is AppArmor, and goes on without");
    let bundle = Bundle::waiting();
    let _container = bundle.started();
    exec(&bundle, &["--apparmor", "a-profile"], &["true"]).code_is(255);
    if crate::harness::is_oarlock() {
        exec(&bundle, &["--process-label", "a_u:b_r:c_t:s0"], &["true"]).code_is(255).says("a_u:b_r:c_t:s0");
    }
}
