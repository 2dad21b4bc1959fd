//! An entry is taken only if all of it is right, and a cache that cannot be used is no error.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;

use super::super::bpf;
use super::*;
use crate::plan::seccomp::Filter;

fn filter(errno: u32) -> Filter {
    let profile = serde_json::json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
        {"names": ["read"], "action": "SCMP_ACT_ERRNO", "errnoRet": errno}]});
    let profile = serde_json::from_value(profile).unwrap();
    let around = crate::plan::seccomp::Surroundings {
        no_new_privs: true,
        bundle: std::path::Path::new("/bundle"),
        receiver: None,
    };
    crate::plan::seccomp::compile(&profile, "linux.seccomp", around, &mut Vec::new()).unwrap()
}

/// A state root with one entry in its cache, the entry's file and key.
fn cached() -> (tempfile::TempDir, PathBuf, Key) {
    let root = tempfile::tempdir().unwrap();
    let key = Key::of(&filter(1).program).unwrap();
    store(root.path(), &key, b"instruct").unwrap();
    let file = root.path().join(".cache/seccomp").join(&key.name);
    (root, file, key)
}

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
}

#[test]
fn a_compiled_profile_is_taken_from_the_cache_the_next_time() {
    let root = tempfile::tempdir().unwrap();
    let compiled = bpf(root.path(), &filter(5)).unwrap();
    let key = Key::of(&filter(5).program).unwrap();
    assert_eq!(load(root.path(), &key), Some(compiled.clone()));
    // That it is really taken shows with an entry that no compiler would make.
    store(root.path(), &key, b"instruct").unwrap();
    assert_eq!(bpf(root.path(), &filter(5)).unwrap(), b"instruct");
    assert_ne!(bpf(root.path(), &filter(6)).unwrap(), compiled);
    let entries = fs::read_dir(root.path().join(".cache/seccomp")).unwrap();
    assert_eq!(entries.count(), 2, "nothing but the two entries is left");
}

#[test]
fn every_corrupt_byte_and_every_missing_one_is_noticed() {
    let (root, file, key) = cached();
    let good = fs::read(&file).unwrap();
    for i in 0..good.len() {
        let mut bad = good.clone();
        bad[i] ^= 1;
        fs::write(&file, bad).unwrap();
        assert_eq!(load(root.path(), &key), None, "byte {i}");
        fs::write(&file, &good[..i]).unwrap();
        assert_eq!(load(root.path(), &key), None, "{i} bytes");
    }
    fs::write(&file, [&good[..], b"x"].concat()).unwrap();
    assert_eq!(load(root.path(), &key), None);
    fs::write(&file, &good).unwrap();
    assert_eq!(load(root.path(), &key).as_deref(), Some(&b"instruct"[..]));
}

#[test]
fn another_profiles_entry_under_the_same_name_is_not_taken() {
    let (root, file, _) = cached();
    let other = Key::of(&filter(2).program).unwrap();
    fs::rename(&file, file.with_file_name(&other.name)).unwrap();
    assert_eq!(load(root.path(), &other), None);
}

#[test]
fn what_others_could_have_written_is_not_taken_and_is_replaced() {
    let (root, file, key) = cached();
    for mode in [0o640, 0o606, 0o620, 0o700] {
        chmod(&file, mode);
        assert_eq!(load(root.path(), &key), None, "{mode:o}");
    }
    store(root.path(), &key, b"instruct").unwrap();
    assert!(load(root.path(), &key).is_some());
    for dir in [".cache", ".cache/seccomp"].map(|dir| root.path().join(dir)) {
        chmod(&dir, 0o770);
        assert_eq!(load(root.path(), &key), None, "{dir:?}");
        assert!(store(root.path(), &key, b"instruct").is_err(), "{dir:?}");
        chmod(&dir, 0o700);
    }
    assert!(load(root.path(), &key).is_some());
}

#[test]
fn a_symlink_a_directory_and_a_fifo_in_the_place_of_an_entry_are_not_taken() {
    let (root, file, key) = cached();
    let real = file.with_file_name("real");
    fs::rename(&file, &real).unwrap();
    symlink(&real, &file).unwrap();
    assert_eq!(load(root.path(), &key), None);
    fs::remove_file(&file).unwrap();
    nix::unistd::mkfifo(&file, Mode::S_IRUSR | Mode::S_IWUSR).unwrap();
    assert_eq!(load(root.path(), &key), None);
    store(root.path(), &key, b"instruct").unwrap();
    assert!(load(root.path(), &key).is_some());
    fs::remove_file(&file).unwrap();
    fs::create_dir(&file).unwrap();
    assert_eq!(load(root.path(), &key), None);
    assert!(store(root.path(), &key, b"instruct").is_err());
    let entries = fs::read_dir(file.parent().unwrap()).unwrap();
    assert_eq!(entries.count(), 2, "no temporary file is left");
}

#[test]
fn a_cache_that_cannot_be_written_costs_time_only() {
    assert!(!bpf(Path::new("/proc/self"), &filter(1)).unwrap().is_empty());
    assert!(!bpf(Path::new("/nonexistent"), &filter(1)).unwrap().is_empty());
    let root = tempfile::tempdir().unwrap();
    fs::write(root.path().join(".cache"), "").unwrap();
    assert!(!bpf(root.path(), &filter(1)).unwrap().is_empty());
}

#[test]
fn a_full_cache_is_emptied() {
    let (root, file, key) = cached();
    for i in 0..MAX_ENTRIES {
        fs::write(file.with_file_name(i.to_string()), "").unwrap();
    }
    store(root.path(), &key, b"instruct").unwrap();
    assert_eq!(fs::read_dir(file.parent().unwrap()).unwrap().count(), 1);
    assert!(load(root.path(), &key).is_some());
}

#[test]
fn a_hash_changes_with_every_bit_and_with_the_length() {
    let text = b"nineteen bytes long";
    for i in 0..text.len() * 8 {
        let mut other = *text;
        other[i / 8] ^= 1 << (i % 8);
        assert_ne!(hash(text), hash(&other), "bit {i}");
    }
    assert_ne!(hash(b"\0"), hash(b""));
}
