//! The systemd driver: the units that containers are, and that none stays.

use std::process::{Command, Stdio};

use crate::harness::systemd::{
    Foreign, PREFIX, cgroup_of, forgotten, gone, into_slice, path, scoped, show, systemctl, unit, until,
};
use crate::harness::{Bundle, Container, cgroup, json};

#[test]
fn a_container_is_a_scope_that_systemd_leaves_to_it() {
    need_systemd!();
    let bundle = scoped(Bundle::waiting());
    let container = bundle.create();
    let shown = show(&unit(&bundle));
    for (property, value) in [
        ("Slice", "system.slice"),
        ("Delegate", "yes"),
        ("DefaultDependencies", "no"),
        ("ActiveState", "active"),
        ("Transient", "yes"),
        ("ControlGroup", &path(&bundle)),
    ] {
        assert_eq!(shown[property], value, "{property}");
    }
    assert!(shown["Description"].contains(&bundle.id), "{shown:?}");
    assert_eq!(cgroup_of(&container), path(&bundle));
    container.start();
    // The cgroup namespace is rooted in the scope.
    let inside = container.call("exec", &["cat", "/proc/self/cgroup"]).ok();
    let own =
        inside.lines().into_iter().filter(|line| line.contains(if cgroup::is_v2() { "0::" } else { "name=systemd:" }));
    assert!(own.clone().count() == 1 && own.clone().all(|line| line.ends_with(":/")), "{inside}");
    container.kill("KILL").wait();
    container.delete();
    gone(&bundle);
}

#[test]
fn a_container_without_a_path_is_in_the_default_slice() {
    need_systemd!();
    differs!("crun", "crun names the scope after itself");
    let mut bundle = scoped(Bundle::waiting());
    bundle.remove("/linux/cgroupsPath");
    let container = bundle.create();
    let unit = format!("runc-{}.scope", bundle.id);
    assert_eq!(cgroup_of(&container), format!("/system.slice/{unit}"));
    container.delete_force();
    assert_eq!(show(&unit)["LoadState"], "not-found");
}

#[test]
fn a_nested_slice_is_made() {
    need_systemd!();
    let outer = format!("{PREFIX}_{}", crate::harness::base::unique().replace('-', "_"));
    let (parent, slice) = (format!("{outer}.slice"), format!("{outer}-inner.slice"));
    let bundle = into_slice(Bundle::waiting(), &slice);
    let container = bundle.create();
    assert_eq!(cgroup_of(&container), format!("/{parent}/{slice}/{}", unit(&bundle)));
    container.delete_force();
    assert_eq!(show(&unit(&bundle))["LoadState"], "not-found");
    // systemd keeps a slice until it is told; the outer one takes the inner with it.
    systemctl(&["stop", &parent]);
    forgotten(&format!("{outer}*"));
}

#[test]
fn pause_and_resume_work_in_a_scope() {
    need_systemd!();
    let bundle = scoped(Bundle::waiting());
    let container = bundle.started();
    container.call("pause", &[]).ok();
    assert_eq!(container.status(), "paused");
    container.call("resume", &[]).ok();
    assert_eq!(container.status(), "running");
    container.call("pause", &[]).ok();
    container.delete_force();
    gone(&bundle);
}

#[test]
fn twenty_containers_leave_no_unit() {
    need_systemd!();
    let bundles: Vec<Bundle> = (0..20).map(|_| scoped(Bundle::waiting())).collect();
    let containers: Vec<Container> = bundles.iter().map(Bundle::started).collect();
    let count = |state: &str| {
        let pattern = format!("{PREFIX}-*.scope");
        let units = systemctl(&["list-units", "--all", "--plain", "--no-legend", state, &pattern]);
        units.lines().filter(|line| bundles.iter().any(|bundle| line.starts_with(&unit(bundle)))).count()
    };
    assert_eq!(count("--state=active"), 20);
    for (i, container) in containers.into_iter().enumerate() {
        if i % 2 == 0 {
            container.delete_force();
        } else {
            container.kill("KILL").wait();
            container.delete();
        }
    }
    assert_eq!(count("--state=active,failed,inactive,activating,deactivating"), 0);
    bundles.iter().for_each(gone);
}

#[test]
fn a_container_that_has_ended_leaves_no_unit() {
    need_systemd!();
    let bundle = scoped(Bundle::sh("exit 3"));
    let container = bundle.started();
    assert_eq!(container.wait(), 3);
    container.delete();
    gone(&bundle);
    bundle.run().code_is(3);
    gone(&bundle);
}

#[test]
fn a_creation_that_fails_leaves_no_unit() {
    need_systemd!();
    let mut bundle = scoped(Bundle::waiting());
    bundle.set("/hooks/createRuntime", json!([{"path": "/bin/false"}]));
    bundle.refused();
    gone(&bundle);
    bundle.remove("/hooks").mount("/x", "bind", "/does/not/exist", &["bind"]);
    bundle.refused();
    gone(&bundle);
}

#[test]
fn a_failed_unit_of_the_same_name_makes_way() {
    need_systemd!();
    let bundle = scoped(Bundle::waiting());
    let mut failed = Foreign::start(&unit(&bundle), &["--property=RuntimeMaxSec=1", "sleep", "1000"]);
    failed.1.wait().expect("systemd-run");
    until(&unit(&bundle), "failed");
    let container = bundle.create();
    assert_eq!(cgroup_of(&container), path(&bundle));
    container.delete_force();
    gone(&bundle);
}

