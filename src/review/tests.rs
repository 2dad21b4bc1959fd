//! What the review says of good and of bad documents.

use serde_json::{Value, json};

use super::{Finding, Modules, Severity, review};
use crate::plan::compile;
use crate::plan::testing::{namespaces, options, spec, v1, v2};

const NONE: Modules = Modules { apparmor: false, selinux: false };

/// A container as its managers make it, with all that the review asks for.
fn kept() -> Value {
    let map = json!([{ "containerID": 0, "hostID": 100000, "size": 65536 }]);
    json!({
        "ociVersion": "1.3.0",
        "root": { "path": "rootfs", "readonly": true },
        "process": {
            "cwd": "/", "args": ["sh"], "user": { "uid": 1000, "gid": 1000 }, "noNewPrivileges": true,
            "capabilities": { "bounding": ["CAP_CHOWN"], "effective": [], "permitted": ["CAP_CHOWN"] },
        },
        "mounts": [{ "destination": "/proc", "type": "proc", "source": "proc" }],
        "linux": {
            "namespaces": namespaces(&["mount", "pid", "network", "ipc", "uts", "cgroup", "user"]),
            "uidMappings": map, "gidMappings": map,
            "resources": { "pids": { "limit": 100 }, "memory": { "limit": 100 << 20 }, "devices": [{ "allow": false, "access": "rwm" }] },
            "seccomp": { "defaultAction": "SCMP_ACT_ERRNO", "syscalls": [{ "names": ["execve"], "action": "SCMP_ACT_ALLOW" }] },
            "maskedPaths": ["/proc/kcore", "/proc/keys", "/proc/timer_list", "/proc/sched_debug", "/sys/firmware"],
            "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"],
        },
    })
}

fn findings(document: Value, modules: Modules) -> Vec<Finding> {
    let mut facts = v2();
    facts.cgroup.v1 = Vec::new();
    review(&compile(&spec(document), &options(), &facts, &mut Vec::new()).unwrap(), modules)
}

/// The one finding more than in [`kept`], when `value` stands at `pointer`.
fn with(pointer: &str, value: Value) -> Vec<(&'static str, Severity, String)> {
    let mut document = kept();
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    let parent = document.pointer_mut(parent).unwrap();
    match (parent, value) {
        (Value::Object(object), Value::Null) => drop(object.remove(key)),
        (Value::Array(array), value) => array.push(value),
        (parent, value) => parent[key] = value,
    }
    findings(document, NONE).into_iter().map(|finding| (finding.kind, finding.severity, finding.at)).collect()
}

#[test]
fn nothing_is_said_of_a_container_that_is_well_kept() {
    assert_eq!(findings(kept(), NONE), []);
}

#[test]
fn what_is_missing_is_said_where_it_should_stand() {
    use Severity::{Danger, Note, Warning};
    for (pointer, value, kind, severity, at) in [
        ("/linux/seccomp", Value::Null, "no-seccomp", Warning, "linux.seccomp"),
        (
            "/linux/seccomp/defaultAction",
            json!("SCMP_ACT_ALLOW"),
            "permissive-seccomp",
            Note,
            "linux.seccomp.defaultAction",
        ),
        ("/process/noNewPrivileges", json!(false), "new-privileges", Note, "process.noNewPrivileges"),
        ("/root/readonly", json!(false), "writable-root", Note, "root.readonly"),
        ("/linux/resources/pids", Value::Null, "no-pids-limit", Warning, "linux.resources.pids.limit"),
        ("/linux/resources/memory", Value::Null, "no-memory-limit", Note, "linux.resources.memory.limit"),
        ("/linux/maskedPaths", Value::Null, "unmasked-paths", Note, "linux.maskedPaths"),
        ("/linux/readonlyPaths", Value::Null, "writable-proc", Warning, "linux.readonlyPaths"),
        (
            "/linux/resources/devices",
            json!([{ "allow": true, "access": "rwm" }]),
            "all-devices",
            Warning,
            "linux.resources.devices",
        ),
        (
            "/process/capabilities/bounding",
            json!(["CAP_SYS_ADMIN"]),
            "privileged-capability",
            Warning,
            "process.capabilities",
        ),
        ("/linux/uidMappings/0/hostID", json!(0), "host-root-mapped", Warning, "linux.uidMappings"),
    ] {
        assert_eq!(with(pointer, value), [(kind, severity, at.to_owned())], "{pointer}");
    }
    let bind = |source: &str, options: Value| json!({ "destination": "/x", "type": "bind", "source": source, "options": options });
    for (mount, kind, severity) in [
        (bind("/run/docker.sock", json!(["bind", "ro"])), "control-socket", Danger),
        (bind("/etc", json!(["rbind"])), "writable-host-path", Warning),
        (bind("/etc", json!(["rbind", "rro"])), "readable-host-path", Note),
        (bind("/srv/data", json!(["bind"])), "writable-bind", Note),
        (bind("/srv/data", json!(["bind", "ro", "rshared"])), "shared-mount", Warning),
    ] {
        assert_eq!(with("/mounts/-", mount.clone()), [(kind, severity, "mounts[1]".to_owned())], "{mount}");
    }
}

