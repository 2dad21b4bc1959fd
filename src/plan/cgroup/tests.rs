//! Golden tests: the document goes in, directories and writes come out.

mod devices;
mod place;
mod refusals;
mod resources;

use oci_spec::runtime::Spec;
use serde_json::{Value, json};

use super::*;
use crate::cgroup::layout::{Hierarchy, Unified};
use crate::plan::testing::on;

const V2_CONTROLLERS: &str = "cpuset cpu io memory hugetlb pids rdma misc";

fn options() -> Options {
    Options { id: "c1".into(), ..super::super::testing::options() }
}

pub(super) fn v1() -> Layout {
    let names = [
        "cpuset",
        "cpu,cpuacct",
        "memory",
        "devices",
        "freezer",
        "blkio",
        "pids",
        "hugetlb",
        "net_cls,net_prio",
        "rdma",
        "name=systemd",
        "name=other",
    ];
    let hierarchy = |n: &&str| Hierarchy {
        controllers: n.split(',').map(str::to_owned).collect(),
        mount: format!("/sys/fs/cgroup/{}", n.trim_start_matches("name=")).into(),
        own: Some("/own/here".into()),
    };
    Layout { v1: names.iter().map(hierarchy).collect(), v2: None }
}

pub(super) fn v2() -> Layout {
    Layout { v1: Vec::new(), v2: Some(unified("/sys/fs/cgroup", V2_CONTROLLERS)) }
}

pub(super) fn hybrid() -> Layout {
    let mut layout = v1();
    layout.v1.retain(|h| h.controllers != ["hugetlb"]);
    layout.v2 = Some(unified("/sys/fs/cgroup/unified", "hugetlb"));
    layout
}

fn unified(mount: &str, controllers: &str) -> Unified {
    Unified {
        mount: mount.into(),
        own: Some("/user.slice/own".into()),
        controllers: controllers.split(' ').map(str::to_owned).collect(),
    }
}

fn spec(linux: Value) -> Spec {
    serde_json::from_value(json!({ "ociVersion": "1.2.0", "linux": linux })).unwrap()
}

fn plan(layout: &Layout, linux: Value) -> std::result::Result<CgroupPlan, String> {
    let mut obstacles = Vec::new();
    let plan = compile(&spec(linux), &options(), &on(layout.clone()), &mut Vec::new(), &mut obstacles);
    match obstacles.first() {
        Some(obstacle) => Err(obstacle.to_string()),
        None => plan.map_err(|e| e.to_string()),
    }
}

fn text(w: &Write) -> String {
    let on_error = match &w.on_error {
        OnError::Fail => String::new(),
        OnError::Or { file, value } => format!(" or {file} = {value}"),
        other => format!(" {other:?}"),
    };
    let json = w.json.trim_start_matches("linux.resources.");
    format!("{} = {}  ({json}){on_error}", w.file, w.value)
}

/// The writes that `resources` becomes, but for the device rules.
fn writes(layout: &Layout, resources: Value) -> Vec<String> {
    let plan = plan(layout, json!({ "resources": resources })).unwrap();
    plan.limits.writes.iter().filter(|w| w.controller != "devices").map(text).collect()
}
