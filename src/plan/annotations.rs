//! The annotations that change what is done: crun's `run.oci.*`, which Podman and CRI-O set. All others are only passed
//! on. Those that are known and not honoured are refused: whoever sets one counts on it.

use std::path::{Component, PathBuf};

use oci_spec::runtime::Spec;

use super::{Result, no_nul};
use crate::error::InputError;

/// What the names of all of them begin with.
pub const PREFIX: &str = "run.oci.";

/// What they ask for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Asked {
    /// `keep_original_groups`: the program keeps the caller's supplementary groups.
    pub keep_groups: bool,
    /// `hooks.stdout`, `hooks.stderr`: files that hooks write to.
    pub hooks_stdout: Option<PathBuf>,
    pub hooks_stderr: Option<PathBuf>,
    /// `mount_context_type`: the mount option that carries `linux.mountLabel`; `context` unless given.
    pub context_type: Option<&'static str>,
    /// `seccomp_bpf_data`: an array of `struct sock_filter`, loaded in place of `linux.seccomp`.
    pub seccomp_bpf: Option<Vec<u8>>,
    /// `seccomp_fail_unknown_syscall`: a system call that libseccomp does not know is an error.
    pub known_syscalls_only: bool,
    /// `delegate-cgroup`: a cgroup below the container's that its processes are put into, and may manage.
    pub delegate: Option<PathBuf>,
    /// `pidfd_receiver`: a socket that receives init's pidfd.
    pub pidfd_receiver: Option<PathBuf>,
}

/// Known to crun's users, and not honoured here; what they should know.
const REFUSED: &[(&str, &str)] = &[
    ("handler", "no other way than execve(2) to run a container is built in"),
    ("seccomp.plugins", "no plugins are loaded: give linux.seccomp.listenerPath"),
    ("systemd.force_cgroup_v1", "mount what the program needs by an entry of mounts"),
    ("timens_offset", "give linux.timeOffsets"),
];

/// mount(8): the options that give a label.
const CONTEXT_TYPES: [&str; 4] = ["context", "fscontext", "defcontext", "rootcontext"];

/// # Errors
/// One with a value that means nothing, or that is not honoured, by its name.
pub fn read(spec: &Spec) -> Result<Asked> {
    let mut asked = Asked::default();
    for (key, value) in spec.annotations().iter().flatten() {
        let Some(name) = key.strip_prefix(PREFIX) else { continue };
        let at = || format!("annotations[{key:?}]");
        no_nul(&at(), value)?;
        match name {
            "keep_original_groups" => asked.keep_groups = true,
            "hooks.stdout" => asked.hooks_stdout = Some(absolute(at(), value)?),
            "hooks.stderr" => asked.hooks_stderr = Some(absolute(at(), value)?),
            "mount_context_type" => {
                let known = CONTEXT_TYPES.into_iter().find(|known| known == value).ok_or_else(|| {
                    InputError::new(at(), format!("{value:?} is no kind of context"))
                        .hint(format!("one of {}", CONTEXT_TYPES.join(", ")))
                })?;
                asked.context_type = Some(known);
            }
            "seccomp_bpf_data" => asked.seccomp_bpf = Some(bpf(at(), value)?),
            "seccomp_fail_unknown_syscall" => asked.known_syscalls_only = true,
            "delegate-cgroup" if !value.is_empty() => asked.delegate = Some(below(at(), value)?),
            "pidfd_receiver" => asked.pidfd_receiver = Some(absolute(at(), value)?),
            _ => {
                // An empty value is crun's way to say none.
                let refused = REFUSED.iter().find(|(known, _)| *known == name && !value.is_empty());
                if let Some((_, hint)) = refused {
                    return Err(InputError::new(at(), "is not supported").hint(*hint));
                }
            }
        }
    }
    Ok(asked)
}

fn absolute(at: String, value: &str) -> Result<PathBuf> {
    let path = PathBuf::from(value);
    if !path.is_absolute() {
        return Err(InputError::new(at, format!("{value:?} is not absolute")));
    }
    Ok(path)
}

