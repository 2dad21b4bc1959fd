//! The command line as programs and people use it: flags and where they stand, usage errors, logs, the
//! informational verbs.

use std::fs;

use crate::harness::runtime::name;
use crate::harness::{Bundle, Output, Value, is_oarlock, json};

/// Calls the runtime with global flags in front of a verb that fails.
fn failing(bundle: &Bundle, flags: &[&str]) -> Output {
    let args: Vec<&str> = flags.iter().copied().chain(["state", "there-is-none"]).collect();
    bundle.rt.call(args)
}

#[test]
fn options_may_follow_the_id() {
    differs!("crun", "crun's parser takes options before the id only");
    let bundle = Bundle::waiting();
    bundle.write();
    let file = bundle.host_dir("pid").join("pid");
    let mut command = bundle.rt.command(["create", &bundle.id, "--bundle"]);
    command.arg(bundle.path("")).arg("--pid-file").arg(&file);
    let container = bundle.create_by(command);
    assert_eq!(fs::read_to_string(&file).unwrap(), container.pid.to_string());
    bundle.rt.call(["delete", &bundle.id, "--force"]).ok();
}

#[test]
fn a_long_option_may_have_one_dash() {
    differs!("crun", "crun's argp knows long options with two dashes only");
    let bundle = Bundle::waiting();
    bundle.write();
    let mut command = bundle.rt.command(["create", "-bundle"]);
    command.arg(bundle.path("")).arg("-no-new-keyring").arg(&bundle.id);
    let _container = bundle.create_by(command);
    bundle.rt.call(["delete", "-force", &bundle.id]).ok();
}

#[test]
fn a_value_may_be_joined_by_an_equals_sign() {
    let bundle = Bundle::waiting();
    bundle.write();
    let file = bundle.host_dir("pid").join("pid");
    let command = bundle.rt.command([
        "create".to_owned(),
        format!("--bundle={}", bundle.path("").display()),
        format!("--pid-file={}", file.display()),
        bundle.id.clone(),
    ]);
    let container = bundle.create_by(command);
    assert_eq!(fs::read_to_string(&file).unwrap(), container.pid.to_string());
}

#[test]
fn version_is_understood_by_go_runc() {
    let bundle = Bundle::new();
    for flag in ["--version", "-v"] {
        if name() == "crun" && flag == "-v" {
            continue;
        }
        let output = bundle.rt.call([flag]).ok();
        let lines = output.lines();
        // go-runc's parseVersion: the first line, then one of each.
        if name() != "crun" {
            assert!(lines[0].starts_with("runc version "), "{output}");
        }
        for word in ["commit: ", "spec: 1."] {
            assert!(lines[1..].iter().any(|line| line.starts_with(word)), "{word}: {output}");
        }
    }
}

#[test]
fn version_is_understood_by_docker() {
    let bundle = Bundle::new();
    let output = bundle.rt.call(["--version"]).ok();
    // moby's parseRuntimeVersion: `NAME version X` and a `commit:` line.
    let lines = output.lines();
    let version = lines.iter().find(|line| line.contains("version")).expect("a version line");
    assert!(version.split_whitespace().count() >= 3, "{output}");
    assert!(lines.iter().any(|line| line.trim_start().starts_with("commit:")), "{output}");
}

#[test]
fn version_needs_no_usable_state_directory() {
    let mut bundle = Bundle::new();
    bundle.rt.root = "/proc/no/such".into();
    bundle.rt.call(["--version"]).ok();
    bundle.rt.root = bundle.path("state");
}

#[test]
fn usage_errors_exit_with_1() {
    differs!("crun", "argp exits with 64 for usage errors");
    let bundle = Bundle::new();
    let wrong: [&[&str]; 8] = [
        &["--no-such-flag", "list"],
        &["state"],
        &["start"],
        &["create"],
        &["create", "a", "b"],
        &["create", "--no-such-flag", "a"],
        &["delete", "--no-such-flag", "a"],
        &["run", "--console-socket"],
    ];
    for args in wrong {
        let output = bundle.rt.call(args).code_is(1);
        assert!(!(output.stderr.is_empty() && output.stdout.is_empty()), "without a word: {output}");
    }
}

