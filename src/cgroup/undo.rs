//! What cgroup files held before an update, so that one that fails half way leaves nothing changed. Not for cgroups
//! that have just been made: those are removed.

use std::path::PathBuf;

use nix::fcntl::OFlag;

use super::{file, write};
use crate::plan::cgroup::{OnError, Place, Write};
use crate::sys::{Result, SysError};

/// The earlier content of the files of some writes.
#[derive(Debug, Default)]
pub struct Before(Vec<Old>);

#[derive(Debug)]
struct Old {
    path: PathBuf,
    /// In files with a line for each device: whose line it is.
    device: Option<String>,
    value: String,
}

/// Files of a line for each device that have one, and what takes a device off the list.
const PER_DEVICE: &[(&str, &str)] = &[
    ("blkio.throttle.read_bps_device", "0"),
    ("blkio.throttle.write_bps_device", "0"),
    ("blkio.throttle.read_iops_device", "0"),
    ("blkio.throttle.write_iops_device", "0"),
    ("blkio.weight_device", "0"),
    ("blkio.leaf_weight_device", "0"),
    ("blkio.bfq.weight_device", "0"),
    ("net_prio.ifpriomap", "0"),
    ("io.max", "rbps=max wbps=max riops=max wiops=max"),
    ("io.weight", "default"),
    ("io.bfq.weight", "default"),
    ("rdma.max", "hca_handle=max hca_object=max"),
];

impl Before {
    /// Remembers what `writes` are about to change. A file that cannot be read (`memory.reclaim`) has nothing to go
    /// back to, and `*.pressure` takes a trigger that ends with the writing.
    pub(super) fn remember(place: &Place, writes: &[Write]) -> Self {
        let mut all = Vec::new();
        for w in writes.iter().filter(|w| !w.file.ends_with(".pressure")) {
            let Some(dir) = write::directory(place, &w.controller) else { continue };
            let other = match &w.on_error {
                OnError::Or { file, .. } => Some(file),
                _ => None,
            };
            for name in [Some(&w.file), other].into_iter().flatten() {
                let path = dir.join(name);
                let reset = PER_DEVICE.iter().find(|(file, _)| file == name).map(|(_, reset)| *reset);
                // A weight without a device is the default for all.
                let device = reset.and_then(|_| w.value.split_once(' ')).map(|(device, _)| device.to_owned());
                let old = Old { path, device, value: String::new() };
                if let Ok(value) = old.now(reset.unwrap_or_default()) {
                    all.push(Old { value, ..old });
                }
            }
        }
        Self(all)
    }

    /// Writes back what has changed. Values that depend on each other (a limit and the swap above it) go in whatever
    /// order the kernel takes them. What could not be set back.
    pub fn restore(&self) -> Vec<SysError> {
        let mut left: Vec<&Old> = self.0.iter().collect();
        loop {
            let count = left.len();
            let mut refused = Vec::new();
            left.retain(|old| match old.restore() {
                Ok(()) => false,
                Err(error) => {
                    refused.push(error);
                    true
                }
            });
            if left.is_empty() || left.len() == count {
                return refused;
            }
        }
    }
}

impl Old {
    /// What is there now, in the form in which it can be written; `reset` where the device has no line.
    fn now(&self, reset: &str) -> Result<String> {
        let text = file::read(&self.path)?;
        if let Some(device) = &self.device {
            let line = text.lines().find(|line| line.split(' ').next() == Some(device));
            return Ok(line.map_or_else(|| format!("{device} {reset}"), str::to_owned));
        }
        // memory.oom_control is written with its first line's value; in io.weight the default is the first line.
        if let Some(disabled) = file::key(&text, "oom_kill_disable") {
            return Ok(disabled.to_owned());
        }
        Ok(text.lines().next().unwrap_or_default().to_owned())
    }

    fn restore(&self) -> Result<()> {
        if self.now("").is_ok_and(|now| now == self.value) {
            return Ok(());
        }
        let fd = file::open(&self.path, OFlag::O_WRONLY)?;
        // An empty write is none; a line without a word empties a v2 cpuset.
        file::write(&fd, &format!("{}\n", self.value))
            .map_err(|e| SysError::new(format!("write({:?}, {:?})", self.path, self.value), e))
    }
}
