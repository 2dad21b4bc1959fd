//! Hooks: which kinds run when and where, what they are told, and what their failure does.

use std::path::PathBuf;

use crate::harness::container::namespace_of;
use crate::harness::{Bundle, Value, json, sys};

const KINDS: [&str; 6] = ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"];

/// A hook that is a shell script; `DIR` in it stands for a directory that host and container both see.
fn hook(bundle: &mut Bundle, kind: &str, script: &str) -> PathBuf {
    let directory = bundle.host_dir("hooks");
    let mut script = script.replace("DIR", directory.to_str().unwrap());
    if !script.contains("cat >") {
        // Or crun may die of SIGPIPE, which a test of its own is about.
        script.insert_str(0, "cat > /dev/null; ");
    }
    bundle.push(&format!("/hooks/{kind}"), json!({"path": "/bin/sh", "args": ["sh", "-c", script]}));
    directory
}

/// Makes the hooks' directory visible inside, at the same path.
fn share(bundle: &mut Bundle) {
    let directory = bundle.host_dir("hooks");
    bundle.bind(&directory.clone(), directory.to_str().unwrap(), &["rbind", "rw"]);
}

fn read(directory: &std::path::Path, name: &str) -> String {
    let path = directory.join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path:?}: {error}")).trim().to_owned()
}

/// Proves: hooks.{prestart,createRuntime,createContainer,startContainer,poststart,poststop}[].path
#[test]
fn every_kind_runs_once_and_in_the_order_of_the_specification() {
    differs!("runc", "runc 1.1.5 runs poststart hooks at the end of `create`");
    differs!("crun", "crun's start does not wait for the startContainer hooks before it runs the poststart ones");
    let mut bundle = Bundle::new();
    share(&mut bundle);
    for kind in KINDS {
        hook(&mut bundle, kind, &format!("echo {kind}-1 >> DIR/order"));
        hook(&mut bundle, kind, &format!("echo {kind}-2 >> DIR/order"));
    }
    let directory = bundle.host_dir("hooks");
    let container = bundle.create();
    let before: Vec<String> = KINDS[..3].iter().flat_map(|kind| [1, 2].map(|n| format!("{kind}-{n}"))).collect();
    assert_eq!(read(&directory, "order").lines().collect::<Vec<_>>(), before);
    container.start();
    container.wait();
    let mut started = before.clone();
    started.extend(KINDS[3..5].iter().flat_map(|kind| [1, 2].map(|n| format!("{kind}-{n}"))));
    assert_eq!(read(&directory, "order").lines().collect::<Vec<_>>(), started);
    container.delete();
    started.extend([1, 2].map(|n| format!("poststop-{n}")));
    assert_eq!(read(&directory, "order").lines().collect::<Vec<_>>(), started);
}

#[test]
fn every_hook_is_told_the_state_on_its_stdin() {
    differs!("runc", "runc 1.1.5 runs poststart hooks at the end of `create`, with the status `created`");
    differs!("crun", "crun says `created` where the specification says `creating`");
    let mut bundle = Bundle::new();
    share(&mut bundle);
    bundle.set("/annotations", json!({"org.example/slash": "a/b \"quoted\""}));
    for kind in KINDS {
        hook(&mut bundle, kind, &format!("cat > DIR/{kind}"));
    }
    let directory = bundle.host_dir("hooks");
    let container = bundle.create();
    let pid = container.pid;
    container.start();
    container.wait();
    container.delete();
    let expected = [
        ("prestart", "creating"),
        ("createRuntime", "creating"),
        ("createContainer", "creating"),
        ("startContainer", "created"),
        ("poststart", "running"),
        ("poststop", "stopped"),
    ];
    for (kind, status) in expected {
        let text = read(&directory, kind);
        let state: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{kind}: {error}: {text}"));
        assert_eq!(state["id"], bundle.id.as_str(), "{kind}");
        assert_eq!(state["status"], status, "{kind}: {text}");
        assert_eq!(state["bundle"], bundle.path("").to_str().unwrap(), "{kind}");
        assert_eq!(state["annotations"]["org.example/slash"], "a/b \"quoted\"", "{kind}: {text}");
        assert!(state["ociVersion"].is_string(), "{kind}: {text}");
        match kind {
            // Hooks in the container's namespaces get the pid that the container sees (runtime-spec, State).
            "createContainer" | "startContainer" => assert_eq!(state["pid"], 1, "{kind}: {text}"),
            "prestart" | "createRuntime" | "poststart" => assert_eq!(state["pid"], pid, "{kind}: {text}"),
            _ => assert_eq!(state["pid"].as_i64().unwrap_or(0), 0, "{text}"),
        }
    }
}

