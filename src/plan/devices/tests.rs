use super::super::testing::{error, namespaces, spec, v1};
use super::*;
use serde_json::{Value, json};

fn compile_json(mut document: Value, kinds: &[&str], facts: &Facts) -> Result<Dev> {
    document["linux"]["namespaces"] = namespaces(kinds);
    let spec = spec(document);
    compile(&spec, &super::super::namespaces::compile(&spec).unwrap(), facts)
}

fn with(devices: Value) -> Result<Dev> {
    compile_json(json!({ "linux": { "devices": devices } }), &["mount"], &v1())
}

fn device(path: &str, typ: &str, major: i64, minor: i64) -> Value {
    json!({ "path": path, "type": typ, "major": major, "minor": minor })
}

#[test]
fn the_defaults_are_the_specifications() {
    let dev = with(json!([])).unwrap();
    let nodes: Vec<_> =
        dev.nodes.iter().map(|n| (n.path.to_str().unwrap(), n.major, n.minor, n.mode, n.bind)).collect();
    assert_eq!(
        nodes,
        [
            ("/dev/null", 1, 3, 0o666, false),
            ("/dev/zero", 1, 5, 0o666, false),
            ("/dev/full", 1, 7, 0o666, false),
            ("/dev/random", 1, 8, 0o666, false),
            ("/dev/urandom", 1, 9, 0o666, false),
            ("/dev/tty", 5, 0, 0o666, false),
        ]
    );
    assert!(dev.populate);
    assert_eq!(dev.links.last().unwrap(), &(PathBuf::from("/dev/ptmx"), PathBuf::from("pts/ptmx")));
    assert_eq!(dev.links.len(), 6);
}

#[test]
fn the_documents_devices_come_after_and_take_the_place_of_defaults() {
    let mut own = device("/dev/./null", "c", 1, 3);
    own["fileMode"] = json!(0o020_600);
    own["gid"] = json!(7);
    let dev = with(json!([own, device("/dev/fuse", "u", 10, 229), { "path": "/pipe", "type": "p" }, device("/dev/ptmx", "c", 5, 2)]))
        .unwrap();
    assert_eq!((dev.nodes[0].at.as_str(), dev.nodes[0].mode, dev.nodes[0].gid), ("linux.devices[0]", 0o600, 7));
    let added: Vec<_> = dev.nodes[6..].iter().map(|n| (n.path.to_str().unwrap(), n.kind)).collect();
    assert_eq!(added, [("/dev/fuse", NodeKind::Char), ("/pipe", NodeKind::Fifo)]);
}

#[test]
fn in_a_user_namespace_nodes_are_bound_and_fifos_made() {
    let devices = json!({ "linux": { "devices": [{ "path": "/pipe", "type": "p" }] } });
    let inside = Facts { in_user_namespace: true, ..v1() };
    for dev in [
        compile_json(devices.clone(), &["mount", "user"], &v1()).unwrap(),
        compile_json(devices, &["mount"], &inside).unwrap(),
    ] {
        assert!(dev.nodes[..6].iter().all(|node| node.bind) && !dev.nodes[6].bind);
    }
}

#[test]
fn a_bound_dev_is_left_alone() {
    for (mount, populate) in [
        (json!({ "destination": "/dev/", "type": "none", "source": "/dev", "options": ["rbind"] }), false),
        (json!({ "destination": "/dev", "type": "bind", "source": "/dev" }), false),
        (json!({ "destination": "/dev", "type": "tmpfs" }), true),
        (json!({ "destination": "/dev/shm", "type": "bind", "source": "/dev" }), true),
    ] {
        assert_eq!(compile_json(json!({ "mounts": [mount] }), &["mount"], &v1()).unwrap().populate, populate);
    }
    assert!(!compile_json(json!({}), &[], &v1()).unwrap().populate);
}

#[test]
fn mistakes_are_named_by_their_path() {
    let mut mode = device("/dev/x", "c", 1, 3);
    mode["fileMode"] = json!(0o1_000_000);
    for (devices, expected) in [
        (json!([device("dev/x", "c", 1, 3)]), "linux.devices[0].path: \"dev/x\" is no absolute path"),
        (json!([device("/", "c", 1, 3)]), "linux.devices[0].path: \"/\" is no absolute path"),
        (json!([device("/dev/x", "a", 1, 3)]), "linux.devices[0].type: invalid device type \"a\""),
        (json!([{ "path": "/dev/x", "type": "b" }]), "linux.devices[0].major: major and minor are missing"),
        (json!([device("/dev/x", "c", -1, 3)]), "linux.devices[0].major: -1 is not from 0 to 4095"),
        (json!([device("/dev/x", "c", 1, 1 << 20)]), "linux.devices[0].minor: 1048576 is not from 0 to 1048575"),
        (json!([mode]), "linux.devices[0].fileMode: "),
        (
            json!([device("/dev/x", "c", 1, 3), device("/dev/x", "c", 1, 4)]),
            "linux.devices[1].path: \"/dev/x\" is another",
        ),
    ] {
        let text = error(with(devices));
        assert!(text.starts_with(expected), "{text}");
    }
    assert_eq!(with(json!([device("/dev/x", "c", 1, 3), device("/dev/x", "c", 1, 3)])).unwrap().nodes.len(), 7);
    let text = error(compile_json(json!({ "linux": { "devices": [device("/x", "c", 1, 3)] } }), &[], &v1()));
    assert!(text.starts_with("linux.devices[0]: needs a mount namespace"), "{text}");
    let document = |options: &[&str], path: &str| {
        let mount = json!({ "destination": "/dev/", "type": "tmpfs", "options": options });
        json!({ "mounts": [mount], "linux": { "devices": [device(path, "c", 1, 3)] } })
    };
    assert!(compile_json(document(&[], "/dev/x"), &[], &v1()).unwrap().populate);
    for (options, path) in [(&["remount"][..], "/dev/x"), (&["bind"], "/dev/x"), (&[], "/dev/../x")] {
        let text = error(compile_json(document(options, path), &[], &v1()));
        assert!(text.starts_with("linux.devices[0]: needs a mount namespace"), "{text}");
    }
}
