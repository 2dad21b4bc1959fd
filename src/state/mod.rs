//! What is kept of a container between commands: a directory, a record in it, and how its status follows from them.

pub mod dir;
mod family;
pub mod record;
pub mod root_mount;
pub mod status;
pub mod time;
pub mod view;

use std::ffi::OsString;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use anyhow::{Context, Result, bail};
use nix::errno::Errno;

pub use dir::Dir;
pub use record::Record;
use root_mount::Elsewhere;
pub use status::Status;

use crate::error::InputError;
use crate::hooks;
use crate::sys::SysError;
use crate::sys::again::read_dir;
use crate::sys::process::pidfd_send_signal;
use crate::trace;

/// A container that exists, whatever its status.
#[derive(Debug)]
pub struct Container {
    pub dir: Dir,
    pub record: Record,
}

/// What else is in the state root, below a name that would be an id: the compiled seccomp filters.
const CACHE: &str = ".cache";

/// Refuses what is no container id: runc's rule, at least one of `[0-9A-Za-z_+.-]`, and neither `.` nor `..`.
pub fn validate_id(id: &str) -> Result<()> {
    if id == CACHE {
        return Err(InputError::new("container ID", "is the name of the runtime's cache").hint("use another").into());
    }
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '+' | '-' | '.');
    if id.is_empty() || id == "." || id == ".." || !id.chars().all(legal) {
        return Err(InputError::new("container ID", "invalid container ID format")
            .hint("use one or more of [0-9A-Za-z_+.-], not \".\" or \"..\"")
            .into());
    }
    // The longest file name; the state directory is one.
    if id.len() > 255 {
        return Err(InputError::new("container ID", format!("is {} bytes long", id.len()))
            .hint("a file name, and so an ID, has at most 255")
            .into());
    }
    Ok(())
}

impl Container {
    /// The container `id` below the state root.
    ///
    /// # Errors
    /// `container does not exist` (runc's words, which containerd looks for), also where a creation was cut off before
    /// its first record.
    pub fn load(root: &Path, id: &str) -> Result<Self> {
        Self::find(root, id)?.context("container does not exist")
    }

    /// The same, holding the container's lock from before the record is read: for verbs that change it.
    pub fn load_locked(root: &Path, id: &str) -> Result<Self> {
        validate_id(id)?;
        let mut dir = Dir::open(root, id)?.context("container does not exist")?;
        if !dir.lock()? {
            bail!("container does not exist");
        }
        let record = Record::read(&dir)?.context("container does not exist")?;
        Ok(Self { dir, record })
    }

    fn find(root: &Path, id: &str) -> Result<Option<Self>> {
        validate_id(id)?;
        let Some(dir) = Dir::open(root, id)? else { return Ok(None) };
        Ok(Record::read(&dir)?.map(|record| Self { dir, record }))
    }

