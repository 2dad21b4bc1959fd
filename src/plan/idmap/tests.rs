use super::super::testing::{error, namespaces, rootless, spec, v1};
use super::*;
use serde_json::{Value, json};

fn map(ranges: &[(u32, u32, u32)]) -> Value {
    ranges.iter().map(|(c, h, s)| json!({ "containerID": c, "hostID": h, "size": s })).collect()
}

fn compile_json(linux: Value, user: Value, facts: &Facts) -> Result<Option<IdMaps>> {
    let process = json!({ "cwd": "/", "args": ["x"], "user": user });
    let spec = spec(json!({ "linux": linux, "process": process }));
    compile(&spec, &super::super::namespaces::compile(&spec).unwrap(), facts)
}

fn root() -> Value {
    json!({ "uid": 0, "gid": 0 })
}

fn with(uids: &[(u32, u32, u32)], gids: &[(u32, u32, u32)]) -> Value {
    json!({ "namespaces": namespaces(&["user"]), "uidMappings": map(uids), "gidMappings": map(gids) })
}

#[test]
fn ids_translate_through_every_range() {
    let linux = with(&[(0, 1000, 10), (100, 5000, 1)], &[(0, 2000, 10)]);
    let maps = compile_json(linux, root(), &v1()).unwrap().unwrap();
    assert!(!maps.by_helper && !maps.deny_setgroups);
    assert_eq!((maps.uid_to_host(0), maps.gid_to_host(0)), (Some(1000), Some(2000)));
    assert_eq!([9, 10, 99, 100, 101].map(|id| maps.uid_to_host(id)), [Some(1009), None, None, Some(5000), None]);
    assert_eq!(maps.gid_to_host(9), Some(2009));
}

#[test]
fn without_privileges_oneself_is_written_directly_and_more_by_the_helpers() {
    let maps = |linux| compile_json(linux, root(), &rootless()).unwrap().unwrap();
    let own = maps(with(&[(0, 1000, 1)], &[(0, 1000, 1)]));
    assert!(!own.by_helper && own.deny_setgroups);
    let more = maps(with(&[(0, 1000, 1), (1, 100_000, 65536)], &[(0, 1000, 1)]));
    assert!(more.by_helper && !more.deny_setgroups);
    let other = maps(with(&[(0, 1001, 1)], &[(0, 1000, 1)]));
    assert!(other.by_helper);
}

#[test]
fn mappings_beside_a_namespace_to_join_are_accepted() {
    let mut linux = with(&[(0, 1000, 10)], &[(0, 1000, 10)]);
    linux["namespaces"] = json!([{ "type": "user", "path": "/proc/1/ns/user" }]);
    let maps = compile_json(linux, root(), &v1()).unwrap().unwrap();
    assert!(maps.of_joined && maps.uid_to_host(9) == Some(1009));
    let bare = json!({ "namespaces": [{ "type": "user", "path": "/proc/1/ns/user" }] });
    assert_eq!(compile_json(bare, root(), &rootless()).unwrap(), None);
    assert_eq!(compile_json(json!({}), root(), &v1()).unwrap(), None);
}

#[test]
fn mistakes_are_named_by_their_path() {
    let one: &[(u32, u32, u32)] = &[(0, 1000, 10)];
    for (linux, user, expected) in [
        (with(&[], one), root(), "linux.uidMappings: user namespaces enabled, but no uid mappings found"),
        (with(one, &[]), root(), "linux.gidMappings: user namespaces enabled, but no gid mappings found"),
        (with(one, &[(1, 1000, 1)]), root(), "linux.gidMappings: the container's gid 0 is not mapped"),
        (with(&[(0, 1, 0)], one), root(), "linux.uidMappings[0].size: is 0"),
        (with(&[(0, 1, u32::MAX)], one), root(), "linux.uidMappings[0].size: hostID 1 + 4294967295 is past"),
        (
            with(&[(0, 0, 10), (9, 50, 1)], one),
            root(),
            "linux.uidMappings[1]: overlaps linux.uidMappings[0] in containerID",
        ),
        (with(&[(0, 0, 10), (10, 9, 1)], one), root(), "linux.uidMappings[1]: overlaps linux.uidMappings[0] in hostID"),
        (json!({ "uidMappings": map(one) }), root(), "linux.uidMappings: user namespace mappings specified"),
        (with(one, one), json!({ "uid": 10, "gid": 0 }), "process.user.uid: 10 is not mapped"),
        (
            with(one, one),
            json!({ "uid": 0, "gid": 0, "additionalGids": [5, 11] }),
            "process.user.additionalGids[1]: 11",
        ),
    ] {
        let text = error(compile_json(linux, user, &v1()));
        assert!(text.starts_with(expected), "{text}");
    }
    assert!(compile_json(with(&[(0, 0, u32::MAX)], one), root(), &v1()).is_ok());
    let text = error(compile_json(json!({}), root(), &rootless()));
    assert!(text.starts_with("linux.namespaces: rootless container requires user namespaces"), "{text}");
    let many: Vec<_> = (0..341).map(|i| (i, i, 1)).collect();
    assert!(error(compile_json(with(&many, one), root(), &v1())).starts_with("linux.uidMappings: has 341 entries"));
}
