//! The program: which file is executed, where, with what environment. What clients make of one that cannot be is in
//! client_texts.rs.

use std::os::unix::fs::PermissionsExt;

use crate::harness::{Bundle, json};

/// Proves: process.args
#[test]
fn empty_args_are_refused() {
    let mut bundle = Bundle::new();
    bundle.args(&[]);
    bundle.refused().names("process.args");
}

#[test]
fn a_script_whose_interpreter_is_missing_is_an_error_of_exec() {
    let mut bundle = Bundle::new();
    bundle.file("script", "#!/no/such/interpreter\n", 0o755);
    bundle.args(&["/script"]);
    bundle.run_refused().says_as_runc("no such file or directory");
}

/// Proves: process.args
#[test]
fn the_program_is_looked_up_on_the_containers_path() {
    let mut bundle = Bundle::new();
    bundle.file("opt/tools/only-here", "#!/bin/sh\necho found $0 $@\n", 0o755);
    bundle.set("/process/env", json!(["PATH=/nowhere::/opt/tools:/bin"]));
    bundle.args(&["only-here", "one", "two words"]);
    bundle.run().ok().prints("found /opt/tools/only-here one two words");
}

#[test]
fn the_lookup_passes_over_what_cannot_be_executed() {
    let mut bundle = Bundle::new();
    bundle.file("first/tool", "not executable", 0o644);
    bundle.file("second/tool", "#!/bin/sh\necho second\n", 0o755);
    bundle.set("/process/env", json!(["PATH=/first:/second:/bin"]));
    bundle.args(&["tool"]);
    bundle.run().ok().prints("second");
}

#[test]
fn a_name_with_a_slash_is_relative_to_the_working_directory() {
    let mut bundle = Bundle::new();
    bundle.file("work/bin/tool", "#!/bin/sh\necho from $PWD\n", 0o755);
    bundle.set("/process/cwd", "/work").args(&["bin/tool"]);
    bundle.run().ok().prints("from /work");
}

/// Proves: process.env
#[test]
fn the_environment_is_the_configs_and_nothing_more() {
    let mut bundle = Bundle::new();
    bundle.set("/process/env", json!(["PATH=/bin", "A=1", "EMPTY=", "EQUALS=a=b", "HOME=/here"]));
    bundle.args(&["env"]);
    let mut command = bundle.command("run", &[]);
    command.env("FROM_THE_CALLER", "must not be seen");
    let output = bundle.rt.finish(command).ok();
    let mut lines = output.lines();
    lines.sort_unstable();
    assert_eq!(lines, ["A=1", "EMPTY=", "EQUALS=a=b", "HOME=/here", "PATH=/bin"]);
}

#[test]
fn home_comes_from_the_containers_passwd_unless_it_is_set() {
    differs!("crun", "crun 1.8.1 leaves HOME unset for a user without an entry");
    let cases = [(0, "HOME=/root"), (1000, "HOME=/home/user"), (4711, "HOME=/")];
    for (uid, home) in cases {
        let mut bundle = Bundle::new();
        bundle.set("/process/user/uid", uid).args(&["env"]);
        let output = bundle.run().ok();
        assert!(output.lines().contains(&home), "uid {uid}: {output}");
    }
}

#[test]
fn an_empty_home_counts_as_unset() {
    differs!("crun", "crun keeps the empty one");
    let mut bundle = Bundle::new();
    bundle.push("/process/env", json!("HOME=")).args(&["env"]);
    let output = bundle.run().ok();
    assert!(output.lines().contains(&"HOME=/root"), "{output}");
}

#[test]
fn without_a_passwd_home_is_the_root() {
    let mut bundle = Bundle::new();
    std::fs::remove_file(bundle.rootfs("etc/passwd")).unwrap();
    bundle.args(&["env"]);
    let output = bundle.run().ok();
    assert!(output.lines().contains(&"HOME=/"), "{output}");
}

/// Proves: process.cwd
#[test]
fn the_working_directory_is_made_if_it_is_missing() {
    let mut bundle = Bundle::sh("pwd; stat -c %a .");
    bundle.set("/process/cwd", "/not/there/yet");
    assert_eq!(bundle.run().ok().lines(), ["/not/there/yet", "755"]);
}

/// Proves: process.cwd
#[test]
fn a_relative_working_directory_is_refused() {
    differs!("crun", "crun takes it as below the root");
    let mut bundle = Bundle::waiting();
    bundle.set("/process/cwd", "relative");
    bundle.refused().names("process.cwd");
}

#[test]
fn a_working_directory_that_is_a_file_is_refused() {
    let mut bundle = Bundle::waiting();
    bundle.file("etc/file", "", 0o644);
    bundle.set("/process/cwd", "/etc/file");
    bundle.refused().names("process.cwd");
}

#[test]
fn a_working_directory_that_only_the_user_can_enter_works() {
    let mut bundle = Bundle::sh("pwd");
    let private = bundle.rootfs("private");
    std::fs::create_dir(&private).unwrap();
    std::os::unix::fs::chown(&private, Some(1000), Some(1000)).unwrap();
    std::fs::set_permissions(&private, std::fs::Permissions::from_mode(0o700)).unwrap();
    bundle.set("/process/cwd", "/private").set("/process/user", json!({"uid": 1000, "gid": 1000}));
    bundle.remove("/process/capabilities");
    bundle.run().ok().prints("/private");
}

