use super::super::testing::{error, namespaces, spec};
use super::*;
use serde_json::{Value, json};

fn compile_json(linux: Value) -> Result<Namespaces> {
    compile(&spec(json!({ "linux": linux })))
}

#[test]
fn the_table_has_every_kind_with_its_own_flag_and_file() {
    use Kind::{Cgroup, Ipc, Mount, Network, Pid, Time, User, Uts};
    let all = [User, Mount, Pid, Network, Ipc, Uts, Cgroup, Time];
    assert!(all.iter().all(|kind| kind.row().0 == *kind));
    assert_eq!(all.iter().fold(0, |flags, kind| flags | kind.flag()), 0x7e02_0080);
    assert_eq!((Network.proc_file(), Mount.proc_file(), Time.proc_file()), ("net", "mnt", "time"));
    assert_eq!(Kind::names(), ["cgroup", "ipc", "mount", "network", "pid", "time", "user", "uts"]);
}

#[test]
fn new_and_joined_are_told_apart_and_an_empty_path_is_none() {
    let ns = compile_json(json!({ "namespaces": [
        { "type": "pid" }, { "type": "network", "path": "/run/netns/a" }, { "type": "ipc", "path": "" },
    ] }))
    .unwrap();
    assert!(ns.is_new(Kind::Pid) && ns.is_new(Kind::Ipc) && !ns.is_new(Kind::Network) && ns.has(Kind::Network));
    assert!(!ns.has(Kind::Mount) && ns.joined(Kind::Pid).is_none());
    let joined = ns.joined(Kind::Network).unwrap();
    assert_eq!((joined.at.as_str(), joined.path.as_deref()), ("linux.namespaces[1]", Some("/run/netns/a".as_ref())));
    assert_eq!(ns.clone_flags(), Kind::Pid.flag() | Kind::Ipc.flag());
}

#[test]
fn clone_leaves_out_a_time_namespace_with_offsets_and_the_cgroup_namespace() {
    let kinds = namespaces(&["time", "cgroup"]);
    let plain = compile_json(json!({ "namespaces": kinds })).unwrap();
    assert_eq!(plain.clone_flags(), 0x80);
    let offsets = json!({ "monotonic": { "secs": -5 }, "boottime": { "nanosecs": 999_999_999 } });
    let offset = compile_json(json!({ "namespaces": kinds, "timeOffsets": offsets })).unwrap();
    assert_eq!(offset.clone_flags(), 0);
    assert_eq!(
        offset.time_offsets,
        [
            TimeOffset { clock: "boottime".into(), secs: 0, nanosecs: 999_999_999 },
            TimeOffset { clock: "monotonic".into(), secs: -5, nanosecs: 0 },
        ]
    );
}

#[test]
fn a_user_namespace_that_is_joined_comes_before_what_it_owns() {
    let all = json!([{ "type": "user", "path": "/proc/1/ns/user" }, { "type": "pid" }, { "type": "mount" }]);
    let ns = compile_json(json!({ "namespaces": all })).unwrap();
    assert!(ns.needs_middle());
    assert_eq!((ns.clone_flags(), ns.made_after_join()), (0, Kind::Mount.flag()));
    let new = compile_json(json!({ "namespaces": namespaces(&["user", "pid", "mount"]) })).unwrap();
    assert!(!new.needs_middle());
    assert_eq!(new.made_after_join(), 0);
}

#[test]
fn mistakes_are_named_by_their_path() {
    let time = json!([{ "type": "time" }]);
    for (linux, expected) in [
        (json!({ "namespaces": namespaces(&["pid", "pid"]) }), "linux.namespaces[1].type: duplicate namespace \"pid\""),
        (
            json!({ "namespaces": [{ "type": "pid", "path": "proc/1" }] }),
            "linux.namespaces[0].path: \"proc/1\" is not absolute",
        ),
        (json!({ "namespaces": [{ "type": "pid", "path": "/a\0" }] }), "linux.namespaces[0].path: has a NUL byte"),
        (json!({ "timeOffsets": { "monotonic": {} } }), "linux.timeOffsets: needs a new time namespace"),
        (
            json!({ "namespaces": [{ "type": "time", "path": "/x" }], "timeOffsets": { "monotonic": {} } }),
            "linux.timeOffsets: needs a new time namespace",
        ),
        (json!({ "namespaces": time, "timeOffsets": { "realtime": {} } }), "linux.timeOffsets.realtime: unknown clock"),
        (
            json!({ "namespaces": time, "timeOffsets": { "boottime": { "nanosecs": 1_000_000_000 } } }),
            "linux.timeOffsets.boottime.nanosecs: 1000000000 is more than",
        ),
    ] {
        let text = error(compile_json(linux));
        assert!(text.starts_with(expected), "{text}");
    }
}

#[test]
fn names_need_a_uts_namespace_and_fit_the_kernel() {
    let with = |hostname: &str, kinds: &[&str]| {
        let document = json!({ "hostname": hostname, "domainname": "d", "linux": { "namespaces": namespaces(kinds) } });
        let spec = spec(document);
        names(&spec, &compile(&spec).unwrap())
    };
    assert_eq!(with("h", &["uts"]).unwrap(), (Some("h".into()), Some("d".into())));
    assert_eq!(with("", &["uts"]).unwrap(), (None, Some("d".into())));
    assert!(with(&"h".repeat(64), &["uts"]).is_ok());
    assert!(error(with(&"h".repeat(65), &["uts"])).starts_with("hostname: has 65 bytes"));
    assert!(error(with("h", &[])).starts_with("hostname: unable to set hostname without a private UTS"));
    assert!(error(with("", &[])).starts_with("domainname: "));
}
