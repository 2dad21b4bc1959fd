//! Documents: `config.json` as bytes and as changes of a sound one, `update --resources`, `exec --process`, `mounts add`.

use serde_json::Value;

use super::{holds, json};
use crate::bundle;
use crate::cgroup::layout::Layout;
use crate::host::Facts;
use crate::plan::cgroup::Manager;
use crate::plan::{self, Options, Plan, testing};

/// What a document is compiled for: each kind of host and driver.
fn hosts() -> [(Facts, Options); 5] {
    let hybrid = || testing::on(Layout { v2: testing::v2().cgroup.v2, ..testing::v1().cgroup });
    let with = |cgroup_manager| Options { cgroup_manager, ..testing::options() };
    let sockets = || Options {
        rootless: true,
        no_pivot: true,
        listen_fds: 2,
        listen_fd_names: Some("a:b".into()),
        notify_socket: Some("/run/notify".into()),
        ..with(Manager::Cgroupfs)
    };
    [
        (testing::v1(), with(Manager::Cgroupfs)),
        (testing::v2(), with(Manager::Systemd)),
        (hybrid(), with(Manager::Systemd)),
        (testing::rootless(), sockets()),
        (testing::v2(), with(Manager::Disabled)),
    ]
}

/// The bytes of a config.json.
pub fn whole(data: &[u8]) {
    accepted(data);
}

/// By how many kinds of host.
fn accepted(data: &[u8]) -> usize {
    let mut warnings = Vec::new();
    let spec = match bundle::parse(data, &mut warnings) {
        Ok(spec) => spec,
        Err(error) => {
            holds::error(&error);
            return 0;
        }
    };
    warnings.iter().for_each(|warning| holds::line(warning));
    hosts().iter().filter_map(|(facts, options)| compile(&spec, options, facts)).count()
}

/// A document that is sound but for the changes in `data` ([`json`]).
pub fn fields(data: &[u8]) {
    let document = json::changed(json::base(), &String::from_utf8_lossy(data));
    whole(document.to_string().as_bytes());
}

/// `document` on every kind of host; by how many it is accepted.
pub fn everywhere(document: &Value) -> usize {
    accepted(document.to_string().as_bytes())
}

fn compile(spec: &oci_spec::runtime::Spec, options: &Options, facts: &Facts) -> Option<Plan> {
    let mut warnings = Vec::new();
    let plan = plan::compile(spec, options, facts, &mut warnings);
    warnings.iter().for_each(|warning| holds::line(warning));
    match plan {
        Ok(plan) => {
            holds::plan(&plan);
            Some(plan)
        }
        Err(error) => {
            holds::input_error(&error);
            None
        }
    }
}

/// A sound container's Plan, for what is compiled against one.
pub fn sound() -> Plan {
    let spec = testing::spec(json::base());
    compile(&spec, &testing::options(), &testing::v2()).expect("the base is sound")
}

/// A document for `update --resources`, after one that is in force; a line `=` is between them.
pub fn update(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let (current, change) = text.split_once("\n=\n").unwrap_or(("{}", &text));
    let read = |text: &str| match bundle::parse_resources(text.as_bytes()) {
        Ok(resources) => Some(resources),
        Err(error) => {
            holds::input_error(&error);
            None
        }
    };
    let (Some(current), Some(change)) = (read(current), read(change)) else { return };
    holds::update(Some(&current), &change);
    holds::update(None, &change);
}

/// A document for `exec --process`, over a container's own.
pub fn process(data: &[u8]) {
    let base = plan::exec::Base::of(&sound());
    match bundle::parse_process(data, &mut Vec::new()) {
        Ok(document) => match plan::exec::compile(&base, Some(&document), &plan::exec::Flags::default()) {
            Ok(process) => holds::process(&process),
            Err(error) => holds::input_error(&error),
        },
        Err(error) => holds::error(&error),
    }
}

/// A document for `mounts add`.
pub fn hot_mounts(data: &[u8]) {
    let mut warnings = Vec::new();
    match bundle::parse_mounts(data) {
        Ok(given) => match plan::mounts::hot::compile(&given, "/bundle".as_ref(), &mut warnings) {
            Ok(mounts) => mounts.iter().for_each(holds::mount),
            Err(error) => holds::input_error(&error),
        },
        Err(error) => holds::error(&error),
    }
}
