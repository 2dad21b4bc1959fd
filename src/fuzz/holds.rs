//! What must hold of whatever was accepted, and of every refusal.

use std::path::{Component, Path};

use oci_spec::runtime::LinuxResources;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::error::InputError;
use crate::plan::cgroup::Place;
use crate::plan::mounts::Mount;
use crate::plan::process::Process;
use crate::plan::{self, Plan, testing};
use crate::review::{self, Modules};
use crate::state::Record;

/// A message is one line, and says something.
pub fn line(text: &str) {
    assert!(!text.is_empty() && !text.contains(['\n', '\r', '\0']), "not one line: {text:?}");
}

pub fn input_error(error: &InputError) {
    assert!(!error.at.is_empty() && !error.what.is_empty(), "{error:?}");
    line(&error.to_string());
}

pub fn error(error: &anyhow::Error) {
    line(&format!("{error:#}"));
}

pub fn plan(plan: &Plan) {
    plan.obstacles.iter().for_each(input_error);
    plan.mounts.iter().for_each(mount);
    plan.process.iter().for_each(process);
    place(&plan.cgroup.place);
    plan.masked_paths.iter().chain(&plan.readonly_paths).for_each(|path| inside(path));
    for sysctl in &plan.sysctl {
        assert!(!sysctl.path.split('/').any(|part| ["", ".", ".."].contains(&part)), "{:?}", sysctl.path);
    }
    // `oarlock plan` prints all of it; nothing that is handed to the kernel has a NUL byte. Annotations, and what an agent
    // is told, are not for the kernel.
    let mut shown = serde_json::to_value(plan).expect("a Plan is JSON");
    shown["annotations"] = Value::Null;
    if let Some(listener) = shown.pointer_mut("/seccomp/listener") {
        listener["metadata"] = Value::Null;
    }
    no_nul(&shown);
    for finding in review::review(plan, Modules { apparmor: true, selinux: true }) {
        line(&format!("{finding:?}"));
    }
    same_again(&Record::new(plan, "2026-01-01T00:00:00Z".into()));
}

/// What was made of a value is read back as it was.
pub fn same_again<T: Serialize + DeserializeOwned>(value: &T) {
    let written = serde_json::to_string(value).expect("it is JSON");
    let read: T = serde_json::from_str(&written).unwrap_or_else(|error| panic!("{error}: {written}"));
    assert_eq!(serde_json::to_value(&read).expect("it is JSON"), serde_json::to_value(value).expect("it is JSON"));
}

pub fn process(process: &Process) {
    assert!(process.cwd.is_absolute(), "{:?}", process.cwd);
    no_nul(&serde_json::to_value(process).expect("a process is JSON"));
    same_again(process);
}

pub fn mount(mount: &Mount) {
    inside(&mount.destination);
    no_nul(&serde_json::to_value(mount).expect("a mount is JSON"));
}

/// A cgroup of the container's own: below where its hierarchy is mounted.
pub fn place(place: &Place) {
    for dir in place.v1.iter().chain(&place.v2) {
        let mut parts = dir.below.components();
        assert!(dir.below.components().next().is_some(), "{place:?}");
        assert!(parts.all(|part| matches!(part, Component::Normal(_))), "{place:?}");
    }
}

pub fn update(current: Option<&LinuxResources>, change: &LinuxResources) {
    let update = plan::update::update(current, change).expect("documents of one form");
    for facts in [testing::v1(), testing::v1_with_all(), testing::v2()] {
        let mut warnings = Vec::new();
        match plan::cgroup::compile_update(&update.apply, "", &facts.cgroup, &mut warnings) {
            Ok(limits) => no_nul(&serde_json::to_value(limits).expect("limits are JSON")),
            Err(error) => input_error(&error),
        }
        warnings.iter().for_each(|warning| line(warning));
    }
    same_again(&update.merged);
}

/// Absolute, and as it is once normalised.
fn inside(path: &Path) {
    let plain = path.components().all(|part| matches!(part, Component::RootDir | Component::Normal(_)));
    assert!(path.is_absolute() && plain, "{path:?}");
}

fn no_nul(value: &Value) {
    match value {
        Value::String(text) => assert!(!text.contains('\0'), "{text:?}"),
        Value::Array(items) => items.iter().for_each(no_nul),
        Value::Object(fields) => fields.iter().for_each(|(key, value)| {
            assert!(!key.contains('\0'), "{key:?}");
            no_nul(value);
        }),
        _ => {}
    }
}
