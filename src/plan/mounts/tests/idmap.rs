//! The maps of id-mapped mounts.

use super::super::super::idmap::Range;
use super::*;

const fn range(container: u32, host: u32, size: u32) -> Range {
    Range { container, host, size }
}

/// A container with a user namespace of two ranges, and one mount.
fn in_user_namespace(mount: Value) -> Result<Option<IdMapping>> {
    let map = json!([{ "containerID": 0, "hostID": 1000, "size": 1 }, { "containerID": 1, "hostID": 5000, "size": 9 }]);
    let linux = json!({ "namespaces": namespaces(&["mount", "user"]), "uidMappings": map, "gidMappings": map });
    let (mut mounts, _) = all(json!({ "mounts": [mount], "linux": linux }), &options(), &v2())?;
    Ok(mounts.remove(0).id_mapping)
}

fn bind_with(option: &str) -> Value {
    json!({ "destination": "/x", "source": "/y", "options": ["bind", option] })
}

#[test]
fn without_maps_of_its_own_a_mount_has_the_containers() {
    assert_eq!(in_user_namespace(bind_with("ro")), Ok(None));
    assert_eq!(in_user_namespace(bind_with("idmap")), Ok(Some(IdMapping { maps: None, recursive: false })));
    assert_eq!(in_user_namespace(bind_with("ridmap")), Ok(Some(IdMapping { maps: None, recursive: true })));
    // Equal to the container's: its namespace serves.
    let own = bind_with("idmap=uids=0-1000-1#1-5000-9;gids=@0-0-10");
    assert_eq!(in_user_namespace(own), Ok(Some(IdMapping { maps: None, recursive: false })));
    let tmpfs = json!({ "destination": "/x", "type": "tmpfs", "options": ["idmap"] });
    assert_eq!(in_user_namespace(tmpfs), Ok(None));
}

#[test]
fn a_relative_range_is_split_where_the_containers_ranges_are() {
    let mapping = in_user_namespace(bind_with("ridmap=uids=@7-0-3;gids=7-1-2#@20-4-1")).unwrap().unwrap();
    let Maps { uids, gids } = mapping.maps.unwrap();
    assert_eq!(uids, [range(7, 1000, 1), range(8, 5000, 2)]);
    assert_eq!(gids, [range(7, 1, 2), range(20, 5003, 1)]);
    assert!(mapping.recursive);
}

#[test]
fn numbers_at_the_edge_are_refused_and_nothing_overflows() {
    for (option, text) in [
        ("idmap=uids=@4294967290-0-10;gids=0-0-1", "is past the last uid"),
        ("idmap=uids=@0-4294967295-2;gids=0-0-1", "4294967295 is not mapped"),
        ("idmap=uids=@0-9-2;gids=0-0-1", "10 is not mapped"),
        ("idmap=uids=0-4294967295-1;gids=0-0-1", "past the last uid"),
        ("idmap=uids=@0-0-0;gids=0-0-1", "maps nothing"),
        ("idmap=uids=4294967296-0-1;gids=0-0-1", "is not three numbers"),
        ("idmap=", "neither uids"),
    ] {
        let text_found = error(in_user_namespace(bind_with(option)));
        assert!(text_found.contains(text), "{option}: {text_found}");
    }
}

#[test]
fn a_mount_that_cannot_have_a_map_is_refused() {
    let remount = json!({ "destination": "/x", "type": "tmpfs", "options": ["remount", "idmap"] });
    assert!(error(in_user_namespace(remount)).starts_with("mounts[0].options[1]: "));
}
