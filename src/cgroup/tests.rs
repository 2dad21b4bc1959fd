//! Effects on this host's cgroups, whatever their layout; what it cannot show is skipped, with a word why. Run them in
//! a pure v2 view as well.

use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::{Value, json};

use super::layout::{Kind, Layout};
use super::*;
use crate::plan::testing::{on, options};
use crate::plan::{Options, cgroup};

/// Ends the test where the host cannot show it.
macro_rules! need {
    ($what:expr, $why:expr) => {
        if !$what {
            println!("SKIP: {}", $why);
            return;
        }
    };
}

mod limits;
mod undo;

fn root() -> bool {
    nix::unistd::geteuid().is_root()
}

fn layout() -> Layout {
    Layout::probe().unwrap()
}

fn has(controller: &str) -> bool {
    let layout = layout();
    layout.v1(controller).is_some() || layout.v2.is_some_and(|v2| v2.controllers.iter().any(|c| c == controller))
}

/// A cgroup that is gone when the test is over, however it went.
struct Temp(Cgroup);

impl Drop for Temp {
    fn drop(&mut self) {
        let _ = self.0.kill(libc::SIGKILL);
        self.0.remove().unwrap();
    }
}

fn name() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("/oarlock-test-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

fn plan(path: &str, resources: Value) -> CgroupPlan {
    let spec = json!({ "ociVersion": "1.2.0", "linux": { "cgroupsPath": path, "resources": resources } });
    cgroup::compile(&serde_json::from_value(spec).unwrap(), &options(), &on(layout()), &mut Vec::new(), &mut Vec::new())
        .unwrap()
}

fn update(resources: Value) -> Limits {
    let resources = serde_json::from_value(resources).unwrap();
    cgroup::compile_update(&resources, "", &layout(), &mut Vec::new()).unwrap()
}

fn create(resources: Value) -> Temp {
    Temp(Cgroup::create(&plan(&name(), resources)).unwrap())
}

impl Temp {
    fn dir(&self, controller: &str) -> PathBuf {
        self.0.dirs().find(|d| d.has(controller)).or(self.0.place.v2.as_ref()).unwrap().path()
    }

    fn read(&self, controller: &str, file: &str) -> String {
        file::read(&self.dir(controller).join(file)).unwrap().trim().to_owned()
    }

    /// Runs a shell script inside, and returns when it has printed its first line.
    fn run(&self, script: &str) -> (Child, String) {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "cgroup::tests::inside", "--nocapture", "--test-threads=1"])
            .env("OARLOCK_TEST_CGROUP", serde_json::to_string(self.0.place()).unwrap())
            .env("OARLOCK_TEST_SCRIPT", script)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.as_mut().unwrap()).lines();
        let line = lines.map(Result::unwrap).find_map(|l| Some(l.split_once("> ")?.1.to_owned()));
        (child, line.unwrap_or_default())
    }
}

/// No test: the process inside the cgroup, which is of one thread as a container's init is.
#[test]
fn inside() {
    let Ok(cgroup) = std::env::var("OARLOCK_TEST_CGROUP") else {
        return;
    };
    let cgroup = Cgroup::from(serde_json::from_str::<Place>(&cgroup).unwrap());
    join_self(&cgroup.join_fds().unwrap().tasks).unwrap();
    if let Some(v2) = &cgroup.place.v2 {
        file::put(&v2.path().join("cgroup.procs"), "0").unwrap();
    }
    let error = Command::new("sh").arg("-c").arg(std::env::var("OARLOCK_TEST_SCRIPT").unwrap()).exec();
    panic!("{error}");
}

#[test]
fn a_joined_child_is_in_every_hierarchy() {
    need!(root(), "needs root");
    let cgroup = create(json!({}));
    let (child, _) = cgroup.run("echo '> in'; exec cat");
    let of = std::fs::read_to_string(format!("/proc/{}/cgroup", child.id())).unwrap();
    for dir in cgroup.0.dirs() {
        let below = format!(":/{}", dir.below.display());
        let v2 = cgroup.0.place.v2.as_ref() == Some(dir);
        let line = of.lines().find(|l| if v2 { l.starts_with("0::") } else { l.contains(&dir.controllers[0]) });
        assert!(line.unwrap().ends_with(&below), "{below} in {of}");
    }
    assert_eq!(cgroup.0.pids(false).unwrap(), [child.id() as i32]);
    let error = Cgroup::create(&plan(
        cgroup.0.dirs().next().map(|d| format!("/{}", d.below.display())).unwrap().as_str(),
        json!({}),
    ));
    assert!(format!("{:#}", error.unwrap_err()).ends_with("container's cgroup is not empty: 1 process(es) found"));
}