/// Ordinary components only.
fn below(at: String, value: &str) -> Result<PathBuf> {
    let path = PathBuf::from(value);
    if !path.components().all(|component| matches!(component, Component::Normal(_))) || value.contains('\n') {
        return Err(InputError::new(at, format!("{value:?} is no path below the container's cgroup"))
            .hint("one or more names, with slashes between them"));
    }
    Ok(path)
}

/// Whole instructions of 8 bytes, as many as seccomp(2) takes (`BPF_MAXINSNS`).
fn bpf(at: String, value: &str) -> Result<Vec<u8>> {
    let bytes = base64(value).ok_or_else(|| InputError::new(&at, "is not base64"))?;
    if bytes.is_empty() || bytes.len() % 8 != 0 || bytes.len() / 8 > 4096 {
        let what = format!("has {} bytes, which is no program", bytes.len());
        return Err(InputError::new(at, what).hint("1 to 4096 instructions of 8 bytes (struct sock_filter)"));
    }
    Ok(bytes)
}

/// RFC 4648, section 4; line breaks are left out, and padding may be.
fn base64(text: &str) -> Option<Vec<u8>> {
    let (mut bits, mut have, mut bytes) = (0u32, 0, Vec::with_capacity(text.len() / 4 * 3));
    let text = text.trim_end_matches(['=', '\n', '\r']);
    for letter in text.bytes().filter(|byte| !matches!(byte, b'\n' | b'\r')) {
        let value = match letter {
            b'A'..=b'Z' => letter - b'A',
            b'a'..=b'z' => letter - b'a' + 26,
            b'0'..=b'9' => letter - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(value);
        have += 6;
        if have >= 8 {
            have -= 8;
            bytes.push((bits >> have) as u8);
        }
    }
    // What is left over holds no bits of its own.
    (have < 6 && bits & ((1 << have) - 1) == 0).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{error, spec};
    use super::*;
    use serde_json::json;

    #[test]
    fn what_they_ask_for_is_read() {
        let all = json!({ "annotations": {
            "run.oci.keep_original_groups": "1", "run.oci.hooks.stdout": "/out", "run.oci.mount_context_type": "rootcontext",
            "run.oci.seccomp_bpf_data": "BgAAAAAA/38=", "run.oci.handler": "", "run.oci.unknown": "x", "org.else": "y",
            "run.oci.pidfd_receiver": "/s",
        } });
        let asked = read(&spec(all)).unwrap();
        assert!(asked.keep_groups && asked.hooks_stderr.is_none() && !asked.known_syscalls_only);
        assert_eq!((asked.hooks_stdout, asked.context_type), (Some("/out".into()), Some("rootcontext")));
        assert_eq!(asked.seccomp_bpf.unwrap(), [6, 0, 0, 0, 0, 0, 0xff, 0x7f]);
        assert_eq!(read(&spec(json!({}))).unwrap(), Asked::default());
    }

    #[test]
    fn mistakes_and_what_is_not_honoured_are_named() {
        for (name, value) in [
            ("run.oci.handler", "krun"),
            ("run.oci.seccomp.plugins", "x.so"),
            ("run.oci.hooks.stderr", "relative"),
            ("run.oci.delegate-cgroup", "../up"),
            ("run.oci.delegate-cgroup", "/top"),
            ("run.oci.mount_context_type", "other"),
            ("run.oci.seccomp_bpf_data", "not base64!"),
            ("run.oci.seccomp_bpf_data", "AAAA"),
            ("run.oci.seccomp_bpf_data", ""),
        ] {
            let text = error(read(&spec(json!({ "annotations": { name: value } }))));
            assert!(text.starts_with(&format!("annotations[{name:?}]: ")), "{text}");
        }
    }

    #[test]
    fn base64_is_rfc_4648() {
        for (text, bytes) in
            [("", &b""[..]), ("Zg==", b"f"), ("Zm8=", b"fo"), ("Zm8", b"fo"), ("Zm9v\nYmFy\n", b"foobar")]
        {
            assert_eq!(base64(text).as_deref(), Some(bytes), "{text}");
        }
        for text in ["Z", "Zh==", "Zm9v=Zm9v", "Zm-_"] {
            assert_eq!(base64(text), None, "{text}");
        }
    }
}
