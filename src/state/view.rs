//! The forms in which a container's state is shown: by `state` and `list`, and to hooks.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Result;
use serde::Serialize;

use super::{Container, Record, Status};
use crate::plan::Plan;

/// What `state` prints and `list --format json` has one of for each container: runc's keys in runc's order.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StateView<'a> {
    pub oci_version: &'a str,
    pub id: &'a str,
    /// 0 when stopped.
    pub pid: i32,
    pub status: &'static str,
    pub bundle: &'a Path,
    pub rootfs: &'a Path,
    pub created: &'a str,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: &'a BTreeMap<String, String>,
    pub owner: String,
}

impl<'a> StateView<'a> {
    pub fn of(container: &'a Container, owner: String) -> Result<Self> {
        let status = container.status()?;
        let record = &container.record;
        let pid = match (status, record.init) {
            (Status::Stopped, _) | (_, None) => 0,
            (_, Some(init)) => init.pid,
        };
        Ok(Self {
            oci_version: &record.oci_version,
            id: &record.id,
            pid,
            status: status.name(),
            bundle: &record.bundle,
            rootfs: &record.rootfs,
            created: &record.created,
            annotations: &record.annotations,
            owner,
        })
    }
}

/// What a hook reads on stdin (runtime-spec, State).
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HookState<'a> {
    oci_version: &'a str,
    id: &'a str,
    status: &'a str,
    /// On the host; 0 is left out, since a stopped container has none.
    #[serde(skip_serializing_if = "is_zero")]
    pid: i32,
    bundle: &'a Path,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    annotations: &'a BTreeMap<String, String>,
}

fn is_zero(pid: &i32) -> bool {
    *pid == 0
}

impl<'a> HookState<'a> {
    pub fn of(plan: &'a Plan, status: &'a str, pid: i32) -> Self {
        let Plan { oci_version, id, bundle, annotations, .. } = plan;
        Self { oci_version, id, status, pid, bundle, annotations }
    }

    pub fn of_record(record: &'a Record, status: &'a str, pid: i32) -> Self {
        let Record { oci_version, id, bundle, annotations, .. } = record;
        Self { oci_version, id, status, pid, bundle, annotations }
    }

    pub fn to_json(&self) -> String {
        // Strings, numbers and a map of strings: nothing here can fail to serialise, and paths come from JSON.
        serde_json::to_string(self).unwrap_or_default()
    }
}
