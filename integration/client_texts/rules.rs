//! What clients make of a runtime's words: for each its own rule, told by the name that it has in the client's source. Not
//! for what a runtime should say: that is in the tests.

use crate::harness::Value;

/// A call that failed, as clients see it: what it printed, and what it wrote to `--log FILE --log-format json`.
#[derive(Debug)]
pub struct Told {
    pub code: i32,
    pub stdout: String,
    pub stderr: Vec<u8>,
    pub log: Vec<u8>,
}

impl Told {
    /// Both streams as a client's string. gRPC and ttrpc carry nothing but UTF-8.
    #[track_caller]
    pub fn printed(&self) -> String {
        let stderr = std::str::from_utf8(&self.stderr).expect("stderr is UTF-8");
        format!("{}{stderr}", self.stdout)
    }
}

/// go-runc, `runOrError`: the error of a call whose streams the caller has not taken.
pub fn go_runc_error(told: &Told) -> String {
    format!("exit status {}: {}", told.code, told.printed())
}

/// containerd, `getLastRuntimeError` in `process/utils.go`: the message of the last entry of level `error`. One entry that
/// is no JSON, or whose time is not RFC 3339's, and all is lost.
pub fn containerd_last_error(log: &[u8]) -> Result<String, String> {
    let mut last = String::new();
    for entry in serde_json::Deserializer::from_slice(log).into_iter::<Value>() {
        let entry = entry.map_err(|error| error.to_string())?;
        let text = |key: &str| entry[key].as_str().ok_or(format!("{key} is no string in {entry}"));
        let (level, message, time) = (text("level")?, text("msg")?, text("time")?);
        if !is_rfc3339(time) {
            return Err(format!("{time:?} is no time"));
        }
        if level == "error" {
            message.trim().clone_into(&mut last);
        }
    }
    Ok(last)
}

/// `2026-11-28T21:38:28[.9]Z`, or with an offset such as `+01:00`.
fn is_rfc3339(time: &str) -> bool {
    let fits = |text: &str, form: &str| {
        text.len() == form.len()
            && text.bytes().zip(form.bytes()).all(|(c, f)| if f == b'0' { c.is_ascii_digit() } else { c == f })
    };
    let Some((clock, rest)) = time.split_at_checked(19) else { return false };
    let zone = rest.strip_prefix('.').map_or(rest, |rest| rest.trim_start_matches(|c: char| c.is_ascii_digit()));
    fits(clock, "0000-00-00T00:00:00") && (zone == "Z" || fits(zone, "+00:00") || fits(zone, "-00:00"))
}

/// What containerd answers to a kill that failed.
#[derive(Debug, PartialEq, Eq)]
pub enum Killed {
    AlreadyFinished,
    NoContainer,
    Unknown,
}

/// containerd, `checkKillError` in `process/utils.go`.
pub fn containerd_kill(error: &str) -> Killed {
    let finished = ["os: process already finished", "container not running"].iter().any(|text| error.contains(text));
    if finished || error.to_lowercase().contains("no such process") {
        Killed::AlreadyFinished
    } else if error.contains("does not exist") {
        Killed::NoContainer
    } else {
        Killed::Unknown
    }
}

/// containerd, `delete` in `process/init.go`: such a container is as good as deleted.
pub fn containerd_delete_is_done(error: &str) -> bool {
    error.contains("does not exist")
}

/// CRI-O, `runtimeCmd` in `internal/oci/runtime_oci.go`: its `ErrNotFound`.
pub fn crio_not_found(stderr: &str) -> bool {
    ["no such process", "container not running", "invalid process"].iter().any(|text| stderr.contains(text))
}

/// conmon, `conmon.c`: of stderr it passes on what one read(2) into its buffer gets.
pub fn conmon_message(stderr: &[u8]) -> String {
    const BUF_SIZE: usize = 8192;
    String::from_utf8_lossy(&stderr[..stderr.len().min(BUF_SIZE - 1)]).into_owned()
}

/// Podman, `readConmonPipeData` in `libpod/oci_conmon_common.go`: the message of the log if that is one JSON object, or else
/// what conmon has passed on.
pub fn podman_message(told: &Told) -> String {
    let logged = serde_json::from_slice::<Value>(&told.log).ok();
    let message = logged.as_ref().and_then(|entry| entry["msg"].as_str());
    message.map_or_else(|| conmon_message(&told.stderr), str::to_owned)
}

/// Podman's errors of an OCI runtime.
#[derive(Debug, PartialEq, Eq)]
pub enum Podman {
    PermissionDenied,
    NotFound,
    SetSecurityAttribute,
    GetSecurityAttribute,
    SecurityAttribute,
    Runtime,
}

/// Podman, `getOCIRuntimeError` in `libpod/oci_util.go`.
pub fn podman_error(message: &str) -> Podman {
    let lower = message.to_lowercase();
    let has = |texts: &[&str]| texts.iter().any(|text| lower.contains(text));
    if has(&["permission denied", "operation not permitted"]) {
        return Podman::PermissionDenied;
    }
    if has(&["executable file not found in", "no such file or directory", "open executable"]) {
        return Podman::NotFound;
    }
    match podman_attribute(message) {
        Some(path) if path.ends_with("/exec`") => Podman::SetSecurityAttribute,
        Some(path) if path.ends_with("/current`") => Podman::GetSecurityAttribute,
        Some(_) => Podman::SecurityAttribute,
        None => Podman::Runtime,
    }
}

