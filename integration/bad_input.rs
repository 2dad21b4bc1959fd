//! What bad input gets: one line that names the place, exit code 1, and nothing left on the host.

use std::fs;
use std::path::Path;

use crate::harness::{Bundle, HostMount, Output, Value, json};

/// `create` of a bundle whose config.json holds these bytes.
#[track_caller]
fn with_text(text: &[u8]) -> Output {
    let bundle = Bundle::waiting();
    let command = bundle.command("create", &[]);
    fs::write(bundle.path("config.json"), text).unwrap();
    let output = bundle.rt.finish(command);
    bundle.nothing_left(output)
}

#[test]
fn a_missing_config_is_named() {
    let bundle = Bundle::waiting();
    let command = bundle.command("create", &[]);
    fs::remove_file(bundle.path("config.json")).unwrap();
    let output = bundle.rt.finish(command);
    bundle.nothing_left(output).names("config.json");
}

#[test]
fn a_missing_bundle_is_named() {
    let bundle = Bundle::waiting();
    let output = bundle.rt.call(["create", "--bundle", "/no/such/bundle", &bundle.id]);
    bundle.nothing_left(output).names("/no/such/bundle");
}

#[test]
fn a_config_that_is_a_directory_is_named() {
    let bundle = Bundle::waiting();
    let command = bundle.command("create", &[]);
    fs::remove_file(bundle.path("config.json")).unwrap();
    fs::create_dir(bundle.path("config.json")).unwrap();
    let output = bundle.rt.finish(command);
    bundle.nothing_left(output).names("config.json");
}

#[test]
fn a_config_that_is_not_json_is_refused() {
    differs!("runc", "runc panics on `null`");
    for text in ["", "{", "{]", "nonsense", "{} more"] {
        with_text(text.as_bytes()).names("line 1 column ");
    }
    with_text(b"\xff\xfe{\x00}\x00").names("line 1 column ");
    for text in ["[]", "null", "\"text\"", "7"] {
        with_text(text.as_bytes());
    }
}

#[test]
fn a_config_that_is_cut_short_is_refused() {
    let bundle = Bundle::waiting();
    bundle.write();
    let text = fs::read(bundle.path("config.json")).unwrap();
    with_text(&text[..text.len() / 2]).names("line ");
}

#[test]
fn wrong_types_are_named_by_their_path() {
    differs!("crun", "crun's parser reads some of them as something else");
    let cases: &[(&str, Value, &str)] = &[
        ("/process/args", json!("sh"), "process.args"),
        ("/process/user/uid", json!("root"), "process.user.uid"),
        ("/process/user/uid", json!(-1), "process.user.uid"),
        ("/mounts", json!({}), "mounts"),
        ("/mounts/2/options", json!("ro"), "mounts[2].options"),
        ("/linux/namespaces", json!("pid"), "linux.namespaces"),
        ("/linux/resources/memory", json!({"limit": "1G"}), "linux.resources.memory.limit"),
        ("/root/readonly", json!("yes"), "root.readonly"),
    ];
    for (pointer, value, at) in cases {
        let mut bundle = Bundle::waiting();
        bundle.set(pointer, value.clone());
        bundle.refused().names(at);
    }
}

#[test]
fn what_is_missing_is_named() {
    differs!("crun", "crun 1.8.1 creates a container without a working directory or args");
    for (pointer, at) in [("/root", "root"), ("/process/cwd", "process.cwd"), ("/process/args", "process.args")] {
        let mut bundle = Bundle::waiting();
        bundle.remove(pointer);
        bundle.refused().names(at);
    }
}

#[test]
fn a_container_without_a_process_cannot_be_started() {
    // The specification demands `process` when start is called, not before.
    let mut bundle = Bundle::waiting();
    bundle.remove("/process");
    bundle.run_refused();
}

