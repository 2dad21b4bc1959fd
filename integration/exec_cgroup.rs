//! `exec`: which cgroup the program is born into, and where it goes when that cannot have it.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::exec::{command, exec, reap};
use crate::harness::{Bundle, Container, Fifo, cgroup, json};

/// The v2 cgroup of a process, as its line in /proc/PID/cgroup ends.
fn v2_cgroup(pid: &str) -> String {
    let places = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).expect("cgroup");
    places.lines().find_map(|line| line.strip_prefix("0::")).expect("a v2 cgroup").to_owned()
}

/// Executes a program and tells the v2 cgroup that it is in.
#[track_caller]
fn place_of_exec(bundle: &Bundle) -> String {
    place_of_exec_by(bundle, &[])
}

/// The same, the runtime being called by another program.
#[track_caller]
fn place_of_exec_by(bundle: &Bundle, caller: &[&str]) -> String {
    let file = bundle.path("pid");
    let mut fifo = Fifo::new(&bundle.rootfs("fifo"));
    let flags = ["--detach", "--pid-file", file.to_str().unwrap()];
    let mut call = command(bundle, &flags, &["sh", "-c", "read line </fifo"]);
    if let [program, arguments @ ..] = caller {
        let mut outer = Command::new(program);
        outer.args(arguments).arg(call.get_program()).args(call.get_args()).stdin(Stdio::null());
        call = outer;
    }
    bundle.rt.finish(call).ok();
    let place = v2_cgroup(&std::fs::read_to_string(&file).unwrap());
    fifo.tell("end");
    reap(&file);
    std::fs::remove_file(bundle.rootfs("fifo")).unwrap();
    place
}

/// Has init move to a v2 cgroup of that path, made for it, as an init system or somebody on the host does.
fn moved(container: &Container<'_>, path: &str) -> PathBuf {
    let dir = cgroup::file("", path, "");
    std::fs::create_dir(&dir).expect("a cgroup");
    std::fs::write(dir.join("cgroup.procs"), container.pid.to_string()).expect("init moves");
    dir
}

/// A container with a v2 cgroup of its own, `in` below the one that the bundle has for itself.
fn nested() -> Bundle {
    let mut bundle = Bundle::waiting();
    let path = format!("{}/in", bundle.cgroup());
    bundle.set("/linux/cgroupsPath", path);
    bundle
}

/// Removes what the test has made above the container's own cgroups, once that is deleted.
fn clear(bundle: &Bundle, container: Container<'_>) {
    container.delete_force();
    for dir in cgroup::dirs(&bundle.cgroup()) {
        for below in std::fs::read_dir(&dir).into_iter().flatten().flatten() {
            if below.path().is_dir() {
                std::fs::remove_dir(below.path()).expect("an empty cgroup");
            }
        }
        std::fs::remove_dir(&dir).ok();
    }
}

fn has_no_v2() -> bool {
    !cgroup::dirs("/").iter().any(|dir| dir.join("cgroup.controllers").exists())
}

#[test]
fn a_cgroup_below_the_containers_can_be_asked_for() {
    differs!("crun", "crun ignores it on v1");
    if cgroup::is_v2() {
        let bundle = Bundle::waiting();
        let _container = bundle.started();
        let below = cgroup::file("", &bundle.cgroup(), "below");
        std::fs::create_dir(&below).unwrap();
        exec(&bundle, &["--cgroup", "below"], &["cat", "/proc/self/cgroup"]).ok().prints("0::/below");
        for wrong in ["..", "pids:below", "missing"] {
            exec(&bundle, &["--cgroup", wrong], &["true"]).code_is(255);
        }
        std::fs::remove_dir(&below).unwrap();
        return;
    }
    if !cgroup::has_v1("pids") {
        skip!("the host has no pids controller");
    }
    let bundle = Bundle::waiting();
    let _container = bundle.started();
    let below = cgroup::file("pids", &bundle.cgroup(), "below");
    std::fs::create_dir(&below).unwrap();
    let output = exec(&bundle, &["--cgroup", "pids:below"], &["cat", "/proc/self/cgroup"]).ok();
    let places: Vec<&str> = output.lines().iter().filter(|line| line.ends_with("/below")).copied().collect();
    assert_eq!(places.len(), 1, "{output}");
    assert!(places[0].contains(":pids:"), "{output}");
    for wrong in ["..", "pids:../..", "nonesuch:below", "pids,:below", "missing"] {
        let output = exec(&bundle, &["--cgroup", wrong], &["true"]);
        assert_eq!(output.code, 255, "{wrong}: {output}");
    }
    exec(&bundle, &["--cgroup", "pids:below", "--cgroup", "pids:x"], &["true"]).code_is(255);
    std::fs::remove_dir(&below).unwrap();
}

