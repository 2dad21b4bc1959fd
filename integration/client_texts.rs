//! What clients make of our failures: for each situation, what is printed and what is logged is given to the client's own
//! rule. The rules, with their places in the clients' sources, are in client_texts/rules.rs.

mod rules;

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::process::Command;

use crate::harness::{Bundle, is_oarlock, json};
use rules::{Killed, Podman, Told};

/// A bundle whose runtime is called as containerd and Podman call it.
fn logging(mut bundle: Bundle) -> Bundle {
    let log = bundle.path("log.json");
    bundle.rt.global = ["--log", log.to_str().unwrap(), "--log-format", "json"].map(String::from).to_vec();
    bundle
}

/// A bundle with that program, called so.
fn program(args: &[&str]) -> Bundle {
    let mut bundle = Bundle::new();
    bundle.args(args);
    logging(bundle)
}

/// Runs a command that must fail with `code`. The log has its entries alone.
#[track_caller]
fn fails(bundle: &Bundle, command: Command, code: i32) -> Told {
    let log = bundle.path("log.json");
    fs::remove_file(&log).ok();
    let running = bundle.rt.spawn(command);
    let stderr = running.stderr.clone();
    let output = running.wait().code_is(code);
    Told { code, stdout: output.stdout, stderr: fs::read(stderr).unwrap(), log: fs::read(log).unwrap_or_default() }
}

#[track_caller]
fn call_fails(bundle: &Bundle, words: &[&str]) -> Told {
    fails(bundle, bundle.rt.command(words), if words[0] == "exec" { 255 } else { 1 })
}

#[track_caller]
fn run_fails(bundle: &Bundle) -> Told {
    fails(bundle, bundle.command("run", &[]), 1)
}

/// What each client has of a failure: the error that containerd passes on to dockerd and to the kubelet, Podman's message,
/// and conmon's, which CRI-O passes on.
#[track_caller]
fn messages(told: &Told) -> [String; 3] {
    let logged = rules::containerd_last_error(&told.log).unwrap_or_else(|error| panic!("{error}: {told:?}"));
    assert!(!logged.is_empty(), "containerd finds no error: {told:?}");
    // Both channels say the same, whichever a client reads.
    assert!(told.printed().contains(&logged), "printed is something else: {told:?}");
    [logged, rules::podman_message(told), rules::conmon_message(&told.stderr)]
}

/// Every channel has a text of runc's, byte for byte.
#[track_caller]
fn says(told: &Told, text: &str) {
    for message in messages(told) {
        assert!(message.contains(text), "{text:?} is missing: {told:?}");
    }
}

/// The exit codes that clients give for a program that cannot be executed.
struct Codes {
    docker: i32,
    docker_20: i32,
    docker_cli: i32,
    podman_run: i32,
    podman_exec: i32,
}

const NOT_FOUND: Codes = Codes { docker: 127, docker_20: 127, docker_cli: 127, podman_run: 127, podman_exec: 127 };
const NOT_EXECUTABLE: Codes = Codes { docker: 126, docker_20: 126, docker_cli: 126, podman_run: 126, podman_exec: 126 };

/// Has `run` and `exec` fail for want of that program, and compares what Docker and Podman make of it.
#[track_caller]
fn unexecutable(path: &str, text: &str, codes: &Codes) {
    let mut bundle = program(&[path]);
    bundle.file("plain", "text", 0o644);
    let start = run_fails(&bundle);
    bundle.args(&["sleep", "1000"]);
    let _container = bundle.started();
    let exec = call_fails(&bundle, &["exec", &bundle.id, path]);
    for told in [&start, &exec] {
        says(told, text);
        for message in messages(told) {
            assert_eq!(rules::dockerd_code(&message), (codes.docker, path.contains("passwd")), "dockerd: {message}");
            assert_eq!(rules::docker_20_code(&message, path), codes.docker_20, "dockerd 20.10: {message}");
            assert_eq!(rules::docker_cli_code(&message), codes.docker_cli, "docker: {message}");
            assert_eq!(rules::podman_run_code(&message), codes.podman_run, "podman run: {message}");
        }
    }
    assert_eq!(rules::podman_exec_code(&exec), codes.podman_exec, "podman exec: {exec:?}");
}