#[test]
fn runtime_hooks_run_in_the_hosts_namespaces() {
    for kind in ["prestart", "createRuntime", "poststart", "poststop"] {
        let mut bundle = Bundle::new();
        let directory =
            hook(&mut bundle, kind, "for n in mnt net uts pid; do readlink /proc/self/ns/$n; done > DIR/ns");
        let container = bundle.create();
        container.start();
        container.wait();
        container.delete();
        let here = ["mnt", "net", "uts", "pid"].map(|file| namespace_of(std::process::id() as i32, file));
        assert_eq!(read(&directory, "ns").lines().collect::<Vec<_>>(), here, "{kind}");
    }
}

#[test]
fn create_container_hooks_run_in_the_containers_namespaces_before_its_root_is_entered() {
    let mut bundle = Bundle::waiting();
    bundle.file("marker", "", 0o644);
    let directory = hook(
        &mut bundle,
        "createContainer",
        "readlink /proc/self/ns/mnt > DIR/mnt; readlink /proc/self/ns/net > DIR/net; test -e /marker || echo host > DIR/root",
    );
    let container = bundle.create();
    assert_eq!(read(&directory, "mnt"), container.namespace("mnt"));
    assert_eq!(read(&directory, "net"), container.namespace("net"));
    assert_eq!(read(&directory, "root"), "host", "paths are still the host's");
}

#[test]
fn what_a_create_container_hook_mounts_is_seen_inside_and_not_on_the_host() {
    let mut bundle = Bundle::sh("cat /mnt/file");
    let root = bundle.rootfs("mnt");
    let script = format!("mount -t tmpfs hook {0} && echo from-the-hook > {0}/file", root.display());
    hook(&mut bundle, "createContainer", &script);
    bundle.run().ok().prints("from-the-hook");
    assert!(!root.join("file").exists());
}

#[test]
fn start_container_hooks_run_inside_the_container() {
    let mut bundle = Bundle::sh("cat /from-hook");
    bundle.file("bin/only-inside", "#!/bin/sh\nreadlink /proc/self/ns/mnt > /ns\necho inside > /from-hook\n", 0o755);
    bundle.set("/hooks/startContainer", json!([{"path": "/bin/only-inside"}]));
    bundle.run().ok().prints("inside");
}

/// Proves: hooks.createRuntime[].{args,env}
#[test]
fn a_hook_gets_its_own_args_and_environment_and_nothing_else() {
    let mut bundle = Bundle::waiting();
    let directory = bundle.host_dir("hooks");
    let script = format!("echo $0 $1 > {0}/args; env > {0}/env", directory.display());
    bundle.set(
        "/hooks/createRuntime",
        json!([{"path": "/bin/sh", "args": ["renamed", "-c", script, "zero", "one"], "env": ["PATH=/usr/bin:/bin", "KEY=value"]}]),
    );
    let mut command = bundle.command("create", &[]);
    command.env("FROM_THE_CALLER", "must not be seen");
    let _container = bundle.create_by(command);
    assert_eq!(read(&directory, "args"), "zero one");
    let env = read(&directory, "env");
    assert!(env.contains("KEY=value") && !env.contains("FROM_THE_CALLER"), "{env}");
}