    /// All containers below the state root, in the order of their ids. What cannot be read is passed to `unreadable`.
    pub fn list(root: &Path, mut unreadable: impl FnMut(String)) -> Result<Vec<Self>> {
        let entries = match read_dir(root) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.with_context(|| format!("--root {}", root.display()))?,
        };
        let names: std::io::Result<Vec<OsString>> = entries.map(|entry| Ok(entry?.file_name())).collect();
        let mut names = names.with_context(|| format!("--root {}", root.display()))?;
        names.sort();
        let ids = names.iter().filter_map(|name| name.to_str()).filter(|name| validate_id(name).is_ok());
        let mut containers = Vec::new();
        for id in ids {
            match Self::find(root, id) {
                Ok(Some(container)) => containers.push(container),
                // Removed meanwhile, or not a container yet.
                Ok(None) => {}
                Err(error) => unreadable(format!("{id}: {error:#}")),
            }
        }
        Ok(containers)
    }

    /// A handle on init, if it is still the process that was created; `None` once it has exited.
    pub fn init(&self) -> Result<Option<OwnedFd>> {
        status::open_init(&self.record)
    }

    /// Whether init has ended or is about to, which on v1 it cannot while it is frozen.
    pub fn was_killed(&self) -> Result<bool> {
        Ok(self.init()?.is_none() || self.record.init.is_some_and(|init| status::is_ending(init.pid)))
    }

    pub fn status(&self) -> Result<Status> {
        status::of(self)
    }

    /// The container's processes, in ascending order.
    pub fn pids(&self) -> Result<Vec<i32>> {
        if self.record.cgroup.is_none() { family::pids(self) } else { self.record.cgroup().pids(true) }
    }

    /// For what cannot be done without a cgroup of the container's own; `what` it is.
    ///
    /// # Errors
    /// If it has none: `--cgroup-manager disabled`, or made without the privileges.
    pub fn needs_cgroup(&self, what: &str) -> Result<()> {
        if self.record.cgroup.is_none() {
            bail!(
                "the container has no cgroup (hint: {what} needs one; it was made with --cgroup-manager disabled, or rootless)"
            );
        }
        Ok(())
    }

    /// Sends `signal` to every process.
    fn kill_all(&self, signal: i32) -> Result<()> {
        if self.record.cgroup.is_none() { family::kill(self, signal) } else { self.record.cgroup().kill(signal) }
    }

    /// Sends `signal` to init, or with `all` to every process. SIGKILL reaches every process anyway: without a pid namespace
    /// of its own the container's others do not end with init.
    pub fn kill(&self, signal: i32, all: bool) -> Result<()> {
        if all || (signal == libc::SIGKILL && !self.record.own_pid_namespace) {
            return self.kill_all(signal);
        }
        let init = self.init()?.context("container not running")?;
        match pidfd_send_signal(init.as_fd(), signal) {
            Err(SysError { errno: Errno::ESRCH, .. }) => bail!("container not running"),
            result => result?,
        }
        // A frozen v1 process does not even notice SIGKILL.
        let cgroup = self.record.cgroup();
        if signal == libc::SIGKILL && cgroup.is_frozen()? {
            cgroup.thaw()?;
        }
        Ok(())
    }

    /// Kills what is left of the container and waits for its end.
    pub fn kill_and_wait(&self) -> Result<()> {
        if let Some(init) = self.init()? {
            if self.record.cgroup.is_none() && !self.record.own_pid_namespace {
                family::kill(self, libc::SIGKILL)?;
            }
            match pidfd_send_signal(init.as_fd(), libc::SIGKILL) {
                Ok(()) | Err(SysError { errno: Errno::ESRCH, .. }) => {}
                Err(error) => return Err(error.into()),
            }
            // A frozen v1 process does not even notice SIGKILL.
            let cgroup = self.record.cgroup();
            if cgroup.is_frozen().unwrap_or(false) {
                cgroup.thaw()?;
            }
            let others = || cgroup.pids(true).unwrap_or_default();
            status::wait_for_exit(self.record.init.map_or(0, |init| init.pid), init.as_fd(), others)?;
        }
        self.record.cgroup().kill(libc::SIGKILL)
    }

    /// Kills and destroys a container on the way out with an error that matters more; what goes wrong is told, and left for
    /// `delete --force`.
    pub fn end(self, mut warn: impl FnMut(String)) {
        let id = self.record.id.clone();
        if let Err(error) = self.kill_and_wait().and_then(|()| self.destroy(false, &mut warn)) {
            warn(format!("delete {id}: {error:#}"));
        }
    }

    /// Removes everything of a container whose processes are gone: its cgroup, its mounts on the host, its state. Runs the
    /// poststop hooks, whose failures are only told (runtime-spec, lifecycle 13). So is with `force` what may be left in a
    /// mount namespace of which nothing can be told.
    pub fn destroy(self, force: bool, mut warn: impl FnMut(String)) -> Result<()> {
        trace::span("remove cgroup", || self.record.cgroup().remove())?;
        if let Some(group) = &self.record.intel_rdt {
            group.remove()?;
        }
        if let Some(mount) = &self.record.root_mount {
            match mount.remove().context("root.path") {
                Err(error) if force && error.downcast_ref::<Elsewhere>().is_some_and(|error| !error.certain) => {
                    warn(format!("{error:#}"));
                }
                removed => removed?,
            }
        }
        let state = view::HookState::of_record(&self.record, "stopped", 0).to_json();
        let late = &self.record.hooks;
        hooks::run_each(&late.poststop, &late.output, &state, Some(&self.record.bundle), |error| {
            warn(format!("{error:#}"));
        });
        trace::span("remove state", || self.dir.remove())
    }
}

#[cfg(test)]
mod tests {
    use super::validate_id;

    #[test]
    fn ids_are_runcs() {
        for good in ["a", "web-1", "A_b+c.d", "...", ".a", "-x", &"x".repeat(255)] {
            assert!(validate_id(good).is_ok(), "{good}");
        }
        for bad in ["", ".", "..", "a/b", "a b", "ä", "a\0", &"x".repeat(256)] {
            let error = validate_id(bad).unwrap_err().to_string();
            assert!(error.contains("container ID"), "{bad}: {error}");
        }
    }
}