/// What its regular expression `` `/proc/[a-z0-9-].+/attr.*` `` matches.
fn podman_attribute(message: &str) -> Option<&str> {
    message.lines().find_map(|line| {
        let from = line.find("`/proc/")?;
        let rest = &line[from..=line.rfind('`')?];
        let name = rest.strip_prefix("`/proc/")?;
        let begins = name.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
        // One letter of the class and one more, at least, stand before "/attr".
        (begins && name.find("/attr").is_some_and(|at| at >= 2)).then_some(rest)
    })
}

impl Podman {
    /// The words that stand for it in Podman's own error.
    fn words(&self) -> &'static str {
        match self {
            Self::PermissionDenied => "OCI permission denied",
            Self::NotFound => "OCI runtime attempted to invoke a command that was not found",
            Self::SetSecurityAttribute => "OCI runtime error: unable to assign security attribute",
            Self::GetSecurityAttribute => "OCI runtime error: unable to get security attribute",
            Self::SecurityAttribute => "OCI runtime error: unable to process security attribute",
            Self::Runtime => "OCI runtime error",
        }
    }
}

/// Podman, `ExitCode` in `libpod/define/exec_codes.go`: the exit code of `podman run`.
pub fn podman_run_code(message: &str) -> i32 {
    let error = format!("oarlock: {message}: {}", podman_error(message).words()).to_lowercase();
    let not_found = ["not found", "executable path is empty", "no such file"].iter().any(|text| error.contains(text));
    if not_found { 127 } else { 126 }
}

/// Podman, `TranslateExecErrorToExitCode` in `libpod/define/exec_codes.go`: the exit code of `podman exec`.
pub fn podman_exec_code(told: &Told) -> i32 {
    match podman_error(&podman_message(told)) {
        Podman::PermissionDenied => 126,
        Podman::NotFound => 127,
        _ => told.code,
    }
}

/// Podman, `StopContainer` in `libpod/oci_conmon_common.go`: lines of a failed kill that it does not show its user.
pub fn podman_stop_hides(line: &str) -> bool {
    ["container not running", "open pidfd: No such process", "kill container: No such process"]
        .iter()
        .any(|text| line.contains(text))
}

/// Podman, `UpdateContainerStatus` in `libpod/oci_conmon_common.go`: the container that `state` failed for is gone.
pub fn podman_state_is_gone(stderr: &str) -> bool {
    ["does not exist", "No such file"].iter().any(|text| stderr.contains(text))
}

/// Docker 25 and later, `setExitCodeFromError` in `daemon/errors.go`: the exit code that the container is given, and whether
/// the user is asked if they mount a directory over a file.
pub fn dockerd_code(message: &str) -> (i32, bool) {
    let lower = message.to_lowercase();
    let has = |texts: &[&str]| texts.iter().any(|text| lower.contains(text));
    if has(&["executable file not found", "no such file or directory", "system cannot find the file specified"]) {
        (127, false)
    } else if has(&["permission denied", "is a directory"]) {
        (126, false)
    } else if has(&["not a directory"]) {
        (127, true)
    } else {
        (125, false)
    }
}

/// Docker 20.10, `translateContainerdStartErr` in `daemon/errors.go`: the error of a missing program names the command.
pub fn docker_20_code(message: &str, command: &str) -> i32 {
    let lower = message.to_lowercase();
    let has = |text: &str| lower.contains(text);
    let mut code = 125;
    if has(command) && (has("executable file not found") || has("no such file or directory")) {
        code = 127;
    }
    if has("permission denied") {
        code = 126;
    }
    if has("not a directory") { 127 } else { code }
}

/// Docker's command line, `toStatusError` in `cli/command/container/run.go`: the exit code of `docker run`.
pub fn docker_cli_code(message: &str) -> i32 {
    let has = |texts: &[&str]| texts.iter().any(|text| message.contains(text));
    if has(&["executable file not found", "no such file or directory", "system cannot find the file specified"]) {
        127
    } else if has(&["permission denied", "is a directory"]) {
        126
    } else {
        125
    }
}

/// Buildah, `runUsingRuntime` in `run_linux.go`: is the container it polls at its end? Any other status ends the build.
pub fn buildah_is_stopped(state: &str) -> Result<bool, String> {
    let state: Value = serde_json::from_str(state).map_err(|error| error.to_string())?;
    match state["status"].as_str() {
        Some("running") => Ok(false),
        Some("stopped") => Ok(true),
        other => Err(format!("container status unexpectedly changed to {other:?}")),
    }
}

/// go-runc, `parseVersion` in `runc.go`: runtime, commit, specification.
pub fn go_runc_version(text: &str) -> Option<(String, String, String)> {
    let lines: Vec<&str> = text.trim().lines().collect();
    let after = |line: usize, prefix: &str| lines.get(line)?.strip_prefix(prefix).map(str::to_owned);
    Some((after(0, "runc version ")?, after(1, "commit: ")?, after(2, "spec: ")?))
}

/// Docker, `parseRuntimeVersion` in `daemon/info_unix.go`: name, version, commit; of lines with the word the last one counts.
pub fn dockerd_version(text: &str) -> (String, String, String) {
    let (mut name, mut version, mut commit) = Default::default();
    for line in text.trim().lines() {
        if let (Some((before, _)), Some((_, after))) = (line.split_once("version"), line.rsplit_once("version")) {
            (name, version) = (before.trim().to_owned(), after.trim().to_owned());
        } else if let Some(after) = line.strip_prefix("commit:") {
            commit = after.trim().to_owned();
        }
    }
    (name, version, commit)
}
