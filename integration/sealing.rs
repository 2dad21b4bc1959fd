//! How the program starts anew before it enters a container (CVE-2019-5736): by what calls, and what it does where the
//! kernel refuses one. That the binary is then out of reach is for `cve/binary.rs` to show.

use std::fs;
use std::process::{Command, Stdio};

use crate::harness::{Bundle, base};

/// The system calls of an exec into no container, up to the second start. `before`: words that start strace.
fn calls_to_the_second_start(before: &[&str]) -> Vec<String> {
    let bundle = Bundle::new();
    let trace = base::dir().join(format!("{}.trace", bundle.id));
    let command = bundle.rt.command(["exec", "none", "true"]);
    let words = [before, &["strace", "-qq", "-o", trace.to_str().unwrap()]].concat();
    let mut strace = Command::new(words[0]);
    strace.args(&words[1..]).arg(command.get_program()).args(command.get_args()).stdin(Stdio::null());
    bundle.rt.finish(strace).code_is(255).says("container does not exist");
    let text = fs::read_to_string(&trace).unwrap();
    fs::remove_file(&trace).unwrap();
    let mut calls: Vec<String> = text.lines().skip(1).map(str::to_owned).collect();
    let second = calls.iter().position(|call| call.starts_with("execveat(")).expect("no second start");
    assert!(calls[second].contains("\"oarlock:sealed\"") && calls[second].ends_with("= 0"), "{}", calls[second]);
    calls.truncate(second);
    calls
}

/// The name of each call; the number of one that strace does not know.
fn names(calls: &[String]) -> Vec<&str> {
    calls.iter().map(|call| call.split('(').next().unwrap()).map(|name| name.trim_start_matches("syscall_")).collect()
}

#[cfg(target_arch = "x86_64")]
#[test]
fn the_first_start_ends_before_libc_begins() {
    only_oarlock!("it is how ours does it");
    match names(&calls_to_the_second_start(&[]))[..] {
        ["statfs", "open_tree_attr" | "0x1d3"] => {}
        // Before Linux 6.15.
        ["statfs", "open_tree_attr" | "0x1d3", "open_tree", "mount_setattr"] => {}
        ref others => panic!("{others:?}"),
    }
}

#[test]
fn where_no_mount_can_be_cloned_it_starts_from_a_sealed_copy() {
    only_oarlock!("it is how ours does it");
    let calls = calls_to_the_second_start(&["setpriv", "--bounding-set=-sys_admin"]);
    let sealed = |call: &String| call.contains("F_ADD_SEALS") && call.contains("F_SEAL_WRITE");
    assert!(names(&calls).contains(&"memfd_create") && calls.iter().any(sealed), "{calls:?}");
}