#[test]
fn docker_and_podman_give_127_for_a_name_that_is_not_on_path() {
    differs!("crun", "crun has its own words, and no names of Docker's in them");
    let text = r#"unable to start container process: exec: "no-such-program": executable file not found in $PATH"#;
    unexecutable("no-such-program", text, &NOT_FOUND);
}

#[test]
fn docker_and_podman_give_127_for_a_path_that_does_not_exist() {
    differs!("crun", "crun has its own words, and no names of Docker's in them");
    let text = r#"exec: "/no/such/program": stat /no/such/program: no such file or directory"#;
    unexecutable("/no/such/program", text, &NOT_FOUND);
}

#[test]
fn docker_and_podman_give_126_for_a_file_that_is_not_executable() {
    differs!("crun", "crun has its own words");
    unexecutable("/plain", r#"exec: "/plain": permission denied"#, &NOT_EXECUTABLE);
}

/// In the words of runc 1.1: for those that it has since 1.2, `is a directory`, Docker 20.10 and `podman exec` have no rule.
#[test]
fn docker_and_podman_give_126_for_a_directory() {
    differs!("crun", "crun says `executable path is a directory`");
    let hint = if is_oarlock() { " (hint: /tmp is a directory)" } else { "" };
    unexecutable("/tmp", &format!(r#"exec: "/tmp": permission denied{hint}"#), &NOT_EXECUTABLE);
}

#[test]
fn docker_gives_127_and_its_question_for_a_program_below_a_file() {
    differs!("crun", "crun has its own words");
    let codes = Codes { docker: 127, docker_20: 127, docker_cli: 125, podman_run: 126, podman_exec: 255 };
    unexecutable("/etc/passwd/x", "stat /etc/passwd/x: not a directory", &codes);
}

#[test]
fn docker_asks_about_files_and_directories_when_a_bind_has_one_over_the_other() {
    differs!("crun", "crun has its own words");
    for (to, directory) in [("/tmp", false), ("/plain", true)] {
        let mut bundle = program(&["true"]);
        bundle.file("plain", "text", 0o644);
        let dir = bundle.host_dir("dir");
        let file = dir.join("file");
        fs::write(&file, "text").unwrap();
        bundle.bind(if directory { &dir } else { &file }, to, &[]);
        for message in messages(&run_fails(&bundle)) {
            assert_eq!(rules::dockerd_code(&message), (127, true), "{message}");
        }
    }
}

#[test]
fn docker_and_podman_give_127_for_a_bind_whose_source_is_missing() {
    differs!("crun", "crun has its own words");
    let mut bundle = program(&["true"]);
    bundle.bind("/no/such/source".as_ref(), "/mnt", &[]);
    for message in messages(&run_fails(&bundle)) {
        assert_eq!(rules::dockerd_code(&message), (127, false), "{message}");
        assert_eq!(rules::docker_cli_code(&message), 127, "{message}");
        assert_eq!(rules::podman_error(&message), Podman::NotFound, "{message}");
        assert!(message.contains("/no/such/source"), "{message}");
    }
}

/// `getOCIRuntimeError` wants the file of the label in backquotes, as crun writes it.
#[test]
fn podman_knows_that_a_security_label_could_not_be_set() {
    differs!("runc", "runc writes no backquotes");
    differs!("crun", "crun 1.8.1 ignores labels where no security module is active");
    if std::fs::read_to_string("/sys/kernel/security/lsm").is_ok_and(|list| list.contains("apparmor")) {
        skip!("AppArmor is active here, and the profile would have to be one that it does not know");
    }
    for pointer in ["/process/apparmorProfile", "/process/selinuxLabel"] {
        let mut bundle = program(&["true"]);
        bundle.set(pointer, "no-such-label");
        for message in messages(&run_fails(&bundle)) {
            assert_eq!(rules::podman_error(&message), Podman::SetSecurityAttribute, "{message}");
        }
    }
}

#[test]
fn a_container_that_has_ended_is_found_finished_by_every_client_that_kills_it() {
    differs!("crun", "crun has its own words");
    let bundle = logging(Bundle::sh("true"));
    let container = bundle.started();
    container.wait();
    for signal in ["KILL", "TERM", "0"] {
        let told = call_fails(&bundle, &["kill", &bundle.id, signal]);
        says(&told, "container not running");
        assert_eq!(rules::containerd_kill(&rules::go_runc_error(&told)), Killed::AlreadyFinished, "{told:?}");
        assert!(rules::crio_not_found(&told.printed()), "{told:?}");
        assert!(told.printed().lines().all(rules::podman_stop_hides), "{told:?}");
    }
    let told = call_fails(&bundle, &["pause", &bundle.id]);
    assert!(rules::crio_not_found(&told.printed()), "{told:?}");
}

#[test]
fn a_container_that_is_not_there_is_gone_for_every_client() {
    differs!("crun", "crun has its own words");
    let bundle = logging(Bundle::new());
    let told = call_fails(&bundle, &["kill", "missing", "KILL"]);
    says(&told, "container does not exist");
    assert_eq!(rules::containerd_kill(&rules::go_runc_error(&told)), Killed::NoContainer, "{told:?}");
    let told = call_fails(&bundle, &["delete", "missing"]);
    says(&told, "container does not exist");
    assert!(rules::containerd_delete_is_done(&rules::go_runc_error(&told)), "{told:?}");
    let told = call_fails(&bundle, &["state", "missing"]);
    says(&told, "container does not exist");
    assert!(rules::podman_state_is_gone(&told.printed()) && told.stdout.is_empty(), "{told:?}");
    // CRI-O's DeleteContainer, and go-runc's with Force: success, or the container is tried for again and again.
    bundle.rt.call(["delete", "--force", "missing"]).ok().prints("");
}

/// A failure that is none of those is not taken for one of them.
#[test]
fn a_kill_that_failed_for_another_reason_is_an_error_to_all() {
    let bundle = logging(Bundle::waiting());
    let _container = bundle.started();
    let told = call_fails(&bundle, &["kill", &bundle.id, "NOPE"]);
    assert_eq!(rules::containerd_kill(&rules::go_runc_error(&told)), Killed::Unknown, "{told:?}");
    assert!(!rules::crio_not_found(&told.printed()), "{told:?}");
    assert!(!told.printed().lines().any(rules::podman_stop_hides), "{told:?}");
    let told = call_fails(&bundle, &["delete", &bundle.id]);
    assert!(!rules::containerd_delete_is_done(&rules::go_runc_error(&told)), "{told:?}");
}

#[test]
fn the_texts_of_a_running_container_are_runcs() {
    differs!("crun", "crun has its own words");
    let bundle = logging(Bundle::waiting());
    let id = bundle.id.clone();
    let container = bundle.started();
    let refused = |words: &[&str], text: &str| says(&call_fails(&bundle, words), text);
    says(&fails(&bundle, bundle.command("create", &[]), 1), "container with given ID already exists");
    refused(&["start", &id], "cannot start an already running container");
    refused(&["delete", &id], &format!("cannot delete container {id} that is not stopped: running"));
    refused(&["kill", &id, "NOPE"], r#"unknown signal "NOPE""#);
    refused(&["resume", &id], "container not paused");
    container.call("pause", &[]).ok();
    refused(&["pause", &id], "container not running");
    refused(&["start", &id], "cannot start a container in the paused state");
    refused(&["delete", &id], &format!("cannot delete container {id} that is not stopped: paused"));
    refused(&["exec", &id, "true"], "exec failed: cannot exec in a paused container (use --ignore-paused to override)");
}

#[test]
fn the_texts_of_a_container_that_has_ended_are_runcs() {
    differs!("crun", "crun has its own words");
    let bundle = logging(Bundle::sh("true"));
    let container = bundle.started();
    container.wait();
    for (words, text) in [
        (&["start", &bundle.id][..], "cannot start a container that has stopped"),
        (&["exec", &bundle.id, "true"], "exec failed: cannot exec in a stopped container"),
        (&["pause", &bundle.id], "container not running"),
        (&["update", "--pids-limit", "9", &bundle.id], "container not running"),
    ] {
        says(&call_fails(&bundle, words), text);
    }
    let told = call_fails(&bundle, &["events", "--stats", &bundle.id]);
    says(&told, &format!("container with id {} is not running", bundle.id));
}

#[test]
fn the_texts_of_a_missing_container_are_runcs_for_every_verb() {
    differs!("crun", "crun has its own words");
    let bundle = logging(Bundle::new());
    for words in [
        &["state", "missing"][..],
        &["start", "missing"],
        &["kill", "missing"],
        &["delete", "missing"],
        &["pause", "missing"],
        &["resume", "missing"],
        &["ps", "missing"],
        &["update", "--pids-limit", "9", "missing"],
        &["events", "--stats", "missing"],
        &["exec", "missing", "true"],
    ] {
        says(&call_fails(&bundle, words), "container does not exist");
    }
    for id in ["a/b", "..", "ü"] {
        let mut create = bundle.rt.command(["create", "--bundle"]);
        create.arg(bundle.write().path("")).arg(id);
        says(&fails(&bundle, create, 1), "invalid container ID format");
    }
}

/// containerd shows the reason of its last failed call, so that of every failure is logged, a mistake in the call included.
#[test]
fn a_call_that_is_wrong_in_itself_is_logged_too() {
    let bundle = logging(Bundle::new());
    for words in [&["create", "--no-such-flag", "id"][..], &["create"], &["update", "--pids-limit", "many", "id"]] {
        messages(&call_fails(&bundle, words));
    }
    if is_oarlock() {
        messages(&call_fails(&bundle, &["no-such-verb"]));
        messages(&call_fails(&bundle, &["--systemd-cgroup", "--cgroup-manager=cgroupfs", "list"]));
    }
}

/// `getLastRuntimeError` reads to the end of the log: later failures come after earlier ones, warnings between them.
#[test]
fn containerd_finds_the_last_error_behind_earlier_ones_and_warnings() {
    differs!("crun", "crun has its own words");
    let bundle = logging(Bundle::new());
    let log = bundle.path("log.json");
    for words in [&["state", "first"][..], &["kill", "second", "NOPE"], &["delete", "third"]] {
        bundle.rt.call(words).failed();
    }
    assert_eq!(fs::read_to_string(&log).unwrap().lines().count(), 3);
    let mut failing = logging(Bundle::new());
    failing.rt.global[1] = log.to_str().unwrap().to_owned();
    failing.args(&["/missing"]).push("/process/capabilities/bounding", json!("CAP_NEVER"));
    failing.run().failed();
    let last = rules::containerd_last_error(&fs::read(&log).unwrap()).unwrap();
    assert!(last.contains("/missing"), "{last}");
}

/// A warning and an error are two objects: Podman falls back upon what conmon has read, which is the error all the same.
#[test]
fn podman_finds_the_error_where_there_is_a_warning_too() {
    differs!("crun", "crun 1.8.1 refuses unknown capabilities");
    let mut bundle = program(&["/missing"]);
    bundle.push("/process/capabilities/bounding", json!("CAP_NEVER"));
    let told = run_fails(&bundle);
    assert_eq!(told.log.iter().filter(|byte| **byte == b'\n').count(), 2, "a warning and an error: {told:?}");
    assert_eq!(rules::podman_error(&rules::podman_message(&told)), Podman::NotFound, "{told:?}");
}

/// Bytes that are no UTF-8 end a message of gRPC, quotes and line ends a line of JSON.
#[test]
fn whatever_is_quoted_the_log_is_json_and_both_channels_are_utf8() {
    differs!("runc", "runc prints the bytes as they are");
    differs!("crun", "crun 1.8.1 writes the bytes as they are");
    for bytes in [&b"/no/\xff\xfe"[..], b"/no/\"quoted\"", b"/no/line\nend\r\t\x1b[31m", "/no/\u{2028}ü".as_bytes()] {
        let bundle = logging(Bundle::new());
        let mut create = bundle.rt.command(["create", "--bundle"]);
        create.arg(OsStr::from_bytes(bytes)).arg(&bundle.id);
        let told = fails(&bundle, create, 1);
        let logged = rules::containerd_last_error(&told.log).unwrap_or_else(|error| panic!("{error}: {told:?}"));
        assert_eq!(told.log.iter().filter(|byte| **byte == b'\n').count(), 1, "one line: {told:?}");
        assert!(logged.contains("no such file or directory"), "{logged}");
        assert_eq!(rules::podman_error(&rules::podman_message(&told)), Podman::NotFound, "{told:?}");
        assert_eq!(rules::podman_error(&told.printed()), Podman::NotFound, "{told:?}");
    }
}

/// conmon reads once, so the reason has to be in the first 8 KiB, however much a hook has to say.
#[test]
fn conmon_has_the_reason_when_a_hook_says_much() {
    differs!("crun", "crun does not quote hooks");
    let mut bundle = program(&["true"]);
    let hook =
        json!({"path": "/bin/sh", "args": ["sh", "-c", "yes no such file or directory | head -c 100000 >&2; exit 7"]});
    bundle.push("/hooks/createRuntime", hook);
    let told = run_fails(&bundle);
    let message = rules::conmon_message(&told.stderr);
    assert!(message.contains("hook") && message.contains('7'), "{message}");
    rules::containerd_last_error(&told.log).unwrap_or_else(|error| panic!("{error}: {told:?}"));
}

/// conmon takes any exit status but 0 for a failure; of `exec` it passes on 255, which no program's own start ends with.
#[test]
fn a_failure_of_exec_itself_is_255_and_a_programs_exit_code_its_own() {
    differs!("crun", "crun ends with 1");
    let bundle = logging(Bundle::waiting());
    let _container = bundle.started();
    call_fails(&bundle, &["exec", &bundle.id, "/missing"]);
    call_fails(&bundle, &["exec", "--cwd", "/no/such/directory", &bundle.id, "true"]);
    for code in [1, 126, 127] {
        bundle.rt.call(["exec", &bundle.id, "sh", "-c", &format!("exit {code}")]).code_is(code);
    }
    bundle.rt.call(["exec", &bundle.id, "sh", "-c", "kill -KILL $$"]).code_is(137);
}

#[test]
fn buildah_sees_a_container_run_and_stop_and_nothing_else() {
    let bundle = logging(Bundle::waiting());
    let container = bundle.started();
    let stopped = || rules::buildah_is_stopped(&bundle.rt.call(["state", &bundle.id]).ok().stdout);
    assert_eq!(stopped(), Ok(false));
    container.kill("KILL");
    container.wait();
    assert_eq!(stopped(), Ok(true));
}

#[test]
fn go_runc_and_docker_read_our_version() {
    differs!("crun", "go-runc takes no other name than runc's");
    let text = Bundle::new().rt.call(["--version"]).ok().stdout;
    let (version, commit, spec) = rules::go_runc_version(&text).expect("go-runc's three lines");
    assert!(!version.is_empty() && !commit.is_empty() && spec.starts_with("1."), "{text}");
    let (name, shown, shown_commit) = rules::dockerd_version(&text);
    assert_eq!((shown, shown_commit), (version, commit));
    assert_eq!(name, if is_oarlock() { "oarlock" } else { "runc" });
}