#[test]
fn without_a_user_namespace_the_same_is_worse_and_the_worst_comes_first() {
    let mut document = kept();
    let linux = document["linux"].as_object_mut().unwrap();
    linux.insert("namespaces".into(), namespaces(&["mount", "pid", "network", "ipc", "uts"]));
    linux.remove("uidMappings");
    linux.remove("gidMappings");
    document["process"]["user"] = json!({ "uid": 0, "gid": 0 });
    document["process"]["capabilities"]["bounding"] = json!(["CAP_SYS_ADMIN"]);
    let found = findings(document, NONE);
    let kinds: Vec<_> = found.iter().map(|finding| (finding.kind, finding.severity)).collect();
    assert_eq!(
        kinds,
        [
            ("privileged-capability", Severity::Danger),
            ("host-root", Severity::Warning),
            ("host-cgroup-namespace", Severity::Note)
        ]
    );
}

#[test]
fn the_hosts_namespaces_make_capabilities_over_them_dangerous() {
    let mut document = kept();
    let linux = document["linux"].as_object_mut().unwrap();
    linux.insert("namespaces".into(), namespaces(&["mount"]));
    linux.remove("uidMappings");
    linux.remove("gidMappings");
    document["process"]["capabilities"]["bounding"] = json!(["CAP_SYS_PTRACE", "CAP_NET_ADMIN"]);
    let found = findings(document, NONE);
    let dangers: Vec<_> = found.iter().filter(|finding| finding.severity == Severity::Danger).map(|f| f.kind).collect();
    assert_eq!(dangers, ["trace-host-processes", "change-host-network"]);
    for kind in ["host-pid-namespace", "host-network-namespace", "host-ipc-namespace", "host-uts-namespace"] {
        assert!(found.iter().any(|finding| finding.kind == kind), "{kind}");
    }
}

#[test]
fn a_module_that_the_host_has_is_to_be_used() {
    let kinds = |modules| findings(kept(), modules).iter().map(|finding| finding.kind).collect::<Vec<_>>();
    assert_eq!(kinds(Modules { apparmor: true, selinux: false }), ["no-apparmor"]);
    assert_eq!(kinds(Modules { apparmor: false, selinux: true }), ["no-selinux"]);
}

#[test]
fn all_devices_are_seen_in_the_form_of_v1_too() {
    let mut document = kept();
    document["linux"]["resources"] = json!({ "devices": [{ "allow": true, "access": "rwm" }] });
    let mut facts = v1();
    let devices = crate::cgroup::layout::Hierarchy {
        controllers: vec!["devices".into()],
        mount: "/sys/fs/cgroup/devices".into(),
        own: Some("/".into()),
    };
    facts.cgroup.v1.push(devices);
    let plan = compile(&spec(document), &options(), &facts, &mut Vec::new()).unwrap();
    assert!(review(&plan, NONE).iter().any(|finding| finding.kind == "all-devices"));
}