#[test]
fn a_hook_that_does_not_read_its_stdin_is_no_error() {
    differs!("crun", "crun dies of SIGPIPE (fixed later)");
    let mut bundle = Bundle::new();
    share(&mut bundle);
    // More than a pipe holds.
    bundle.set("/annotations", json!({"big": "x".repeat(200_000)}));
    for kind in KINDS {
        bundle.set(&format!("/hooks/{kind}"), json!([{"path": "/bin/true"}]));
    }
    let container = bundle.create();
    container.start();
    container.wait();
    container.delete();
}

#[test]
fn a_hook_that_fails_before_the_start_undoes_the_creation() {
    differs!("crun", "crun's create exits with 255 then");
    for kind in ["prestart", "createRuntime", "createContainer"] {
        let mut bundle = Bundle::waiting();
        let directory = hook(&mut bundle, kind, "echo ran > DIR/ran; echo its-own-words >&2; exit 3");
        let output = bundle.refused().names(&format!("hooks.{kind}[0]"));
        assert_eq!(read(&directory, "ran"), "ran");
        if crate::harness::is_oarlock() {
            output.says("3");
        }
    }
}

#[test]
fn poststop_runs_after_a_creation_that_a_hook_made_fail() {
    differs!("crun", "crun runs poststop only when it deletes a container");
    let mut bundle = Bundle::waiting();
    hook(&mut bundle, "createRuntime", "exit 1");
    let directory = hook(&mut bundle, "poststop", "echo ran > DIR/poststop");
    bundle.refused();
    assert_eq!(read(&directory, "poststop"), "ran");
}

#[test]
fn later_hooks_do_not_run_after_a_failed_one() {
    differs!("crun", "crun's create exits with 255 then");
    let mut bundle = Bundle::waiting();
    let directory = hook(&mut bundle, "createRuntime", "echo first >> DIR/order; exit 1");
    hook(&mut bundle, "createRuntime", "echo second >> DIR/order");
    hook(&mut bundle, "createContainer", "echo third >> DIR/order");
    bundle.refused();
    assert_eq!(read(&directory, "order"), "first");
}

#[test]
fn a_start_container_hook_that_fails_stops_the_container_before_its_program() {
    let mut bundle = Bundle::sh("echo ran > /ran");
    bundle.set("/hooks/startContainer", json!([{"path": "/bin/false"}]));
    bundle.run_refused();
    assert!(!bundle.rootfs("ran").exists());
}

#[test]
fn a_poststart_hook_that_fails_ends_the_container() {
    differs!("runc", "runc 1.1.5 runs poststart hooks at the end of `create`");
    differs!("crun", "crun leaves the container running");
    let mut bundle = Bundle::waiting();
    hook(&mut bundle, "poststart", "exit 1");
    let container = bundle.create();
    container.call("start", &[]).failed();
    assert_eq!(container.wait(), 137);
}

#[test]
fn a_poststop_hook_that_fails_is_a_warning() {
    differs!("runc", "runc 1.1.5 does not run the hooks after it");
    let mut bundle = Bundle::sh("exit 0");
    let directory = hook(&mut bundle, "poststop", "echo first >> DIR/order; exit 1");
    hook(&mut bundle, "poststop", "echo second >> DIR/order");
    let container = bundle.started();
    container.wait();
    container.delete();
    assert_eq!(read(&directory, "order"), "first\nsecond");
}

#[test]
fn a_hook_that_exceeds_its_timeout_is_killed_and_fails() {
    let mut bundle = Bundle::waiting();
    bundle.set("/hooks/createRuntime", json!([{"path": "/bin/sleep", "args": ["sleep", "1000"], "timeout": 1}]));
    let begin = std::time::Instant::now();
    bundle.refused().names("hooks.createRuntime[0]");
    let took = begin.elapsed().as_secs();
    assert!((1..20).contains(&took), "{took} s");
}

#[test]
fn a_hook_that_ends_in_time_is_not_touched_by_its_timeout() {
    let mut bundle = Bundle::waiting();
    bundle.set("/hooks/createRuntime", json!([{"path": "/bin/true", "timeout": 100}]));
    let begin = std::time::Instant::now();
    let _container = bundle.create();
    assert!(begin.elapsed().as_secs() < 20);
}