#[test]
fn a_frozen_cgroup_is_refused_and_a_thawed_one_used_again() {
    need!(root(), "needs root");
    let cgroup = create(json!({}));
    let again = plan(&format!("/{}", cgroup.0.dirs().next().unwrap().below.display()), json!({}));
    cgroup.0.freeze().unwrap();
    assert!(cgroup.0.is_frozen().unwrap());
    let error = Cgroup::create(&again).unwrap_err();
    assert!(format!("{error:#}").ends_with("container's cgroup unexpectedly frozen"));
    cgroup.0.thaw().unwrap();
    assert!(!cgroup.0.is_frozen().unwrap());
    assert_eq!(Cgroup::create(&again).unwrap().place(), cgroup.0.place());
}

#[test]
fn devices_not_in_the_rules_cannot_be_opened() {
    need!(root(), "needs root");
    let rules = json!({ "devices": [
        { "allow": false, "access": "rwm" },
        { "allow": true, "type": "c", "major": 1, "minor": 11, "access": "w" }
    ] });
    // /dev/kmsg (1:11) may be written only, /dev/mem (1:1) not be opened, and /dev/zero (1:5) is a default. mknod is
    // allowed for all, and gives nothing.
    let script = "try() { if \"$@\" 2>/dev/null; then printf 1; else printf 0; fi; }; cd \"$(mktemp -d)\"; printf '> '
        try sh -c ': > /dev/null'; try sh -c 'head -c1 /dev/zero >/dev/null'; try mknod k c 1 11
        try sh -c ': > k'; try sh -c ': < k'; try mknod m c 1 1; try sh -c ': < m'; echo; rm -r \"$PWD\"";
    let cgroup = create(rules);
    let (mut child, seen) = cgroup.run(script);
    child.wait().unwrap();
    assert_eq!(seen, "1111010");
    if let (Kind::V2, Some(dir)) = (layout().kind(), &cgroup.0.place.v2) {
        // A second program takes the first one's place.
        let rules = plan("/x", json!({})).limits.devices.unwrap();
        devices::attach(&dir.path(), &rules, false).unwrap();
        let dir = file::open(&dir.path(), OFlag::O_RDONLY).unwrap();
        assert_eq!(sys::bpf::attached(&dir).unwrap().len(), 1);
        let (mut child, seen) = cgroup.run(script);
        child.wait().unwrap();
        assert_eq!(seen, "1110010");
    }
}

#[test]
fn removal_takes_the_cgroups_below_and_nothing_above() {
    need!(root(), "needs root");
    let top = name();
    let plan = plan(&format!("{top}/mid/leaf"), json!({}));
    let cgroup = Cgroup::create(&plan).unwrap();
    let leaves: Vec<PathBuf> = cgroup.dirs().map(Dir::path).collect();
    for leaf in &leaves {
        std::fs::create_dir_all(leaf.join("a/b")).unwrap();
        std::fs::create_dir(leaf.join("c")).unwrap();
    }
    cgroup.remove().unwrap();
    cgroup.remove().unwrap();
    for leaf in leaves {
        assert!(!leaf.exists());
        let mid = leaf.parent().unwrap();
        file::rmdir(mid).unwrap();
        file::rmdir(mid.parent().unwrap()).unwrap();
    }
}

#[test]
fn removal_of_a_cgroup_in_use_says_who_is_in_it() {
    need!(root(), "needs root");
    let cgroup = create(json!({}));
    let (child, _) = cgroup.run("echo '> in'; exec cat");
    let error = format!("{:#}", cgroup.0.remove().unwrap_err());
    assert!(error.contains("resource busy") && error.contains(&child.id().to_string()), "{error}");
}

/// Forks as fast as it can.
const BOMB: &str = "bomb() { while :; do (bomb) & done; }; echo '> on'; bomb 2>/dev/null";

#[test]
fn kill_ends_a_fork_bomb() {
    need!(root(), "needs root");
    need!(has("pids"), "no pids controller to keep the bomb small");
    let cgroup = create(json!({ "pids": { "limit": 60 } }));
    let (mut child, _) = cgroup.run(BOMB);
    cgroup.0.kill(libc::SIGKILL).unwrap();
    assert_eq!(cgroup.0.pids(true).unwrap(), [] as [i32; 0]);
    child.wait().unwrap();
}

#[test]
fn kill_reaches_what_is_frozen_and_what_is_below() {
    need!(root(), "needs root");
    let cgroup = create(json!({}));
    let (mut child, _) = cgroup.run("sleep 1000 & sleep 1000 & echo '> on'; wait");
    let pids = cgroup.0.pids(true).unwrap();
    assert_eq!(pids.len(), 3);
    for dir in cgroup.0.dirs() {
        let below = dir.path().join("below");
        std::fs::create_dir(&below).unwrap();
        for name in ["cpuset.cpus", "cpuset.mems"].iter().filter(|_| dir.has("cpuset") && layout().kind() != Kind::V2) {
            file::put(&below.join(name), file::read(&dir.path().join(name)).unwrap().trim()).unwrap();
        }
        file::put(&below.join("cgroup.procs"), &pids[2].to_string()).unwrap();
    }
    assert_eq!((cgroup.0.pids(false).unwrap().len(), cgroup.0.pids(true).unwrap().len()), (2, 3));
    cgroup.0.freeze().unwrap();
    cgroup.0.kill(libc::SIGKILL).unwrap();
    assert_eq!(cgroup.0.pids(true).unwrap(), [] as [i32; 0]);
    child.wait().unwrap();
}

