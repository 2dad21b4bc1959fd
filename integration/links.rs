//! The symlinks at both ends of a bind mount: `copy-symlink`, `src-nofollow`, `dest-nofollow`.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use crate::harness::{Bundle, is_oarlock};

/// A host directory with a file, and a symlink `link` to it.
fn source(bundle: &Bundle) -> PathBuf {
    let dir = bundle.host_dir("source");
    fs::write(dir.join("file"), "content").unwrap();
    symlink("file", dir.join("link")).unwrap();
    dir
}

/// For each kind of container: the host's root, and that of a user namespace.
fn both(script: &str, test: impl Fn(Bundle)) {
    for user_namespace in [false, true] {
        let mut bundle = Bundle::sh(script);
        if user_namespace {
            bundle.user_namespace();
        }
        test(bundle);
    }
}

#[test]
fn a_symlink_at_the_source_is_copied() {
    differs!("runc", "runc has no copy-symlink");
    both("readlink /new/link; test -e /new/link; echo $?; cat /new/file", |mut bundle| {
        let dir = source(&bundle);
        bundle.bind(&dir.join("link"), "/new/link", &["copy-symlink"]);
        bundle.bind(&dir.join("file"), "/new/file", &["copy-symlink"]);
        // It leads to the file beside it, in there: one that is no symlink is bound as ever.
        bundle.run().ok().prints("file\n0\ncontent");
        let left = fs::read_link(bundle.rootfs("new/link")).unwrap();
        assert_eq!(left, PathBuf::from("file"));
        // What has been copied before is no obstacle.
        bundle.run().ok();
    });
}

#[test]
fn a_copy_over_something_else_is_refused() {
    differs!("runc", "runc has no copy-symlink");
    let mut bundle = Bundle::sh("true");
    let dir = source(&bundle);
    bundle.bind(&dir.join("link"), "/there", &["copy-symlink"]);
    let there = bundle.file("there", "precious", 0o644);
    bundle.refused().names("mounts[7] (/there): copy-symlink: /there is there already, and no symlink");
    assert_eq!(fs::read_to_string(&there).unwrap(), "precious");
    fs::remove_file(&there).unwrap();
    symlink("/etc/passwd", &there).unwrap();
    bundle.refused().names("a symlink to \"/etc/passwd\"");
}

#[test]
fn a_copied_symlink_stays_in_the_root() {
    differs!("runc", "runc has no copy-symlink");
    let mut bundle = Bundle::sh("readlink /dir/link");
    let (dir, canary) = (source(&bundle), bundle.host_dir("canary"));
    symlink(&canary, bundle.rootfs("dir")).unwrap();
    bundle.bind(&dir.join("link"), "/dir/link", &["copy-symlink"]);
    bundle.run().ok().prints("file");
    assert_eq!(fs::read_dir(canary).unwrap().count(), 0);
}

#[test]
fn a_symlink_at_the_source_can_be_bound_itself() {
    differs!("runc", "runc has no src-nofollow");
    differs!("crun", "crun 1.8.1 has no src-nofollow");
    both("readlink /target; cat /followed; cat /dir/file", |mut bundle| {
        let dir = source(&bundle);
        symlink("point-to-nowhere", bundle.rootfs("target")).unwrap();
        bundle.bind(&dir.join("link"), "/target", &["src-nofollow", "dest-nofollow"]);
        bundle.bind(&dir.join("link"), "/followed", &[]);
        // Nothing changes for what is no symlink.
        bundle.bind(&dir, "/dir", &["src-nofollow"]);
        bundle.run().ok().prints("file\ncontentcontent");
        assert_eq!(fs::read_link(bundle.rootfs("target")).unwrap(), PathBuf::from("point-to-nowhere"));
    });
}

#[test]
fn a_symlink_at_the_destination_can_be_covered_itself() {
    differs!("runc", "runc has no dest-nofollow");
    differs!("crun", "crun 1.8.1 has no dest-nofollow");
    both("cat /link; echo; cat /real; cat /fresh; test -L /link; echo $?", |mut bundle| {
        let dir = source(&bundle);
        bundle.file("real", "own", 0o644);
        symlink("real", bundle.rootfs("link")).unwrap();
        bundle.bind(&dir.join("file"), "/link", &["dest-nofollow"]);
        bundle.bind(&dir.join("file"), "/fresh", &["dest-nofollow"]);
        // 1: what is seen there is a file.
        bundle.run().ok().prints("content\nowncontent1");
    });
}

#[test]
fn what_is_on_the_way_is_followed_inside_of_the_root() {
    differs!("crun", "crun 1.8.1 has no dest-nofollow");
    let mut bundle = Bundle::sh("cat /dir/file");
    let (dir, canary) = (source(&bundle), bundle.host_dir("canary"));
    symlink(&canary, bundle.rootfs("dir")).unwrap();
    bundle.bind(&dir.join("file"), "/dir/file", &["dest-nofollow"]);
    bundle.run().ok().prints("content");
    assert_eq!(fs::read_dir(canary).unwrap().count(), 0);
}

#[test]
fn a_source_out_of_reach_of_a_user_namespace_is_not_followed_either() {
    differs!("runc", "runc has no src-nofollow");
    differs!("crun", "crun 1.8.1 has no src-nofollow");
    use std::os::unix::fs::PermissionsExt;
    let mut bundle = Bundle::sh("readlink /itself; readlink /copy");
    bundle.user_namespace();
    let dir = source(&bundle);
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o700)).unwrap();
    symlink("nowhere", bundle.rootfs("itself")).unwrap();
    bundle.bind(&dir.join("link"), "/itself", &["src-nofollow", "dest-nofollow"]);
    bundle.bind(&dir.join("link"), "/copy", &["copy-symlink"]);
    bundle.run().ok().prints("file\nfile");
}

#[test]
fn they_are_refused_for_what_is_no_bind() {
    if !is_oarlock() {
        skip!("other runtimes ignore them");
    }
    for option in ["copy-symlink", "src-nofollow", "dest-nofollow"] {
        let mut bundle = Bundle::sh("true");
        bundle.mount("/x", "tmpfs", "tmpfs", &[option]);
        bundle.refused().names("mounts[7].options[0]: is for a bind mount alone");
    }
}