#[test]
fn a_unit_of_somebody_else_is_left_alone() {
    need_systemd!();
    let bundle = scoped(Bundle::waiting());
    let mut other = Foreign::start(&unit(&bundle), &["--slice=user.slice", "sleep", "1000"]);
    until(&unit(&bundle), "active");
    bundle.refused();
    assert_eq!(show(&unit(&bundle))["ActiveState"], "active");
    assert!(matches!(other.1.try_wait(), Ok(None)), "its process was killed");
}

#[test]
fn a_subgroup_holds_the_container_below_its_scope() {
    need_systemd!();
    differs!("runc", "runc does not know the annotation");
    if !cgroup::is_v2() {
        skip!("a host with cgroup v2 is wanted");
    }
    let mut bundle = scoped(Bundle::waiting());
    bundle.set("/annotations", json!({"run.oci.systemd.subgroup": "inner"}));
    let container = bundle.started();
    assert_eq!(cgroup_of(&container), format!("{}/inner", path(&bundle)));
    container.delete_force();
    gone(&bundle);
}

#[test]
fn one_message_makes_a_container_and_two_end_it() {
    need_systemd!();
    only_oarlock!("a promise of ours");
    if Command::new("strace").arg("--version").output().is_err() {
        skip!("strace is missing");
    }
    let bundle = scoped(Bundle::waiting());
    let calls = |command: &Command, trace: &str| {
        let trace = bundle.path(trace);
        let mut strace = Command::new("strace");
        strace.args(["-e", "trace=network,clone,clone3", "-s", "100000", "-o"]).arg(&trace);
        strace.arg(command.get_program()).args(command.get_args()).stdin(Stdio::null());
        bundle.rt.finish(strace).ok();
        let text = std::fs::read_to_string(&trace).expect("trace");
        let sent = text.lines().filter(|line| line.starts_with("sendto(")).collect::<String>();
        let named: Vec<String> =
            ["StartTransientUnit", "SetUnitProperties", "StopUnit", "ResetFailedUnit", "Hello", "AddMatch", "Get"]
                .iter()
                .filter(|member| sent.contains(&format!("{member}\\0")))
                .map(|member| format!("{member} {}", sent.matches(&format!("{member}\\0")).count()))
                .collect();
        // One call has one path to the manager.
        (sent.matches("org.freedesktop.systemd1.Manager\\0").count(), named, text.matches("CLONE_THREAD").count())
    };
    bundle.write();
    let create = calls(&bundle.command("create", &[]), "create.trace");
    assert_eq!(create, (1, vec!["StartTransientUnit 1".to_owned()], 0));
    let delete = calls(&bundle.rt.command(["delete", "--force", &bundle.id]), "delete.trace");
    assert_eq!(delete, (2, vec!["StopUnit 1".to_owned(), "ResetFailedUnit 1".to_owned()], 0));
    gone(&bundle);
}

#[test]
fn without_root_the_scope_is_of_the_users_systemd() {
    need_systemd!();
    differs!("crun", "crun names the scope by the path as it is");
    if !cgroup::is_v2() {
        skip!("a host with cgroup v2 is wanted");
    }
    // The one user that is everywhere, and has nothing.
    const NOBODY: u32 = 65534;
    let mut bundle = into_slice(Bundle::waiting(), "user.slice");
    let map = json!([{"containerID": 0, "hostID": NOBODY, "size": 1}]);
    bundle.own_rootfs(NOBODY).namespace("user", None).remove("/linux/resources").unmount("/dev/pts");
    bundle.set("/linux/uidMappings", map.clone()).set("/linux/gidMappings", map);
    let runtime = bundle.host_dir("runtime");
    for dir in [bundle.rt.root.clone(), bundle.path(""), runtime.clone()] {
        std::fs::create_dir_all(&dir).expect("directory");
        std::os::unix::fs::chown(dir, Some(NOBODY), Some(NOBODY)).expect("chown");
    }
    let runtime = format!("XDG_RUNTIME_DIR={}", runtime.display());
    let service = format!("{PREFIX}-{}.service", bundle.id);
    let mut manager = Command::new("systemd-run");
    manager.args(["--quiet", "--uid=65534", "--gid=65534", "--property=Delegate=yes", "--property=Type=notify"]);
    manager.args([&format!("--unit={service}"), &format!("--setenv={runtime}"), "/usr/lib/systemd/systemd", "--user"]);
    assert!(manager.status().expect("systemd-run").success(), "{}", systemctl(&["status", &service]));
    let as_user = |command: Command| {
        let mut user = Command::new("setpriv");
        user.args(["--reuid=65534", "--regid=65534", "--clear-groups", "env", &runtime]);
        user.arg(command.get_program()).args(command.get_args()).stdin(Stdio::null());
        user
    };
    let verb = |args: &[&str]| bundle.rt.finish(as_user(bundle.rt.command(args)));
    let container = bundle.create_by(as_user(bundle.command("create", &[])));
    let path = cgroup_of(&container);
    assert_eq!(path, format!("/system.slice/{service}/user.slice/{}", unit(&bundle)));
    verb(&["start", &bundle.id]).ok();
    // From a cgroup that is not the user's nobody but systemd can move a process into the scope.
    let inside = verb(&["exec", &bundle.id, "cat", "/proc/self/cgroup"]).ok();
    assert!(inside.lines().contains(&"0::/"), "{inside}");
    verb(&["delete", "--force", &bundle.id]).ok();
    assert!(!cgroup::file("", &path, "").exists(), "{path} is left");
    drop(container);
    systemctl(&["stop", &service]);
}
