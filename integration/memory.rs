//! The memory that a container needs of its own to start, and what is said where it has less.

use crate::harness::{Bundle, cgroup, json};

/// What `launch/serve.rs` promises: bytes.
fn need() -> u64 {
    if cgroup::is_v2() { 2 << 20 } else { 1 << 20 }
}

fn can_limit() -> bool {
    if cgroup::is_v2() { cgroup::has_v2("memory") } else { cgroup::has_v1("memory") }
}

#[test]
fn a_container_starts_with_the_least_memory_that_is_promised() {
    only_oarlock!("a promise of oarlock's alone");
    if !can_limit() {
        skip!("the host has no memory controller");
    }
    let mut bundle = Bundle::new();
    bundle.args(&["/bin/busybox", "echo", "in"]);
    bundle.set("/linux/resources/memory", json!({"limit": need()}));
    for _ in 0..5 {
        bundle.run().ok().prints("in");
    }
}

#[test]
fn a_limit_that_is_too_small_is_named_with_what_is_needed() {
    only_oarlock!("a promise of oarlock's alone");
    if !can_limit() {
        skip!("the host has no memory controller");
    }
    let mut bundle = Bundle::new();
    bundle.set("/linux/resources/memory", json!({"limit": 65_536}));
    let output = bundle.refused().names("linux.resources.memory.limit");
    for number in ["65536", &need().to_string()] {
        assert!(output.stderr.contains(number), "{output}");
    }
}
