//! `ps`: which processes are a container's, as JSON and in the words of ps(1).

use crate::harness::{Bundle, Container, Fifo, Output, cgroup, json};

/// A container with three processes, two of them in a cgroup below its own where that can be made.
fn family() -> (Bundle, Fifo) {
    let mut bundle = Bundle::new();
    let said = Fifo::new(&bundle.rootfs("said"));
    bundle.unmount("/sys/fs/cgroup").mount("/sys/fs/cgroup", "cgroup", "cgroup", &[]);
    let place = if cgroup::is_v2() { "/sys/fs/cgroup" } else { "/sys/fs/cgroup/*" };
    bundle.script(&format!(
        "for d in {place}; do mkdir -p $d/below; cat $d/cpuset.cpus > $d/below/cpuset.cpus; cat $d/cpuset.mems > $d/below/cpuset.mems; done 2>/dev/null
         sh -c 'for d in {place}; do echo $$ > $d/below/cgroup.procs; done; sleep 1000 & echo ready > /said; wait' & wait"
    ));
    (bundle, said)
}

fn ps(container: &Container<'_>, bundle: &Bundle, flags: &[&str], options: &[&str]) -> Output {
    let _ = container;
    bundle.rt.call([&["ps"], flags, &[&bundle.id], options].concat())
}

/// What the host knows: init, its child, and the child's child.
fn family_of(init: i32) -> Vec<i32> {
    let children = |pid: i32| -> Vec<i32> {
        let list = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).expect("children");
        list.split_whitespace().map(|pid| pid.parse().expect("pid")).collect()
    };
    let mut all = vec![init];
    for child in children(init) {
        all.push(child);
        all.extend(children(child));
    }
    all.sort_unstable();
    all
}

#[test]
fn json_is_an_array_of_all_processes_and_nothing_else() {
    let (bundle, mut said) = family();
    let container = bundle.started();
    assert_eq!(said.line(), "ready");
    let output = ps(&container, &bundle, &["--format", "json"], &[]).ok();
    let mut found: Vec<i32> = serde_json::from_value(output.json()).expect("an array of pids");
    found.sort_unstable();
    let expected = family_of(container.pid);
    assert_eq!(expected.len(), 3, "{expected:?}");
    assert_eq!(found, expected);
}

#[test]
fn the_table_is_what_ps_says_of_the_containers_processes() {
    differs!("crun", "crun's table is a list of pids of its own");
    let (bundle, mut said) = family();
    let container = bundle.started();
    assert_eq!(said.line(), "ready");
    let output = ps(&container, &bundle, &[], &[]).ok();
    let lines = output.lines();
    assert!(lines[0].starts_with("UID"), "{output}");
    let mut found: Vec<i32> =
        lines[1..].iter().map(|line| line.split_whitespace().nth(1).unwrap().parse().unwrap()).collect();
    found.sort_unstable();
    assert_eq!(found, family_of(container.pid));
}

#[test]
fn options_for_ps_are_passed_on() {
    differs!("crun", "crun knows no options for ps");
    let bundle = Bundle::waiting();
    let container = bundle.started();
    let output = ps(&container, &bundle, &[], &["-e", "-o", "comm,pid"]).ok();
    let rows: Vec<Vec<&str>> = output.lines().iter().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows, [vec!["COMMAND", "PID"], vec!["sleep", &container.pid.to_string()]]);
    // Also those that are flags of ours: they stand behind the name.
    let output = ps(&container, &bundle, &[], &["-f", "-p", &container.pid.to_string()]).ok();
    assert!(output.lines()[0].starts_with("UID"), "{output}");
    let output = ps(&container, &bundle, &[], &["aux"]).ok();
    assert!(output.lines()[0].starts_with("USER"), "{output}");
}

#[test]
fn options_that_leave_out_the_pid_are_refused() {
    differs!("crun", "crun knows no options for ps");
    let bundle = Bundle::waiting();
    let container = bundle.started();
    let output = ps(&container, &bundle, &[], &["-e", "-o", "comm"]).failed();
    output.says("couldn't find PID field in ps output");
    ps(&container, &bundle, &[], &["--no-such-option"]).failed();
}

#[test]
fn a_created_container_has_its_init() {
    let bundle = Bundle::waiting();
    let container = bundle.create();
    let output = ps(&container, &bundle, &["-f", "json"], &[]).ok();
    assert_eq!(output.json(), json!([container.pid]));
}

#[test]
fn a_stopped_container_has_no_processes() {
    differs!("crun", "crun prints an empty array");
    let bundle = Bundle::sh("true");
    let container = bundle.started();
    container.wait();
    // As Go writes an empty slice.
    ps(&container, &bundle, &["--format=json"], &[]).ok().prints("null");
    assert_eq!(ps(&container, &bundle, &[], &[]).ok().lines().len(), 1);
}

#[test]
fn ps_of_a_missing_container_is_refused_in_runcs_words() {
    differs!("crun", "crun prints an empty list");
    let bundle = Bundle::waiting();
    bundle.rt.call(["ps", "missing"]).failed().says_as_runc("container does not exist");
}

#[test]
fn a_form_that_is_none_is_refused() {
    let bundle = Bundle::waiting();
    let _container = bundle.create();
    bundle.rt.call(["ps", "--format", "xml", &bundle.id]).failed();
}