#[test]
fn a_container_without_a_process_can_be_created_with_a_seccomp_profile() {
    let mut bundle = Bundle::new();
    bundle.remove("/process");
    bundle.set("/linux/seccomp", json!({"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86_64"]}));
    let container = bundle.create();
    assert_eq!(container.status(), "created");
    container.call("start", &[]).names("process: is required to start a container");
}

/// Proves: ociVersion
#[test]
fn a_version_of_another_major_number_is_refused() {
    differs!("runc", "runc does not look at ociVersion");
    let mut bundle = Bundle::waiting();
    bundle.set("/ociVersion", "2.0.0");
    bundle.refused().names("ociVersion");
}

/// Proves: ociVersion
#[test]
fn newer_versions_of_the_same_major_number_are_accepted() {
    differs!("crun", "crun before 1.14.2 knows 1.0 only");
    for version in ["1.0.0", "1.0.2-dev", "1.1.0+dev", "1.2.1", "1.3.0", "1.9.0"] {
        let mut bundle = Bundle::sh("true");
        bundle.set("/ociVersion", version);
        bundle.run().ok();
    }
}

/// Proves: root.path
#[test]
fn a_missing_rootfs_is_named() {
    let mut bundle = Bundle::waiting();
    bundle.set("/root/path", "no-such-rootfs");
    bundle.refused().names("root.path");
}

#[test]
fn a_rootfs_that_is_a_file_is_refused() {
    let mut bundle = Bundle::waiting();
    fs::write(bundle.path("file"), "").unwrap();
    bundle.set("/root/path", "file");
    bundle.refused().names("root.path");
}

/// Proves: mounts[].destination
#[test]
fn a_relative_destination_is_refused() {
    differs!("runc", "runc warns and takes it as below the root");
    differs!("crun", "crun takes it as below the root");
    let mut bundle = Bundle::waiting();
    bundle.mount("relative", "tmpfs", "tmpfs", &[]);
    bundle.refused().names("mounts[7].destination");
}

/// Proves: mounts[].destination
#[test]
fn a_mount_without_a_destination_is_refused() {
    for mount in [json!({"type": "tmpfs", "source": "tmpfs"}), json!({"destination": "", "type": "tmpfs"})] {
        let mut bundle = Bundle::waiting();
        bundle.push("/mounts", mount);
        bundle.refused().names("mounts[7]");
    }
}

#[test]
fn a_bad_id_is_refused() {
    differs!("crun", "crun 1.8.1 takes any id that is a file name");
    let bundle = Bundle::waiting();
    bundle.write();
    for id in ["a/b", "a b", ".", ".."] {
        let mut command = bundle.rt.command(["create", "--bundle"]);
        command.arg(bundle.path("")).arg(id);
        let output = bundle.rt.finish(command).names("invalid container ID format");
        bundle.nothing_left(output);
    }
}

#[test]
fn an_id_too_long_for_a_file_name_is_refused() {
    let mut bundle = Bundle::waiting();
    let short = bundle.id.clone();
    bundle.id = "x".repeat(300);
    let output = bundle.rt.finish(bundle.command("create", &[]));
    bundle.id = short;
    bundle.nothing_left(output);
}

#[test]
fn a_pid_file_that_cannot_be_written_undoes_the_creation() {
    let bundle = Bundle::waiting();
    bundle.refused_with(&["--pid-file", "/no/such/directory/pid"]).names("--pid-file");
}

#[test]
fn a_config_of_another_platform_is_refused() {
    let mut bundle = Bundle::waiting();
    bundle.remove("/linux").set("/windows", json!({"layerFolders": ["x"]}));
    bundle.refused();
}

/// Proves: freebsd, solaris, vm, windows, zos
#[test]
fn sections_for_other_systems_mean_nothing_here() {
    let mut bundle = Bundle::sh("echo runs");
    bundle.set("/windows", json!({"layerFolders": ["C:\\\\layer"], "resources": {"memory": {"limit": 1}}}));
    bundle.set("/solaris", json!({"milestone": "svc:/milestone/container:default", "maxShmMemory": "1"}));
    bundle.set("/vm", json!({"kernel": {"path": "/no/such/kernel"}, "hypervisor": {"path": "/no/such/hypervisor"}}));
    bundle.set("/zos", json!({"namespaces": [{"type": "mount"}]}));
    bundle.set("/freebsd", json!({"jail": {"ip4": "inherit", "host": "new"}}));
    bundle.run().ok().prints("runs");
}

