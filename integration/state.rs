//! What `state` and `list` print: programs parse it, so keys, order and form are pinned.

use std::os::fd::AsFd;

use crate::harness::runtime::name;
use crate::harness::{Bundle, json, sys};

/// The keys of a JSON object in the order in which they are written, with two spaces of indent.
fn keys(text: &str) -> Vec<&str> {
    text.lines().filter_map(|line| line.strip_prefix("  \"")).filter_map(|line| line.split('"').next()).collect()
}

/// Proves: annotations
#[test]
fn state_has_runcs_keys_in_runcs_order() {
    differs!("crun", "crun orders the keys differently and adds its own");
    let mut bundle = Bundle::waiting();
    bundle.set("/annotations", json!({"org.example.key": "a \"value\" & <more>"}));
    let container = bundle.create();
    let output = container.call("state", &[]).ok();
    let expected = ["ociVersion", "id", "pid", "status", "bundle", "rootfs", "created", "annotations", "owner"];
    assert_eq!(keys(&output.stdout), expected, "{output}");
    assert!(output.stdout.starts_with("{\n  \"ociVersion\": \""), "{output}");
    assert!(output.stdout.ends_with("\n  \"owner\": \"\"\n}"), "no newline at the end: {output}");
    assert_eq!(output.json()["annotations"]["org.example.key"], "a \"value\" & <more>");
}

/// Proves: ociVersion, root.path
#[test]
fn state_tells_the_container_as_it_is() {
    differs!("crun", "crun shows root.path as it stands in config.json");
    let bundle = Bundle::waiting();
    let container = bundle.create();
    let state = container.state();
    assert_eq!(state["id"], bundle.id.as_str());
    assert_eq!(state["pid"], container.pid);
    assert_eq!(state["status"], "created");
    assert_eq!(state["bundle"], bundle.path("").to_str().unwrap());
    assert_eq!(state["rootfs"], bundle.rootfs("").to_str().unwrap());
    assert!(state["ociVersion"].as_str().unwrap().starts_with("1."), "{state}");
    assert!(state.get("annotations").is_none_or(|value| value == &json!({})), "{state}");
}

#[test]
fn created_is_the_moment_of_create_in_utc() {
    let bundle = Bundle::waiting();
    let container = bundle.create();
    let created = container.state()["created"].as_str().unwrap().to_owned();
    // GNU date reads RFC 3339: 2026-01-31T23:59:59.123456789Z.
    let date = std::process::Command::new("date").args(["-d", &created, "+%s"]).output().unwrap();
    let at: u64 = String::from_utf8(date.stdout).unwrap().trim().parse().expect("a date");
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    assert!(now.abs_diff(at) < 60, "{created}");
    assert!(created.ends_with('Z'), "{created}");
    assert_eq!(created, container.state()["created"], "and it stays");
}

#[test]
fn a_stopped_containers_state_has_pid_zero() {
    let bundle = Bundle::sh("exit 0");
    let container = bundle.started();
    container.wait();
    let state = container.state();
    assert_eq!((&state["pid"], &state["status"]), (&json!(0), &json!("stopped")));
}

#[test]
fn a_container_that_is_a_zombie_is_stopped() {
    // Nobody reaps here until the test says so: for a client that is slow to wait.
    let bundle = Bundle::sh("exit 0");
    let container = bundle.started();
    container.wait_end();
    assert_eq!(container.status(), "stopped");
    container.wait();
    assert_eq!(container.status(), "stopped");
}

