//! `kill`: the forms of a signal, whom it reaches, and what is refused.

use crate::harness::{Bundle, Fifo};

/// A bundle whose program says `ready` and then the name of the signal that it catches.
fn catcher(signal: &str) -> (Bundle, Fifo) {
    let mut bundle = Bundle::new();
    let fifo = Fifo::new(&bundle.rootfs("said"));
    bundle.script(&format!(
        "trap 'echo caught > /said; exit 3' {signal}; echo ready > /said; while :; do sleep 1000 & wait; done"
    ));
    (bundle, fifo)
}

fn caught(trap: &str, form: &[&str]) {
    let (bundle, mut said) = catcher(trap);
    let container = bundle.started();
    assert_eq!(said.line(), "ready");
    container.call("kill", form).ok();
    assert_eq!(said.line(), "caught", "kill {form:?}");
    assert_eq!(container.wait(), 3);
}

#[test]
fn kill_without_a_signal_sends_sigterm() {
    caught("TERM", &[]);
}

#[test]
fn a_signal_can_be_named_without_sig() {
    caught("USR1", &["USR1"]);
}

#[test]
fn a_signal_can_be_named_with_sig() {
    caught("USR1", &["SIGUSR1"]);
}

#[test]
fn a_signal_can_be_named_in_lower_case() {
    differs!("crun", "crun takes a name in lower case for signal 0");
    caught("HUP", &["sighup"]);
    caught("HUP", &["hup"]);
}

#[test]
fn a_signal_can_be_a_number() {
    caught("USR2", &["12"]);
}

#[test]
fn a_signal_can_be_a_real_time_one() {
    differs!("runc", "runc's signal names come from x/sys/unix, which knows no SIGRTMIN");
    caught("35", &["RTMIN+1"]);
}

#[test]
fn a_real_time_signal_can_be_named_with_sig() {
    differs!("runc", "runc's signal names come from x/sys/unix, which knows no SIGRTMIN");
    caught("36", &["SIGRTMIN+2"]);
}

#[test]
fn every_form_of_sigkill_kills() {
    differs!("crun", "crun takes a name in lower case for signal 0");
    for form in ["KILL", "SIGKILL", "sigkill", "9"] {
        let bundle = Bundle::waiting();
        let container = bundle.started();
        container.kill(form);
        assert_eq!(container.wait(), 137, "{form}");
    }
}

#[test]
fn an_unknown_signal_is_refused_and_nothing_is_sent() {
    differs!("crun", "crun takes an unknown name for signal 0 and reports success");
    let bundle = Bundle::waiting();
    let container = bundle.started();
    for signal in ["NOPE", "SIG", "SIGSIGKILL", "KILL "] {
        let text = format!("unknown signal {signal:?}");
        container.call("kill", &[signal]).failed().says_as_runc(&text);
    }
    assert_eq!(container.status(), "running");
}

#[test]
fn a_signal_number_that_does_not_exist_is_refused() {
    differs!("crun", "crun takes any number as a C int");
    let bundle = Bundle::waiting();
    let container = bundle.started();
    differs!("runc", "runc hands any number to the kernel as a C int: 4294967305 is SIGKILL");
    for signal in ["65", "1000", "4294967305"] {
        container.call("kill", &[signal]).failed();
    }
    assert_eq!(container.status(), "running");
}

#[test]
fn killing_a_stopped_container_is_refused_in_the_words_that_containerd_knows() {
    let bundle = Bundle::sh("exit 0");
    let container = bundle.started();
    container.wait();
    let refusal = container.call("kill", &["KILL"]).failed();
    // containerd (checkKillError) and CRI-O take these as "it has gone already".
    refusal.says_as_runc("container not running");
}

#[test]
fn killing_a_container_that_does_not_exist_says_so() {
    let bundle = Bundle::new();
    let refusal = bundle.rt.call(["kill", "there-is-none", "KILL"]).failed();
    refusal.says_as_runc("does not exist");
}

#[test]
fn a_created_container_can_be_killed() {
    let bundle = Bundle::waiting();
    let container = bundle.create();
    container.kill("KILL");
    assert_eq!(container.wait(), 137);
}

#[test]
fn kill_reaches_only_init_unless_all_is_asked() {
    let mut bundle = Bundle::new();
    let mut said = Fifo::new(&bundle.rootfs("said"));
    bundle.script(
        "(trap 'echo child > /said; exit' USR1; echo ready > /said; while :; do sleep 1000 & wait; done) &
         trap 'echo init > /said' USR1; echo ready > /said; while :; do wait; done",
    );
    let container = bundle.started();
    assert_eq!([said.line(), said.line()], ["ready", "ready"]);
    container.kill("USR1");
    assert_eq!(said.line(), "init");
    assert!(said.is_empty(), "the child was signalled too");
}

#[test]
fn kill_all_reaches_every_process_of_the_container() {
    let mut bundle = Bundle::new();
    let mut said = Fifo::new(&bundle.rootfs("said"));
    bundle.script(
        "(trap 'echo child > /said; exit' USR1; echo ready > /said; while :; do sleep 1000 & wait; done) &
         trap 'echo init > /said' USR1; echo ready > /said; while :; do wait; done",
    );
    let container = bundle.started();
    assert_eq!([said.line(), said.line()], ["ready", "ready"]);
    container.call("kill", &["--all", "USR1"]).ok();
    let mut both = [said.line(), said.line()];
    both.sort();
    assert_eq!(both, ["child", "init"]);
}

#[test]
fn kill_all_of_a_stopped_container_has_nothing_to_do() {
    let bundle = Bundle::sh("exit 0");
    let container = bundle.started();
    container.wait();
    for signal in ["KILL", "TERM"] {
        container.call("kill", &["--all", signal]).ok().prints("");
    }
    bundle.rt.call(["kill", "--all", "there-is-none", "KILL"]).failed().says_as_runc("does not exist");
}

#[test]
fn without_a_pid_namespace_kill_all_ends_what_init_left_behind() {
    let mut bundle = Bundle::new();
    let mut said = Fifo::new(&bundle.rootfs("said"));
    bundle.no_namespace("pid");
    bundle.script("sleep 1000 & echo $! > /said; exec sleep 1001");
    let container = bundle.started();
    let child = crate::harness::sys::pidfd_open(said.line().parse().unwrap()).unwrap();
    container.call("kill", &["-a", "KILL"]).ok();
    assert_eq!(container.wait(), 137);
    use std::os::fd::AsFd;
    assert!(crate::harness::sys::wait_readable(child.as_fd(), crate::harness::sys::DEADLINE));
}

#[test]
fn without_a_pid_namespace_delete_force_ends_every_process() {
    let mut bundle = Bundle::new();
    let mut said = Fifo::new(&bundle.rootfs("said"));
    bundle.no_namespace("pid");
    bundle.script("sleep 1000 & echo ready > /said; exec sleep 1001");
    let container = bundle.started();
    assert_eq!(said.line(), "ready");
    container.delete_force();
    // What is left of it would fail the check at the bundle's end.
}

#[test]
fn options_of_kill_may_stand_on_either_side_of_the_id() {
    let bundle = Bundle::waiting();
    let container = bundle.started();
    bundle.rt.call(["kill", "--all", &bundle.id, "KILL"]).ok();
    assert_eq!(container.wait(), 137);
}

#[test]
fn without_a_pid_namespace_killing_what_has_all_ended_is_refused() {
    let mut bundle = Bundle::sh("true");
    bundle.no_namespace("pid");
    let container = bundle.started();
    container.wait();
    container.call("kill", &["KILL"]).failed().says_as_runc("container not running");
}