#[test]
fn flags_that_mean_nothing_here_are_taken_from_clients_that_give_them() {
    differs!("crun", "crun has no --criu");
    let mut bundle = Bundle::sh("true");
    // containerd gives its criu_path to go-runc, and that to every call.
    bundle.rt.global = vec!["--criu".into(), "/usr/sbin/criu".into()];
    bundle.run().ok();
    if is_oarlock() {
        bundle.rt.call(["create", "--no-subreaper", "--bundle", bundle.path("").to_str().unwrap(), &bundle.id]).ok();
        bundle.rt.call(["delete", "--force", &bundle.id]).ok();
    }
}

#[test]
fn the_beginning_of_a_long_flag_does() {
    differs!("runc", "runc wants the whole of it");
    let bundle = Bundle::sh("echo ran");
    let mut run = bundle.write().rt.command(["--log-f", "text", "run", "--bund"]);
    run.arg(bundle.path("")).arg(&bundle.id);
    bundle.rt.finish(run).ok().prints("ran");
    // There is more than one.
    bundle.rt.call(["create", "--pid", "x", "id"]).failed();
}

#[test]
fn an_unknown_verb_is_refused() {
    differs!("runc", "runc 1.1 prints `No help topic` and exits with 3");
    let bundle = Bundle::new();
    bundle.rt.call(["no-such-verb"]).failed();
}

#[test]
fn help_lists_the_verbs_on_stdout() {
    let bundle = Bundle::new();
    for flag in ["--help", "-h", "help"] {
        if name() == "crun" && flag != "--help" {
            continue;
        }
        let output = bundle.rt.call([flag]).ok();
        for verb in ["create", "start", "state", "kill", "delete", "run", "list", "spec"] {
            assert!(output.stdout.contains(verb), "{flag} does not show {verb}: {output}");
        }
    }
}

#[test]
fn without_a_command_help_is_shown() {
    differs!("crun", "crun refuses it");
    let bundle = Bundle::new();
    let mut alone = std::process::Command::new(crate::harness::runtime::binary());
    alone.stdin(std::process::Stdio::null());
    for command in [alone, bundle.rt.command::<&str>([])] {
        let output = bundle.rt.finish(command).ok();
        assert!(output.stdout.contains("create") && output.stderr.is_empty(), "{output}");
    }
}

#[test]
fn every_verb_explains_itself() {
    let bundle = Bundle::new();
    for verb in ["create", "start", "state", "kill", "delete", "run", "list", "spec"] {
        let output = bundle.rt.call([verb, "--help"]).ok();
        assert!(output.stdout.contains(verb), "{output}");
    }
}

#[test]
fn the_json_log_gives_containerd_its_last_error() {
    let bundle = Bundle::new();
    let log = bundle.path("log.json");
    let output = failing(&bundle, &["--log", log.to_str().unwrap(), "--log-format", "json"]).failed();
    let text = fs::read_to_string(&log).unwrap();
    // containerd's getLastRuntimeError: a JSON object a line, the last one of level `error` counts.
    let entries: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect("one object a line")).collect();
    let last = entries.iter().rfind(|entry| entry["level"] == "error").expect("an error");
    let message = last["msg"].as_str().expect("msg");
    if name() != "crun" {
        assert!(message.contains("does not exist"), "{text}");
    }
    assert!(last["time"].as_str().is_some_and(|time| time.contains('T')), "{text}");
    // go-runc shows what is on stderr: the text is there too.
    if name() != "crun" {
        output.says("does not exist");
    }
}

