//! The hooks of all six kinds, checked. Not for running them.

use std::path::PathBuf;

use oci_spec::runtime::Spec;
use serde::{Deserialize, Serialize};

use super::annotations::Asked;
use super::{Result, no_nul};
use crate::error::InputError;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hook {
    /// The JSON path, for errors: `hooks.prestart[0]`.
    pub at: String,
    pub path: PathBuf,
    /// argv; `[path]` when the document gives none.
    pub args: Vec<String>,
    /// The whole environment (runc passes nothing of its own).
    pub env: Vec<String>,
    /// Seconds; `None` waits for ever.
    pub timeout: Option<u64>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Hooks {
    pub prestart: Vec<Hook>,
    pub create_runtime: Vec<Hook>,
    pub create_container: Vec<Hook>,
    pub start_container: Vec<Hook>,
    pub poststart: Vec<Hook>,
    pub poststop: Vec<Hook>,
    pub output: Output,
}

/// Files that hooks write to, made where missing; without them their output is only quoted when they fail.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Output {
    pub stdout: Option<PathBuf>,
    pub stderr: Option<PathBuf>,
}

impl Hooks {
    /// Some run in the container's namespaces, where those files are out of reach.
    pub fn any_inside(&self) -> bool {
        !self.create_container.is_empty() || !self.start_container.is_empty()
    }
}

/// `hooks`.
///
/// # Errors
/// A path that is not absolute, a timeout that is not above zero (config.md, POSIX-platform Hooks), NUL bytes.
pub fn compile(spec: &Spec, asked: &Asked) -> Result<Hooks> {
    let Some(hooks) = spec.hooks().as_ref() else {
        return Ok(Hooks::default());
    };
    // Deprecated by the specification, and what Docker's network set-up uses.
    #[allow(deprecated)]
    let prestart = hooks.prestart();
    Ok(Hooks {
        prestart: list("prestart", prestart)?,
        create_runtime: list("createRuntime", hooks.create_runtime())?,
        create_container: list("createContainer", hooks.create_container())?,
        start_container: list("startContainer", hooks.start_container())?,
        poststart: list("poststart", hooks.poststart())?,
        poststop: list("poststop", hooks.poststop())?,
        output: Output { stdout: asked.hooks_stdout.clone(), stderr: asked.hooks_stderr.clone() },
    })
}

fn list(name: &str, given: &Option<Vec<oci_spec::runtime::Hook>>) -> Result<Vec<Hook>> {
    let given = given.as_deref().unwrap_or_default();
    given.iter().enumerate().map(|(i, hook)| one(format!("hooks.{name}[{i}]"), hook)).collect()
}

fn one(at: String, hook: &oci_spec::runtime::Hook) -> Result<Hook> {
    let path = hook.path();
    if !path.is_absolute() {
        return Err(InputError::new(format!("{at}.path"), format!("{path:?} is not absolute")));
    }
    no_nul(&format!("{at}.path"), &path.to_string_lossy())?;
    for (name, strings) in [("args", hook.args()), ("env", hook.env())] {
        for (i, text) in strings.iter().flatten().enumerate() {
            no_nul(&format!("{at}.{name}[{i}]"), text)?;
        }
    }
    let timeout = match hook.timeout() {
        None => None,
        Some(seconds) => Some(u64::try_from(seconds).ok().filter(|seconds| *seconds > 0).ok_or_else(|| {
            InputError::new(format!("{at}.timeout"), format!("{seconds} is not above zero"))
                .hint("leave it out to wait for ever")
        })?),
    };
    let args = match hook.args().as_deref() {
        None | Some([]) => vec![path.to_string_lossy().into_owned()],
        Some(args) => args.to_vec(),
    };
    Ok(Hook { path: path.clone(), args, env: hook.env().clone().unwrap_or_default(), timeout, at })
}

#[cfg(test)]
mod tests {
    use super::super::testing::{error, spec};
    use super::*;
    use serde_json::json;

    #[test]
    fn every_kind_is_read_and_argv_defaults_to_the_path() {
        let hook = json!([{ "path": "/bin/x" }]);
        let spec = spec(json!({ "hooks": {
            "prestart": hook, "createRuntime": hook, "createContainer": hook, "startContainer": hook,
            "poststart": [{ "path": "/bin/x", "args": ["x", "y"], "env": ["A=b"], "timeout": 5 }], "poststop": hook,
        } }));
        let hooks = compile(&spec, &Asked::default()).unwrap();
        let kinds = [&hooks.prestart, &hooks.create_runtime, &hooks.create_container, &hooks.start_container];
        for kind in kinds.into_iter().chain([&hooks.poststop]) {
            assert_eq!((kind.len(), kind[0].args.as_slice(), kind[0].timeout), (1, &["/bin/x".to_owned()][..], None));
        }
        let hook = &hooks.poststart[0];
        assert_eq!((hook.at.as_str(), hook.timeout, hook.args.len()), ("hooks.poststart[0]", Some(5), 2));
        assert_eq!(hook.env, ["A=b"]);
    }

    #[test]
    fn mistakes_are_named_by_their_path() {
        for (hook, at) in [
            (json!({ "path": "x" }), "hooks.prestart[0].path: \"x\" is not absolute"),
            (json!({ "path": "/x", "timeout": 0 }), "hooks.prestart[0].timeout: 0 is not above zero"),
            (json!({ "path": "/x", "timeout": -1 }), "hooks.prestart[0].timeout: -1 is not above zero"),
            (json!({ "path": "/x", "env": ["A", "\0"] }), "hooks.prestart[0].env[1]: has a NUL byte"),
        ] {
            let text = error(compile(&spec(json!({ "hooks": { "prestart": [hook] } })), &Asked::default()));
            assert!(text.starts_with(at), "{text}");
        }
    }
}