#[test]
fn a_pid_that_was_used_again_is_not_taken_for_the_container() {
    let bundle = Bundle::waiting();
    let container = bundle.started();
    container.kill("KILL");
    container.wait();
    // The next process of the host gets the pid of the dead init: written as the last pid given out.
    let last = (container.pid - 1).to_string();
    let mut reused = None;
    for _ in 0..200 {
        std::fs::write("/proc/sys/kernel/ns_last_pid", &last).unwrap();
        let mut child = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
        if child.id() as i32 == container.pid {
            reused = Some(child);
            break;
        }
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let Some(mut stranger) = reused else { skip!("another process took the pid each time") };
    let status = container.status();
    let kill = container.call("kill", &["KILL"]);
    let alive = !sys::wait_readable(sys::pidfd_open(container.pid).unwrap().as_fd(), std::time::Duration::ZERO);
    container.delete();
    let still = stranger.try_wait().unwrap().is_none();
    stranger.kill().unwrap();
    stranger.wait().unwrap();
    assert_eq!(status, "stopped");
    kill.failed();
    assert!(alive && still, "a stranger was killed");
}

#[test]
fn an_empty_list_is_null_in_json_and_a_header_in_the_table() {
    let bundle = Bundle::new();
    let json = bundle.rt.call(["list", "--format", "json"]).ok();
    let table = bundle.rt.call(["list"]).ok();
    if name() != "crun" {
        assert_eq!(json.stdout.trim(), "null");
        let header: Vec<&str> = table.stdout.split_whitespace().collect();
        assert_eq!(header, ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"]);
    }
    bundle.rt.call(["list", "-q"]).ok().prints("");
}

#[test]
fn list_shows_every_container_in_each_form() {
    let bundle = Bundle::waiting();
    let container = bundle.started();
    let list = bundle.rt.call(["list", "-f", "json"]).ok().json();
    assert_eq!(list.as_array().unwrap().len(), 1);
    let entry = &list[0];
    assert_eq!(entry["id"], bundle.id.as_str());
    assert_eq!(entry["pid"], container.pid);
    assert_eq!(entry["status"], "running");
    let directory = bundle.path("");
    assert_eq!(entry["bundle"], directory.to_str().unwrap());
    assert!(entry["created"].as_str().unwrap().len() > 20, "{entry}");
    let table = bundle.rt.call(["list"]).ok();
    let row = table.lines()[1].split_whitespace().collect::<Vec<_>>();
    assert_eq!(row[..3], [bundle.id.as_str(), &container.pid.to_string(), "running"]);
    bundle.rt.call(["list", "--quiet"]).ok().prints(&bundle.id);
}

#[test]
fn list_json_accepts_the_form_that_go_runc_sends() {
    let bundle = Bundle::waiting();
    let _container = bundle.create();
    let list = bundle.rt.call(["list", "--format=json"]).ok().json();
    assert_eq!(list[0]["status"], "created");
}

#[test]
fn list_with_an_unknown_format_is_refused() {
    let bundle = Bundle::new();
    bundle.rt.call(["list", "--format", "yaml"]).failed();
}

#[test]
fn list_survives_a_foreign_directory_in_the_state_root() {
    let bundle = Bundle::waiting();
    let _container = bundle.create();
    let foreign = bundle.rt.root.join("not-a-container");
    std::fs::create_dir(&foreign).unwrap();
    let list = bundle.rt.call(["list", "-q"]).ok();
    std::fs::remove_dir(&foreign).unwrap();
    assert!(list.lines().contains(&bundle.id.as_str()), "{list}");
}

#[test]
fn the_state_directory_is_not_for_others() {
    use std::os::unix::fs::{FileTypeExt, MetadataExt};
    let bundle = Bundle::waiting();
    let _container = bundle.create();
    let directory = bundle.rt.root.join(&bundle.id);
    for entry in std::fs::read_dir(&directory).unwrap() {
        let entry = entry.unwrap();
        let mode = entry.metadata().unwrap().mode();
        if entry.file_type().unwrap().is_fifo() {
            continue; // runc's exec.fifo is 0622, in a directory that others cannot enter.
        }
        assert_eq!(mode & 0o022, 0, "{:?} is {mode:o}", entry.path());
    }
    assert_eq!(std::fs::metadata(&directory).unwrap().mode() & 0o022, 0);
}

#[test]
fn neither_the_callers_umask_nor_where_nothing_may_be_executed_is_in_the_way() {
    let mut bundle = Bundle::sh("echo ran");
    let noexec = bundle.host_dir("noexec");
    nix::mount::mount(
        Some("tmpfs"),
        &noexec,
        Some("tmpfs"),
        nix::mount::MsFlags::MS_NOEXEC | nix::mount::MsFlags::MS_NOSUID,
        None::<&str>,
    )
    .unwrap();
    bundle.rt.root = noexec.join("state");
    for umask in ["000", "077", "0777"] {
        let mut run = bundle.rt.after(&format!("umask {umask}"), &bundle.command("run", &[]));
        run.env("TMPDIR", &noexec);
        bundle.rt.finish(run).ok().prints("ran");
        bundle.create().delete_force();
    }
    crate::harness::mounts::detach_all(&bundle.rt.root);
    nix::mount::umount(&noexec).unwrap();
}