#[test]
fn the_text_log_holds_the_error_and_is_appended_to() {
    let bundle = Bundle::new();
    let log = bundle.path("log.txt");
    fs::write(&log, "before\n").unwrap();
    failing(&bundle, &["--log", log.to_str().unwrap(), "--log-format", "text"]).failed();
    failing(&bundle, &["--log", log.to_str().unwrap()]).failed();
    let text = fs::read_to_string(&log).unwrap();
    assert!(text.starts_with("before\n"), "{text}");
    assert!(text.lines().count() >= 3, "{text}");
}

#[test]
fn a_create_that_fails_writes_its_reason_to_the_log() {
    let mut bundle = Bundle::new();
    bundle.args(&["/no/such/program"]);
    let log = bundle.path("log.json");
    bundle.rt.global = ["--log", log.to_str().unwrap(), "--log-format", "json"].map(String::from).to_vec();
    bundle.run().failed();
    let text = fs::read_to_string(&log).unwrap();
    let errors: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).expect("one object a line"))
        .filter(|entry: &Value| entry["level"] == "error")
        .collect();
    let message = errors.last().expect("an error")["msg"].as_str().unwrap().to_owned();
    assert!(message.contains("/no/such/program"), "{text}");
}

#[test]
fn an_unknown_log_format_is_refused() {
    let bundle = Bundle::new();
    bundle.rt.call(["--log-format", "xml", "list"]).failed();
}

#[test]
fn a_log_that_cannot_be_opened_is_refused() {
    let bundle = Bundle::new();
    bundle.rt.call(["--log", "/no/such/directory/log", "list"]).failed();
}

#[test]
fn debug_adds_to_the_log_and_changes_nothing_else() {
    let bundle = Bundle::sh("echo out");
    let log = bundle.path("log.json");
    let flags = ["--debug", "--log", log.to_str().unwrap(), "--log-format", "json"];
    let mut debug = Bundle::sh("echo out");
    debug.rt.global = flags.map(String::from).to_vec();
    debug.run().ok().prints("out");
    for line in fs::read_to_string(&log).unwrap_or_default().lines() {
        serde_json::from_str::<Value>(line).expect("one object a line");
    }
}

#[test]
fn log_level_is_accepted() {
    differs!("runc", "runc has no --log-level");
    differs!("crun", "--log-level came with crun 1.9");
    for level in ["error", "warning", "debug"] {
        let mut bundle = Bundle::sh("true");
        bundle.rt.global = vec!["--log-level".into(), level.into()];
        bundle.run().ok();
    }
    let bundle = Bundle::new();
    bundle.rt.call(["--log-level", "loud", "list"]).failed();
}

/// In a directory of its own: crun makes a state directory of the value's name.
fn rootless(bundle: &Bundle, value: &str) -> Output {
    let mut list = bundle.rt.command([&format!("--rootless={value}"), "list"]);
    list.current_dir(bundle.host_dir("cwd"));
    bundle.rt.finish(list)
}

#[test]
fn rootless_takes_true_false_and_auto() {
    let bundle = Bundle::new();
    for value in ["true", "false", "auto"] {
        rootless(&bundle, value).ok();
    }
}

#[test]
fn rootless_takes_every_word_that_runc_does() {
    let bundle = Bundle::new();
    for word in ["1", "t", "T", "TRUE", "True", "0", "f", "F", "FALSE", "False", "AUTO", ""] {
        rootless(&bundle, word).ok();
    }
}

#[test]
fn rootless_takes_nothing_else() {
    differs!("runc", "runc looks at the value only in verbs that need it");
    differs!("crun", "crun ignores the value");
    let bundle = Bundle::new();
    rootless(&bundle, "perhaps").failed();
}