/// Proves: process.user.umask
#[test]
fn the_umask_is_0022_unless_it_is_set() {
    Bundle::sh("umask").run().ok().prints("0022");
    let mut bundle = Bundle::sh("umask");
    bundle.set("/process/user/umask", 0o27);
    bundle.run().ok().prints("0027");
}

#[test]
fn the_callers_umask_is_not_inherited_and_does_not_change_what_is_made() {
    differs!("runc", "runc makes the working directory with the caller's umask");
    differs!("crun", "crun makes the working directory with the caller's umask");
    let mut bundle = Bundle::sh("umask; stat -c %a /dev/null /made/here /new/work");
    bundle.mount("/made/here", "tmpfs", "tmpfs", &["mode=755"]).set("/process/cwd", "/new/work");
    let command = bundle.rt.after("umask 0777", &bundle.command("run", &[]));
    assert_eq!(bundle.rt.finish(command).ok().lines(), ["0022", "666", "755", "755"]);
}

/// Proves: process.user.{uid,gid,additionalGids}
#[test]
fn user_group_and_additional_groups_are_those_asked_for() {
    let mut bundle = Bundle::sh("id -u; id -g; grep Groups: /proc/self/status");
    bundle.set("/process/user", json!({"uid": 1000, "gid": 1001, "additionalGids": [5, 7, 1001]}));
    let output = bundle.run().ok();
    assert_eq!(output.lines()[..2], ["1000", "1001"]);
    let groups: Vec<&str> = output.field("Groups:").split_whitespace().collect();
    assert_eq!(groups, ["5", "7", "1001"]);
}

#[test]
fn without_additional_groups_there_are_none() {
    let output = Bundle::sh("grep Groups: /proc/self/status").run().ok();
    assert_eq!(output.field("Groups:"), "");
}

/// Proves: process.rlimits[].{type,soft,hard}
#[test]
fn rlimits_are_set() {
    let mut bundle = Bundle::sh("cat /proc/self/limits");
    bundle.set(
        "/process/rlimits",
        json!([
            {"type": "RLIMIT_NOFILE", "soft": 100, "hard": 200},
            {"type": "RLIMIT_CORE", "soft": 0, "hard": 0},
            {"type": "RLIMIT_NPROC", "soft": 50, "hard": 60},
            {"type": "RLIMIT_STACK", "soft": 4_194_304, "hard": 8_388_608}
        ]),
    );
    let output = bundle.run().ok();
    let limit =
        |name: &str| -> Vec<String> { output.field(name).split_whitespace().take(2).map(str::to_owned).collect() };
    assert_eq!(limit("Max open files"), ["100", "200"]);
    assert_eq!(limit("Max core file size"), ["0", "0"]);
    assert_eq!(limit("Max processes"), ["50", "60"]);
    assert_eq!(limit("Max stack size"), ["4194304", "8388608"]);
}

/// Proves: process.rlimits[].type
#[test]
fn an_unknown_rlimit_is_refused() {
    let mut bundle = Bundle::waiting();
    bundle.set("/process/rlimits", json!([{"type": "RLIMIT_COLOUR", "soft": 1, "hard": 1}]));
    bundle.refused().names("process.rlimits[0].type");
}

#[test]
fn an_rlimit_given_twice_is_refused() {
    differs!("runc", "runc takes the last");
    differs!("crun", "crun takes the last");
    let mut bundle = Bundle::waiting();
    let limit = json!({"type": "RLIMIT_CORE", "soft": 0, "hard": 0});
    bundle.set("/process/rlimits", json!([limit, limit]));
    bundle.refused().names("process.rlimits[1]");
}

/// Proves: process.rlimits[].{soft,hard}
#[test]
fn a_soft_limit_above_the_hard_one_is_refused() {
    let mut bundle = Bundle::waiting();
    bundle.set("/process/rlimits", json!([{"type": "RLIMIT_CORE", "soft": 2, "hard": 1}]));
    bundle.refused().names("process.rlimits[0]");
}

#[test]
fn a_numeric_user_name_in_passwd_is_not_taken_for_the_uid() {
    // CVE-2016-3697: "1000" as a name of uid 0.
    let mut bundle = Bundle::sh("id -u");
    bundle.file("etc/passwd", "1000:x:0:0::/:/bin/sh\n", 0o644);
    bundle.set("/process/user", json!({"uid": 1000, "gid": 1000}));
    bundle.run().ok().prints("1000");
}

/// Proves: process.{commandLine,user.username}
#[test]
fn properties_for_windows_mean_nothing_here() {
    let mut bundle = Bundle::sh("id -u; echo $0");
    bundle.set("/process/commandLine", "cmd /c exit 7").set("/process/user/username", "user");
    assert_eq!(bundle.run().ok().lines(), ["0", "sh"]);
}
