//! What is refused, and by which words.

use super::*;

#[test]
fn mistakes_are_named_by_their_path() {
    let at = |destination: &str, typ: &str, options: &[&str]| json!({ "destination": destination, "type": typ, "source": "/s", "options": options });
    for (mount, expected) in [
        (at("", "tmpfs", &[]), "destination: is missing"),
        (at("x", "tmpfs", &[]), "destination: \"x\" is not absolute"),
        (at("/x\0", "tmpfs", &[]), "destination: has a NUL byte"),
        (
            at("/proc/self/attr", "tmpfs", &[]),
            "destination: \"/proc/self/attr\" cannot be mounted because it is inside /proc",
        ),
        (at("/x/../proc/sys", "none", &["bind"]), "destination: \"/proc/sys\" cannot be mounted"),
        (at("/proc", "tmpfs", &[]), "type: \"/proc\" cannot be mounted because it is not of type proc"),
        (at("/x", "", &[]), "type: is missing"),
        (at("/x", "none", &["ro"]), "type: is missing"),
        (at("/x", "tm\0pfs", &[]), "type: has a NUL byte"),
        (json!({ "destination": "/x", "type": "bind" }), "source: is missing"),
        (at("/x", "none", &["rbind", "size=1"]), "options[1]: bind mounts cannot have any filesystem-specific"),
        (at("/x", "none", &["rbind", "sync"]), "options[1]: bind mounts cannot have any filesystem-specific"),
        (at("/x", "none", &["bind", "tmpcopyup"]), "options[1]: tmpcopyup is for a tmpfs alone"),
        (at("/x", "proc", &["tmpcopyup"]), "options[0]: tmpcopyup is for a tmpfs alone"),
        (at("/x", "tmpfs", &["context=\"a"]), "options[0]: has an open double quote"),
        (at("/x", "tmpfs", &["ro", "a,,b"]), "options[1]: \"a,,b\" has a parameter without a name"),
        (at("/x", "tmpfs", &["mode=0\0"]), "options[0]: has a NUL byte"),
    ] {
        let text = error(one(mount));
        assert!(text.starts_with(&format!("mounts[0].{expected}")), "{text}");
    }
    let by = Options { rootless: true, ..options() };
    let text = error(all(json!({ "mounts": [at("/x", "tmpfs", &[])] }), &by, &v2()));
    assert!(text.starts_with("mounts: needs a mount namespace"), "{text}");
    let map = json!([{ "containerID": 0, "hostID": 1000, "size": 1 }]);
    let linux = json!({ "namespaces": namespaces(&["mount", "user"]), "uidMappings": map, "gidMappings": map });
    let text =
        error(all(json!({ "mounts": [at("/dev/pts", "devpts", &["gid=5"])], "linux": linux }), &options(), &v2()));
    assert!(text.starts_with("mounts[0].options[0]: gid=5 is not mapped"), "{text}");
}

#[test]
fn lxcfs_files_may_be_mounted_inside_proc() {
    for path in ["/proc/cpuinfo", "/proc/sys/kernel/ns_last_pid", "/proc", "/process", "/x/proc/y"] {
        assert!(proc_target_allowed(Path::new(path)), "{path}");
    }
    for path in ["/proc/cpuinfo/x", "/proc/sys", "/proc/1/attr"] {
        assert!(!proc_target_allowed(Path::new(path)), "{path}");
    }
}

#[test]
fn the_root_is_relative_to_the_bundle_and_slave_by_default() {
    let root = |document: Value, options: &Options| {
        let spec = spec(document);
        rootfs(&spec, options, &ns::compile(&spec).unwrap())
    };
    let linux = |propagation: &str| json!({ "namespaces": namespaces(&["mount"]), "rootfsPropagation": propagation });
    let with =
        |propagation: &str| json!({ "root": { "path": "rootfs", "readonly": true }, "linux": linux(propagation) });
    let found = root(with(""), &options()).unwrap();
    assert_eq!((found.path.as_path(), found.readonly, found.no_pivot), (Path::new("/bundle/rootfs"), true, false));
    assert_eq!(found.propagation, Propagation { kind: ms::SLAVE, recursive: true });
    let found = root(with("runbindable"), &options()).unwrap();
    assert_eq!(found.propagation, Propagation { kind: ms::UNBINDABLE, recursive: true });
    let no_pivot = Options { no_pivot: true, ..options() };
    let rootless = Options { rootless: true, ..options() };
    for (document, options, expected) in [
        (json!({}), &options(), "root.path: is missing"),
        (json!({ "root": { "path": "" } }), &options(), "root.path: is missing"),
        (with("bind"), &options(), "linux.rootfsPropagation: unknown propagation \"bind\""),
        (with("rprivate"), &no_pivot, "linux.rootfsPropagation: [r]private is not safe"),
        (json!({ "root": { "path": "/r", "readonly": true } }), &rootless, "root.readonly: needs a mount namespace"),
        (json!({ "root": { "path": "/r" } }), &no_pivot, "--no-pivot: needs a mount namespace"),
    ] {
        let text = error(root(document, options));
        assert!(text.starts_with(expected), "{text}");
    }
}
