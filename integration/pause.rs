//! `pause` and `resume`: that everything stands still, what is refused meanwhile, and that a paused container can be
//! killed.

use crate::harness::{Bundle, Container, Fifo, cgroup};

/// A program that answers each line on `/ask` with one on `/said`.
fn echo() -> (Bundle, Fifo, Fifo) {
    let mut bundle = Bundle::new();
    let (ask, said) = (Fifo::new(&bundle.rootfs("ask")), Fifo::new(&bundle.rootfs("said")));
    bundle.script("exec 3<>/ask 4<>/said; while read line <&3; do echo \"$line\" >&4; done");
    (bundle, ask, said)
}

/// Does the kernel say that the container's processes stand still?
fn stands_still(bundle: &Bundle) -> bool {
    if cgroup::has_v1("freezer") {
        return cgroup::read("freezer", &bundle.cgroup(), "freezer.state") == "FROZEN";
    }
    cgroup::read("", &bundle.cgroup(), "cgroup.events").contains("frozen 1")
}

#[test]
fn a_paused_container_stands_still_until_it_is_resumed() {
    let (bundle, mut ask, mut said) = echo();
    let container = bundle.started();
    ask.tell("one");
    assert_eq!(said.line(), "one");
    container.call("pause", &[]).ok();
    assert_eq!(container.status(), "paused");
    assert!(stands_still(&bundle));
    ask.tell("two");
    assert!(said.is_empty());
    container.call("resume", &[]).ok();
    assert_eq!(said.line(), "two");
    assert_eq!(container.status(), "running");
    assert!(!stands_still(&bundle));
}

#[test]
fn a_container_that_is_only_created_can_be_paused() {
    differs!("crun", "crun starts a paused container, which goes on when it is resumed");
    let bundle = Bundle::waiting();
    let container = bundle.create();
    container.call("pause", &[]).ok();
    assert_eq!(container.status(), "paused");
    container.call("start", &[]).failed().says_as_runc("cannot start a container in the paused state");
    container.call("resume", &[]).ok();
    assert_eq!(container.status(), "created");
    container.start();
    assert_eq!(container.status(), "running");
}

#[test]
fn pausing_twice_is_refused_in_runcs_words() {
    differs!("crun", "crun pauses what is paused");
    let bundle = Bundle::waiting();
    let container = bundle.started();
    container.call("pause", &[]).ok();
    container.call("pause", &[]).failed().says("container not running");
    assert_eq!(container.status(), "paused");
}

#[test]
fn resuming_what_runs_is_refused_in_runcs_words() {
    differs!("crun", "crun resumes what runs");
    let bundle = Bundle::waiting();
    let container = bundle.started();
    container.call("resume", &[]).failed().says("container not paused");
}

#[test]
fn a_stopped_container_is_neither_paused_nor_resumed() {
    differs!("crun", "crun freezes the empty cgroup");
    let bundle = Bundle::sh("true");
    let container = bundle.started();
    container.wait();
    container.call("pause", &[]).failed().says("container not running");
    container.call("resume", &[]).failed().says("container not paused");
    assert_eq!(container.status(), "stopped");
}

#[test]
fn a_missing_container_is_neither_paused_nor_resumed() {
    let bundle = Bundle::waiting();
    for verb in ["pause", "resume"] {
        bundle.rt.call([verb, "missing"]).failed().says_as_runc("container does not exist");
    }
}

#[test]
fn sigkill_ends_a_paused_container() {
    differs!("crun", "crun leaves it frozen");
    let bundle = Bundle::waiting();
    let container = bundle.started();
    container.call("pause", &[]).ok();
    container.kill("KILL");
    assert_eq!(container.wait(), 137);
    assert_eq!(container.status(), "stopped");
    container.delete();
}

#[test]
fn sigkill_ends_a_paused_container_that_shares_the_hosts_pids() {
    let mut bundle = Bundle::new();
    let mut said = Fifo::new(&bundle.rootfs("said"));
    bundle.script("sleep 1000 & echo ready > /said; wait").no_namespace("pid");
    let container = bundle.started();
    assert_eq!(said.line(), "ready");
    container.call("pause", &[]).ok();
    container.call("kill", &["--all", "KILL"]).ok();
    assert_eq!(container.wait(), 137);
}

#[test]
fn another_signal_waits_until_the_container_is_resumed() {
    let mut bundle = Bundle::new();
    let mut said = Fifo::new(&bundle.rootfs("said"));
    bundle.script("trap 'echo caught > /said' TERM; echo ready > /said; while :; do sleep 1000 & wait; done");
    let container = bundle.started();
    assert_eq!(said.line(), "ready");
    container.call("pause", &[]).ok();
    container.kill("TERM");
    assert_eq!(container.status(), "paused");
    assert!(said.is_empty());
    container.call("resume", &[]).ok();
    assert_eq!(said.line(), "caught");
}

fn paused(bundle: &Bundle) -> Container<'_> {
    let container = bundle.started();
    container.call("pause", &[]).ok();
    container
}

#[test]
fn a_paused_container_is_not_deleted() {
    let bundle = Bundle::waiting();
    let container = paused(&bundle);
    let text = format!("cannot delete container {} that is not stopped: paused", bundle.id);
    container.call("delete", &[]).failed().says_as_runc(&text);
    assert_eq!(container.status(), "paused");
}

#[test]
fn a_paused_container_is_deleted_by_force() {
    let bundle = Bundle::waiting();
    paused(&bundle).delete_force();
}