#[test]
fn unknown_fields_are_ignored_as_the_specification_demands() {
    let mut bundle = Bundle::sh("echo runs");
    bundle.set("/fromTheFuture", json!({"a": 1})).set("/linux/alsoNew", json!([1]));
    bundle.set("/process/someday", json!("x"));
    bundle.run().ok().prints("runs");
}

#[test]
fn an_unknown_rlimit_namespace_and_hook_are_named_in_one_line_of_the_log() {
    let mut bundle = Bundle::waiting();
    let log = bundle.host_dir("log").join("log.json");
    bundle.rt.global = ["--log", log.to_str().unwrap(), "--log-format", "json"].map(String::from).to_vec();
    bundle.push("/linux/namespaces", json!({"type": "colour"}));
    bundle.refused();
    let text = fs::read_to_string(&log).unwrap();
    let errors: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .filter(|entry| entry["level"] == "error")
        .collect();
    assert_eq!(errors.len(), 1, "{text}");
    assert!(errors[0]["msg"].as_str().unwrap().contains("colour"), "{text}");
}

#[test]
fn a_full_disk_for_the_state_is_an_error_that_leaves_nothing() {
    differs!("runc", "runc reports `unable to store init state: %!w(<nil>)`");
    differs!("crun", "crun leaves the state directory");
    let mut bundle = Bundle::waiting();
    let root = bundle.host_dir("full");
    let _disk = HostMount::tmpfs(&root);
    nix::mount::mount(None::<&str>, &root, None::<&str>, nix::mount::MsFlags::MS_REMOUNT, Some("size=16k")).unwrap();
    fs::write(root.join(".filler"), vec![0; 64 * 1024]).unwrap_err();
    let before = std::mem::replace(&mut bundle.rt.root, root.clone());
    let output = bundle.rt.finish(bundle.command("create", &[]));
    let output = bundle.nothing_left(output);
    bundle.rt.root = before;
    assert!(output.stderr.to_lowercase().contains("no space left"), "{output}");
}

#[test]
fn a_state_root_that_cannot_be_made_is_an_error() {
    let mut bundle = Bundle::waiting();
    let before = std::mem::replace(&mut bundle.rt.root, "/proc/no/such/root".into());
    let output = bundle.rt.finish(bundle.command("create", &[])).failed();
    bundle.rt.root = before;
    assert!(!Path::new("/proc/no").exists(), "{output}");
}

#[test]
fn strings_with_a_null_byte_are_refused() {
    differs!("runc", "runc 1.1.5 takes some of them");
    differs!("crun", "crun cuts them off at it");
    let cases = [
        ("/process/args", json!(["sleep", "10\u{0}00"])),
        ("/process/cwd", json!("/tmp\u{0}x")),
        ("/mounts/1/destination", json!("/dev\u{0}x")),
        ("/hostname", json!("a\u{0}b")),
    ];
    for (pointer, value) in cases {
        let mut bundle = Bundle::waiting();
        bundle.set(pointer, value);
        bundle.refused();
    }
}

#[test]
fn very_long_lists_are_handled() {
    // CVE-2021-43784 was a length that overflowed 16 bits.
    let mut bundle = Bundle::sh("echo runs");
    let groups: Vec<u32> = (1..60_000).collect();
    bundle.set("/process/user/additionalGids", json!(groups));
    bundle.set("/annotations", json!({"big": "x".repeat(300_000)}));
    for number in 0..200 {
        bundle.push("/process/env", json!(format!("VARIABLE_{number}={}", "y".repeat(500))));
    }
    bundle.run().ok().prints("runs");
}