#[test]
fn another_signal_reaches_all_and_leaves_a_paused_container_paused() {
    need!(root(), "needs root");
    let cgroup = create(json!({}));
    let (mut child, _) = cgroup.run("trap 'echo got; exit 3' USR1; sleep 1000 & echo '> on'; wait");
    cgroup.0.freeze().unwrap();
    cgroup.0.kill(libc::SIGUSR1).unwrap();
    assert!(cgroup.0.is_frozen().unwrap());
    cgroup.0.thaw().unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(3));
    assert!(!cgroup.0.is_frozen().unwrap());
}

#[test]
fn what_is_gone_is_not_frozen() {
    need!(root(), "needs root");
    let cgroup = create(json!({}));
    cgroup.0.freeze().unwrap();
    cgroup.0.remove().unwrap();
    cgroup.0.thaw().unwrap();
    assert!(!cgroup.0.is_frozen().unwrap());
}

#[test]
fn what_is_below_is_removed_with_it_though_the_time_is_up() {
    need!(root(), "needs root");
    let cgroup = create(json!({}));
    for dir in cgroup.0.dirs() {
        std::fs::create_dir_all(dir.path().join("a/b")).unwrap();
        std::fs::create_dir_all(dir.path().join("c")).unwrap();
    }
    for dir in cgroup.0.dirs() {
        let v2 = cgroup.0.place.v2.as_ref().is_some_and(|v2| std::ptr::eq(v2, dir));
        remove::remove(&dir.path(), v2, Deadline::after(std::time::Duration::ZERO)).unwrap();
        assert!(!dir.path().exists());
    }
}

#[test]
fn a_threaded_subtree_is_refused() {
    need!(root(), "needs root");
    need!(layout().v2.is_some(), "no v2 hierarchy");
    let parent = create(json!({}));
    let v2 = parent.0.place.v2.as_ref().unwrap();
    std::fs::create_dir(v2.path().join("t")).unwrap();
    file::put(&v2.path().join("t/cgroup.type"), "threaded").unwrap();
    let error = Cgroup::create(&plan(&format!("/{}/c", v2.below.display()), json!({}))).unwrap_err();
    assert!(format!("{error:#}").contains("it is in an invalid state"), "{error:#}");
    assert!(!v2.path().join("c").exists());
}

#[test]
fn a_delegated_cgroup_belongs_to_its_user() {
    use std::os::unix::fs::MetadataExt;
    need!(root(), "needs root");
    need!(layout().kind() == Kind::V2, "not pure v2");
    let mut plan = plan(&name(), json!({}));
    plan.owner = Some(1234);
    let cgroup = Temp(Cgroup::create(&plan).unwrap());
    let dir = cgroup.0.place.v2.as_ref().unwrap().path();
    let uid = |file: &str| std::fs::metadata(dir.join(file)).unwrap().uid();
    assert_eq!((uid("."), uid("cgroup.procs"), uid("cgroup.subtree_control")), (1234, 1234, 1234));
    assert_eq!((uid("cgroup.max.depth"), uid("cgroup.freeze")), (0, 0));
}

#[test]
fn without_rights_only_a_container_that_asks_for_nothing_goes_on() {
    need!(!root(), "needs an ordinary user");
    let make = |linux: Value| {
        let spec = json!({ "ociVersion": "1.2.0", "linux": linux });
        let spec = serde_json::from_value(spec).unwrap();
        let rootless = Options { id: name().replace('/', ""), rootless: true, ..options() };
        Cgroup::create(&cgroup::compile(&spec, &rootless, &on(layout()), &mut Vec::new(), &mut Vec::new()).unwrap())
    };
    let cgroup = make(json!({})).unwrap();
    assert!(cgroup.dirs().next().is_none() && cgroup.join_fds().unwrap().tasks.is_empty());
    cgroup.kill(libc::SIGKILL).unwrap();
    cgroup.remove().unwrap();
    let error = format!("{:#}", make(json!({ "cgroupsPath": name() })).unwrap_err());
    assert!(error.contains("permission denied"), "{error}");
    need!(has("memory"), "no memory controller");
    let error = format!("{:#}", make(json!({ "resources": { "memory": { "limit": 5 << 20 } } })).unwrap_err());
    assert!(error.ends_with("cannot set memory limit: container could not join or create cgroup"), "{error}");
}