/// EBUSY: it hands controllers down, so that only those below it may have processes.
#[test]
fn where_the_containers_cgroup_cannot_hold_it_it_joins_inits() {
    if !cgroup::has_v2("hugetlb") {
        skip!("no v2 hierarchy with a controller to hand down");
    }
    differs!("runc", "runc 1.1.5 fails on a hybrid host");
    let mut bundle = Bundle::waiting();
    // For the controller to be handed down as far as the container.
    bundle.set("/linux/resources/hugepageLimits", json!([{ "pageSize": "2MB", "limit": 1 << 30 }]));
    let container = bundle.started();
    // As an init system in the container does: it moves away from the top and hands a controller down.
    let below = format!("{}/below", bundle.cgroup());
    moved(&container, &below);
    std::fs::write(cgroup::file("", &bundle.cgroup(), "cgroup.subtree_control"), "+hugetlb").unwrap();
    let place = place_of_exec(&bundle);
    assert!(place.ends_with("/below"), "{place}");
}

/// ENOENT: the container's own is gone.
#[test]
fn where_the_containers_cgroup_is_gone_it_joins_inits() {
    if has_no_v2() {
        skip!("no cgroup v2 hierarchy");
    }
    differs!("runc", "runc 1.1.5 needs the cgroup that it has made");
    differs!("crun", "crun 1.8.1 needs the cgroup that it has made");
    let bundle = nested();
    let container = bundle.started();
    let outside = format!("{}/outside", bundle.cgroup());
    moved(&container, &outside);
    std::fs::remove_dir(cgroup::file("", &bundle.cgroup(), "in")).expect("nothing is left in it");
    let place = place_of_exec(&bundle);
    assert!(place.ends_with(&outside), "{place}");
    clear(&bundle, container);
}

/// ENOENT of the clone: it goes away once it has been opened.
#[test]
fn where_the_containers_cgroup_goes_away_meanwhile_it_joins_inits() {
    only_oarlock!("other runtimes may clone otherwise");
    if has_no_v2() {
        skip!("no cgroup v2 hierarchy");
    }
    if Command::new("strace").arg("--version").output().is_err() {
        skip!("strace is not installed");
    }
    let bundle = Bundle::waiting();
    let container = bundle.started();
    moved(&container, &format!("{}/below", bundle.cgroup()));
    let strace = ["strace", "-o", "/dev/null", "-e", "trace=clone3", "-e", "inject=clone3:error=ENOENT:when=1"];
    let place = place_of_exec_by(&bundle, &strace);
    assert!(place.ends_with("/below"), "{place}");
    // Undisturbed it is the container's.
    let place = place_of_exec(&bundle);
    assert!(place.ends_with(&bundle.cgroup()), "{place}");
}

/// EOPNOTSUPP: a cgroup beside the container's has become threaded, so that the container's is `domain invalid`.
#[test]
fn where_the_containers_cgroup_is_an_invalid_domain_it_joins_inits() {
    if has_no_v2() {
        skip!("no cgroup v2 hierarchy");
    }
    differs!("runc", "runc 1.1.5 needs the cgroup that it has made");
    differs!("crun", "crun 1.8.1 needs the cgroup that it has made");
    let bundle = nested();
    let container = bundle.started();
    let top = cgroup::file("", &bundle.cgroup(), "");
    // Beside `top`: nothing below may have processes of a domain of its own.
    let outside = format!("{}-outside", bundle.cgroup());
    let outside_dir = moved(&container, &outside);
    // Controllers that threads cannot have would be in the way.
    let control = top.join("cgroup.subtree_control");
    for controller in std::fs::read_to_string(&control).unwrap().split_whitespace() {
        std::fs::write(&control, format!("-{controller}")).unwrap();
    }
    std::fs::create_dir(top.join("threads")).unwrap();
    std::fs::write(top.join("threads/cgroup.type"), "threaded").expect("a threaded cgroup");
    let kind = std::fs::read_to_string(top.join("in/cgroup.type")).unwrap();
    assert_eq!(kind.trim(), "domain invalid");
    let place = place_of_exec(&bundle);
    assert!(place.ends_with(&outside), "{place}");
    clear(&bundle, container);
    std::fs::remove_dir(Path::new(&outside_dir)).unwrap();
}