#[test]
fn features_tells_what_shims_ask_for() {
    differs!("crun", "`features` came with crun 1.8.4");
    let bundle = Bundle::new();
    let features = bundle.rt.call(["features"]).ok().json();
    assert_eq!(features["ociVersionMin"], "1.0.0");
    assert!(features["ociVersionMax"].as_str().unwrap().starts_with("1."));
    let hooks = ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"];
    assert_eq!(features["hooks"], json!(hooks));
    let options: Vec<&str> = features["mountOptions"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    assert!(options.is_sorted(), "{options:?}");
    for option in ["bind", "ro", "rro", "nosuid", "private", "rshared", "tmpcopyup"] {
        assert!(options.contains(&option), "{option} is missing: {options:?}");
    }
    let linux = &features["linux"];
    for kind in ["cgroup", "ipc", "mount", "network", "pid", "user", "uts"] {
        assert!(linux["namespaces"].as_array().unwrap().contains(&json!(kind)), "{kind}");
    }
    assert!(linux["capabilities"].as_array().unwrap().contains(&json!("CAP_SYS_ADMIN")));
    assert_eq!(linux["cgroup"]["v1"], true);
    assert_eq!(linux["cgroup"]["v2"], true);
    assert_eq!(linux["seccomp"]["enabled"], true);
    for (key, value) in
        [("actions", "SCMP_ACT_ERRNO"), ("operators", "SCMP_CMP_MASKED_EQ"), ("archs", "SCMP_ARCH_X86_64")]
    {
        assert!(linux["seccomp"][key].as_array().unwrap().contains(&json!(value)), "{linux}");
    }
}

#[test]
fn spec_writes_a_config_that_runs() {
    let mut bundle = Bundle::new();
    bundle.rt.call(["spec", "--bundle", bundle.path("").to_str().unwrap()]).ok();
    let text = fs::read_to_string(bundle.path("config.json")).unwrap();
    let cgroup = bundle.cgroup();
    bundle.config = serde_json::from_str(&text).unwrap();
    bundle.set("/process/terminal", false).set("/linux/cgroupsPath", cgroup);
    bundle.script("echo it runs; cat /proc/self/status");
    let output = bundle.run().ok();
    assert_eq!(output.lines()[0], "it runs");
}

#[test]
fn spec_writes_to_the_file_that_is_named() {
    differs!("runc", "runc has no such flag");
    differs!("crun", "spec --config came after crun 1.8.1");
    let bundle = Bundle::new();
    let file = bundle.path("other.json");
    let write = || bundle.rt.call(["spec", "--config", file.to_str().unwrap()]);
    write().ok();
    let config: Value = serde_json::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
    assert!(config["process"]["args"].is_array() && !bundle.path("config.json").exists());
    write().failed().says("File other.json exists. Remove it first");
}

#[test]
fn completions_are_printed_for_each_shell() {
    only_oarlock!("runc prints none");
    let bundle = Bundle::new();
    for (shell, begins) in [("bash", "# bash completion"), ("fish", "# fish completion"), ("zsh", "#compdef oarlock")] {
        let text = bundle.rt.call(["completion", shell]).ok().stdout;
        assert!(text.starts_with(begins) && text.contains("console-socket"), "{shell}");
    }
    bundle.rt.call(["completion", "tcsh"]).failed();
}

#[test]
fn spec_does_not_overwrite_a_config() {
    let bundle = Bundle::new();
    bundle.write();
    let before = fs::read(bundle.path("config.json")).unwrap();
    bundle.rt.call(["spec", "--bundle", bundle.path("").to_str().unwrap()]).failed();
    assert_eq!(fs::read(bundle.path("config.json")).unwrap(), before);
}

#[test]
fn spec_rootless_asks_for_a_user_namespace() {
    differs!("crun", "crun writes no id mappings: it makes them up when it runs");
    let bundle = Bundle::new();
    let directory = bundle.path("");
    bundle.rt.call(["spec", "--rootless", "--bundle", directory.to_str().unwrap()]).ok();
    let text = fs::read_to_string(bundle.path("config.json")).unwrap();
    let config: Value = serde_json::from_str(&text).unwrap();
    let namespaces = config["linux"]["namespaces"].as_array().unwrap();
    assert!(namespaces.iter().any(|namespace| namespace["type"] == "user"), "{text}");
    assert_eq!(config["linux"]["uidMappings"][0]["size"], 1, "{text}");
}
