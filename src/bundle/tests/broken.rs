//! Broken documents and odd files: none of them may panic, hang or be read as something else.

use std::io::Write;
use std::os::unix::fs::symlink;

use super::super::*;
use super::accepted;

/// A document that uses most of the model.
const RICH: &str = r#"{"ociVersion": "1.3.0", "hostname": "h", "annotations": {"a": "b"}, "root": {"path": "rootfs"},
    "mounts": [{"destination": "/proc", "type": "proc", "source": "proc", "options": ["ro", "nosuid"]}],
    "process": {"terminal": true, "cwd": "/", "user": {"uid": 1, "gid": 2, "additionalGids": [3]}, "args": ["sh"],
        "capabilities": {"bounding": ["CAP_KILL"]}, "rlimits": [{"type": "RLIMIT_CORE", "soft": 0, "hard": 1}]},
    "hooks": {"poststop": [{"path": "/x", "timeout": 3}]}, "freebsd": {"jail": {"vnet": "new"}},
    "linux": {"namespaces": [{"type": "pid", "path": "/p"}], "sysctl": {"net.x": "1"}, "resources": {"memory": {"limit": -1},
        "devices": [{"allow": false, "access": "rwm"}], "hugepageLimits": [{"pageSize": "2MB", "limit": 1}]},
        "seccomp": {"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [{"names": ["read"], "action": "SCMP_ACT_ALLOW"}]}}}"#;

#[test]
fn broken_documents_never_panic() {
    accepted(RICH);
    for end in 0..RICH.len() {
        assert!(parse(&RICH.as_bytes()[..end], &mut Vec::new()).is_err());
    }
    // Every byte replaced by each of these in turn: wrong types, wrong names, wrong nesting, wrong encoding.
    for at in 0..RICH.len() {
        for byte in *b"\"{}[]:,0-ntf\\ \x00\xff" {
            let mut bytes = RICH.as_bytes().to_vec();
            bytes[at] = byte;
            let _ = parse(&bytes, &mut Vec::new());
        }
    }
}

#[test]
fn every_value_of_a_wrong_type_is_refused_without_a_panic() {
    fn mutate(value: &mut Value, visit: &mut dyn FnMut(&mut Value)) {
        visit(value);
        match value {
            Value::Object(members) => members.values_mut().for_each(|member| mutate(member, visit)),
            Value::Array(items) => items.iter_mut().for_each(|item| mutate(item, visit)),
            _ => {}
        }
    }
    let document: Value = serde_json::from_str(RICH).unwrap();
    let mut nodes = 0;
    mutate(&mut document.clone(), &mut |_| nodes += 1);
    for wrong in ["null", "true", "-1", "1e99", "\"\"", "[]", "[null]", "{}", "{\"\": 1}"] {
        for target in 0..nodes {
            let (mut copy, mut seen) = (document.clone(), 0);
            mutate(&mut copy, &mut |node| {
                if seen == target {
                    *node = serde_json::from_str(wrong).unwrap();
                }
                seen += 1;
            });
            let _ = parse(copy.to_string().as_bytes(), &mut Vec::new());
        }
    }
}

#[test]
fn only_a_regular_file_of_sane_size_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join(CONFIG);
    let load = || load(dir.path(), None, &mut Vec::new()).map_err(|e| format!("{e:#}"));
    assert!(load().unwrap_err().contains("JSON specification file config.json not found"));

    nix::unistd::mkfifo(&config, nix::sys::stat::Mode::S_IRWXU).unwrap();
    assert!(load().unwrap_err().ends_with("config.json: not a regular file"));
    fs::remove_file(&config).unwrap();

    File::create(&config).unwrap().set_len(MAX_BYTES + 1).unwrap();
    assert!(load().unwrap_err().ends_with("config.json: larger than 16 MiB"));

    File::create(&config).unwrap().write_all(br#"{"ociVersion": "2.0.0"}"#).unwrap();
    assert!(load().unwrap_err().starts_with("ociVersion: version \"2.0.0\" is not supported"));
}

#[test]
fn the_bundle_is_named_without_symbolic_links() {
    let dir = tempfile::tempdir().unwrap();
    let real = dir.path().canonicalize().unwrap().join("real");
    fs::create_dir(&real).unwrap();
    symlink(&real, dir.path().join("link")).unwrap();
    fs::write(real.join(CONFIG), RICH).unwrap();
    let bundle = load(&dir.path().join("link"), None, &mut Vec::new()).unwrap();
    assert_eq!((bundle.dir, bundle.config_path), (real.clone(), real.join(CONFIG)));

    let error = load(&dir.path().join("missing"), None, &mut Vec::new()).unwrap_err().to_string();
    assert!(error.starts_with("--bundle: ") && error.ends_with("/missing: no such file or directory"), "{error}");
    let error = load(&real.join(CONFIG), None, &mut Vec::new()).unwrap_err().to_string();
    assert!(error.ends_with("/config.json: not a directory"), "{error}");
    let error = load(&real, Some(Path::new("/no/such.json")), &mut Vec::new()).unwrap_err().to_string();
    assert!(error.starts_with("--config: JSON specification file /no/such.json not found"), "{error}");
}