#[test]
fn a_hook_that_does_not_exist_is_refused() {
    differs!("crun", "crun's create exits with 255 then");
    let mut bundle = Bundle::waiting();
    bundle.set("/hooks/createRuntime", json!([{"path": "/no/such/hook"}]));
    bundle.refused().names("hooks.createRuntime[0]");
}

/// Proves: hooks.createRuntime[].path
#[test]
fn a_relative_hook_path_is_refused() {
    differs!("crun", "crun looks it up from its working directory");
    let mut bundle = Bundle::waiting();
    bundle.set("/hooks/createRuntime", json!([{"path": "true"}]));
    bundle.refused().names("hooks.createRuntime[0].path");
}

/// Proves: hooks.createRuntime[].timeout
#[test]
fn a_hook_timeout_of_zero_or_less_is_refused() {
    differs!("crun", "crun takes zero for none");
    for timeout in [0, -1] {
        let mut bundle = Bundle::waiting();
        bundle.set("/hooks/createRuntime", json!([{"path": "/bin/true", "timeout": timeout}]));
        bundle.refused().names("hooks.createRuntime[0].timeout");
    }
}

#[test]
fn hooks_get_no_descriptor_of_the_runtime_or_its_caller() {
    differs!("runc", "createContainer hooks get three of runc's descriptors");
    for kind in ["createRuntime", "createContainer", "poststart"] {
        let mut bundle = Bundle::new();
        let directory = hook(&mut bundle, kind, "ls /proc/self/fd > DIR/fds");
        let mut command = bundle.command("create", &[]);
        let pipes = (0..3).map(|_| std::io::pipe().unwrap().0.into()).collect();
        sys::pass_fds(&mut command, pipes);
        let container = bundle.create_by(command);
        container.start();
        container.wait();
        // 3 is the directory that `ls` itself has open.
        assert_eq!(read(&directory, "fds").lines().collect::<Vec<_>>(), ["0", "1", "2", "3"], "{kind}");
    }
}

/// Proves: hooks.{prestart,createRuntime,createContainer,startContainer,poststart,poststop}[].{args,env}
#[test]
fn every_kind_of_hook_gets_its_args_and_its_environment() {
    let mut bundle = Bundle::new();
    share(&mut bundle);
    let directory = bundle.host_dir("hooks");
    for kind in KINDS {
        let script = format!("cat > /dev/null; echo $0 $1 $KEY > {}/{kind}", directory.display());
        let args = ["sh", "-c", &script, "zero", kind];
        let env = ["PATH=/usr/bin:/bin".to_owned(), format!("KEY=of-{kind}")];
        bundle.push(&format!("/hooks/{kind}"), json!({"path": "/bin/sh", "args": args, "env": env}));
    }
    bundle.run().ok();
    for kind in KINDS {
        assert_eq!(read(&directory, kind), format!("zero {kind} of-{kind}"));
    }
}

/// Proves: hooks.{prestart,createRuntime,createContainer,startContainer,poststart,poststop}[].timeout
#[test]
fn a_timeout_holds_for_every_kind_of_hook() {
    for kind in KINDS {
        let mut bundle = Bundle::new();
        bundle.push(&format!("/hooks/{kind}"), json!({"path": "/bin/sleep", "args": ["sleep", "1000"], "timeout": 1}));
        let begin = std::time::Instant::now();
        let output = bundle.run();
        let took = begin.elapsed().as_secs();
        assert!((1..20).contains(&took), "{kind}: {took} s: {output}");
        // What fails after the container's end is told, and no more.
        assert_eq!(output.code != 0, kind != "poststop", "{kind}: {output}");
        assert!(
            !crate::harness::is_oarlock() || output.stderr.contains(&format!("hooks.{kind}[0]")),
            "{kind}: {output}"
        );
    }
}
