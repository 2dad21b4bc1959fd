//! `linux.resources.blockIO`: v1's blkio, v2's io. Weights belong to an I/O scheduler: CFQ's file (long gone from
//! kernels) or BFQ's on v1, BFQ's or the iocost controller's on v2; which of them exists is known only when writing.

use oci_spec::runtime::{LinuxBlockIo, LinuxThrottleDevice};

use super::{OnError, Out, Result, Version};

const WEIGHTS: std::ops::RangeInclusive<u16> = 10..=1000;

/// Field, v1's file, v2's key in io.max.
const THROTTLES: [(&str, &str, &str); 4] = [
    ("blockIO.throttleReadBpsDevice", "blkio.throttle.read_bps_device", "rbps"),
    ("blockIO.throttleWriteBpsDevice", "blkio.throttle.write_bps_device", "wbps"),
    ("blockIO.throttleReadIOPSDevice", "blkio.throttle.read_iops_device", "riops"),
    ("blockIO.throttleWriteIOPSDevice", "blkio.throttle.write_iops_device", "wiops"),
];

pub(super) fn compile(block: &LinuxBlockIo, out: &mut Out) -> Result<()> {
    if let Some(w) = checked(block.weight(), "blockIO.weight", out)? {
        weight(w, None, "blockIO.weight", out)?;
    }
    if let Some(w) = checked(block.leaf_weight(), "blockIO.leafWeight", out)? {
        leaf_weight(w, None, "blockIO.leafWeight", out)?;
    }
    for (i, d) in block.weight_device().iter().flatten().enumerate() {
        let at = format!("blockIO.weightDevice[{i}]");
        let device = number(d.major(), d.minor(), &at, out)?;
        let (field, leaf) = (format!("{at}.weight"), format!("{at}.leafWeight"));
        if let Some(w) = checked(d.weight(), &field, out)? {
            weight(w, Some(&device), &field, out)?;
        }
        if let Some(w) = checked(d.leaf_weight(), &leaf, out)? {
            leaf_weight(w, Some(&device), &leaf, out)?;
        }
    }
    let lists = [
        block.throttle_read_bps_device(),
        block.throttle_write_bps_device(),
        block.throttle_read_iops_device(),
        block.throttle_write_iops_device(),
    ];
    for ((field, file, key), list) in THROTTLES.into_iter().zip(lists) {
        for (i, d) in list.iter().flatten().enumerate() {
            throttle(d, &format!("{field}[{i}]"), file, key, out)?;
        }
    }
    Ok(())
}

/// 0 has always meant "not set".
fn checked(weight: Option<u16>, field: &str, out: &Out) -> Result<Option<u16>> {
    match weight.filter(|w| *w != 0) {
        Some(w) if !WEIGHTS.contains(&w) => {
            out.refuse(field, format!("{w} is not in {}..={}", WEIGHTS.start(), WEIGHTS.end()))
        }
        other => Ok(other),
    }
}

fn number(major: i64, minor: i64, at: &str, out: &Out) -> Result<String> {
    match (u32::try_from(major), u32::try_from(minor)) {
        (Ok(major), Ok(minor)) => Ok(format!("{major}:{minor}")),
        _ => out.refuse(at, format!("{major}:{minor} is no device number")),
    }
}

fn weight(weight: u16, device: Option<&str>, field: &str, out: &mut Out) -> Result<()> {
    let line = |w: u64| device.map_or(w.to_string(), |d| format!("{d} {w}"));
    let suffix = if device.is_some() { "_device" } else { "" };
    // 10..=1000 to 1..=10000, linearly.
    let (same, scaled) = (line(weight.into()), line(1 + (u64::from(weight) - 10) * 9999 / 990));
    match out.need("blkio", "io", field) {
        Version::V1 => {
            let bfq = OnError::Or { file: format!("blkio.bfq.weight{suffix}"), value: same.clone() };
            out.write_or("blkio", format!("blkio.weight{suffix}"), same, field, bfq);
        }
        Version::V2 => {
            let iocost = OnError::Or { file: "io.weight".into(), value: scaled };
            out.write_or("io", "io.bfq.weight", same, field, iocost);
        }
    }
    Ok(())
}

fn leaf_weight(weight: u16, device: Option<&str>, field: &str, out: &mut Out) -> Result<()> {
    match (out.need("blkio", "io", field), device) {
        (Version::V1, None) => out.write("blkio", "blkio.leaf_weight", weight, field),
        (Version::V1, Some(d)) => out.write("blkio", "blkio.leaf_weight_device", format!("{d} {weight}"), field),
        (Version::V2, _) => out.only_v1(field, "cgroup v2 has no leaf weight"),
    }
    Ok(())
}

fn throttle(d: &LinuxThrottleDevice, at: &str, file: &str, key: &str, out: &mut Out) -> Result<()> {
    let device = number(d.major(), d.minor(), at, out)?;
    match out.need_unless(d.rate() == 0, "blkio", "io", at) {
        Some(Version::V1) => out.write("blkio", file, format!("{device} {}", d.rate()), at),
        // v1's "no limit" is 0, which v2 refuses.
        Some(Version::V2) if d.rate() == 0 => out.write("io", "io.max", format!("{device} {key}=max"), at),
        Some(Version::V2) => out.write("io", "io.max", format!("{device} {key}={}", d.rate()), at),
        None => {}
    }
    Ok(())
}
