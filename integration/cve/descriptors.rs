//! CVE-2024-21626: a descriptor of a host directory, or a working directory that leads through one.

use std::os::unix::fs::symlink;

use crate::exec::exec;
use crate::harness::{Bundle, is_oarlock};

#[test]
fn cve_2024_21626_cwd_in_a_leaked_descriptor_never_shows_the_host() {
    for fd in 3..40 {
        let mut bundle = Bundle::sh("cat ../../../../../../../../../../host-marker 2>/dev/null; echo in");
        bundle.set("/process/cwd", format!("/proc/self/fd/{fd}"));
        let output = bundle.run();
        assert!(output.code != 0 || output.stdout.trim() == "in", "fd {fd}: {output}");
        let outside = output.stdout.contains("host-marker");
        assert!(!outside, "fd {fd}: {output}");
        if is_oarlock() {
            assert_ne!(output.code, 0, "fd {fd}: {output}");
        }
    }
}

#[test]
fn cve_2024_21626_a_cwd_link_in_the_image_to_a_descriptor_is_refused() {
    for fd in [3, 5, 7, 8, 9] {
        let mut bundle = Bundle::sh("ls -a");
        symlink(format!("/proc/self/fd/{fd}"), bundle.rootfs("work")).unwrap();
        bundle.set("/process/cwd", "/work");
        let output = bundle.run();
        assert_ne!(output.code, 0, "fd {fd}: {output}");
    }
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
