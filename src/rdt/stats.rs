//! What a container's groups in resctrl say, in the shape of runc's `events` (types/events.go). A resource that the
//! processor lacks is left out.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::{Group, Resctrl};

#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub struct Stats {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub l3_cache_info: Option<CacheInfo>,
    /// The default class's line.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub l3_cache_schema_root: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub l3_cache_schema: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mem_bw_info: Option<BandwidthInfo>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub mem_bw_schema_root: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub mem_bw_schema: String,
    /// One for each L3 domain.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub mbm_stats: Vec<Bandwidth>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cmt_stats: Vec<Occupancy>,
}

#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub struct CacheInfo {
    #[serde(skip_serializing_if = "String::is_empty")]
    pub cbm_mask: String,
    #[serde(skip_serializing_if = "is_zero")]
    pub min_cbm_bits: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub num_closids: u64,
}

#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub struct BandwidthInfo {
    #[serde(skip_serializing_if = "is_zero")]
    pub bandwidth_gran: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub delay_linear: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub min_bandwidth: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub num_closids: u64,
}

/// Bytes.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub struct Bandwidth {
    #[serde(skip_serializing_if = "is_zero")]
    pub mbm_total_bytes: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub mbm_local_bytes: u64,
}

/// Bytes.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub struct Occupancy {
    pub llc_occupancy: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_zero(n: &u64) -> bool {
    *n == 0
}

impl Resctrl {
    pub fn stats(&self, group: &Group) -> Stats {
        let info = |resource: &str| Some(self.root.join("info").join(resource)).filter(|path| path.is_dir());
        let (cache, bandwidth) = (info("L3"), info("MB"));
        let line = |path: &Path, resource: &str, has: bool| {
            let text = fs::read_to_string(path.join("schemata")).unwrap_or_default();
            let line = text.lines().map(str::trim).find(|line| line.starts_with(resource));
            line.filter(|_| has).unwrap_or_default().to_owned()
        };
        let domains = domains(group.monitoring.as_ref().unwrap_or(&group.path));
        let counted = |name: &str| domains.iter().any(|domain| domain.join(name).exists());
        let mut stats = Stats {
            l3_cache_schema_root: line(&self.root, "L3:", cache.is_some()),
            l3_cache_schema: line(&group.path, "L3:", cache.is_some()),
            mem_bw_schema_root: line(&self.root, "MB:", bandwidth.is_some()),
            mem_bw_schema: line(&group.path, "MB:", bandwidth.is_some()),
            l3_cache_info: cache.map(|path| CacheInfo {
                cbm_mask: fs::read_to_string(path.join("cbm_mask")).unwrap_or_default().trim().to_owned(),
                min_cbm_bits: number(&path, "min_cbm_bits"),
                num_closids: number(&path, "num_closids"),
            }),
            mem_bw_info: bandwidth.map(|path| BandwidthInfo {
                bandwidth_gran: number(&path, "bandwidth_gran"),
                delay_linear: number(&path, "delay_linear"),
                min_bandwidth: number(&path, "min_bandwidth"),
                num_closids: number(&path, "num_closids"),
            }),
            ..Stats::default()
        };
        if counted("mbm_total_bytes") || counted("mbm_local_bytes") {
            let bandwidth = |domain: &PathBuf| Bandwidth {
                mbm_total_bytes: number(domain, "mbm_total_bytes"),
                mbm_local_bytes: number(domain, "mbm_local_bytes"),
            };
            stats.mbm_stats = domains.iter().map(bandwidth).collect();
        }
        if counted("llc_occupancy") {
            let occupancy = |domain: &PathBuf| Occupancy { llc_occupancy: number(domain, "llc_occupancy") };
            stats.cmt_stats = domains.iter().map(occupancy).collect();
        }
        stats
    }
}

/// 0 for what is not there, or `Unavailable` for the moment.
fn number(directory: &Path, name: &str) -> u64 {
    fs::read_to_string(directory.join(name)).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0)
}

/// The directories of the L3 domains, in their order.
fn domains(group: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(group.join("mon_data")).into_iter().flatten().flatten();
    let mut domains: Vec<PathBuf> = entries
        .filter(|entry| entry.file_name().to_string_lossy().starts_with("mon_L3_"))
        .map(|entry| entry.path())
        .collect();
    domains.sort();
    domains
}
