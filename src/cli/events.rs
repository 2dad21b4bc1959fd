//! `oarlock events ID`: what a container uses, and what happens to it, one JSON object a line.

use std::io::Write;
use std::os::fd::AsFd;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use serde::Serialize;

use super::{ExitCode, Global, duration};
use crate::cgroup::stats::Stats;
use crate::rdt::Resctrl;
use crate::state::{Container, Status};
use crate::sys::{SysError, timer};

/// Print statistics of a container, and its out-of-memory events, until it ends
#[derive(Debug, clap::Args)]
pub struct Events {
    /// Print the statistics once, and nothing else
    #[arg(long)]
    stats: bool,
    /// Time between two statistics, such as 500ms, 5s or 1m30s
    #[arg(long, value_name = "DURATION", default_value = "5s", allow_hyphen_values = true)]
    interval: String,
    /// Name of the container
    #[arg(value_name = "CONTAINER-ID")]
    id: String,
}

/// runc's keys in runc's order.
#[derive(Serialize)]
struct Event<'a> {
    r#type: &'static str,
    id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<Stats>,
}

pub fn run(args: Events, global: &Global) -> Result<ExitCode> {
    let events = || {
        let interval = duration::parse("--interval", &args.interval)?;
        let container = Container::load(&global.root, &args.id)?;
        if container.status()? == Status::Stopped {
            bail!("container with id {} is not running", args.id);
        }
        container.needs_cgroup("reading statistics")?;
        if args.stats { print_stats(&container) } else { stream(&container, interval, global) }
    };
    events().with_context(|| format!("events {}", args.id))?;
    Ok(ExitCode::SUCCESS)
}

fn print(container: &Container, r#type: &'static str, data: Option<Stats>) -> Result<()> {
    let mut line = serde_json::to_vec(&Event { r#type, id: &container.record.id, data })?;
    line.push(b'\n');
    std::io::stdout().write_all(&line).context("stdout")
}

fn print_stats(container: &Container) -> Result<()> {
    let mut stats = container.record.cgroup().stats()?;
    if let Some(group) = &container.record.intel_rdt {
        stats.intel_rdt = Resctrl::find().map(|resctrl| resctrl.stats(group)).unwrap_or_default();
    }
    print(container, "stats", Some(stats))
}

/// Sleeps until something is to be told: the interval is over, memory ran out, or init has exited.
fn stream(container: &Container, interval: Duration, global: &Global) -> Result<()> {
    let Some(init) = container.init()? else { return Ok(()) };
    let timer = timer::every(interval)?;
    let mut oom = container.record.cgroup().watch_oom()?;
    if oom.is_none() {
        global.log.warning("no memory controller: out-of-memory events will not be seen");
    }
    loop {
        let mut fds = vec![PollFd::new(init.as_fd(), PollFlags::POLLIN), PollFd::new(timer.as_fd(), PollFlags::POLLIN)];
        fds.extend(oom.as_ref().map(|oom| PollFd::new(oom.poll_fd().0, oom.poll_fd().1)));
        match poll(&mut fds, PollTimeout::NONE) {
            Ok(_) => {}
            Err(Errno::EINTR) => continue,
            Err(errno) => return Err(SysError::new("poll(events)", errno).into()),
        }
        let ready: Vec<bool> = fds.iter().map(|fd| fd.any().unwrap_or(false)).collect();
        // Before the end: it may be what ended it.
        if let Some(oom) = &mut oom
            && oom.happened()?
        {
            print(container, "oom", None)?;
        }
        if ready[0] {
            return Ok(());
        }
        if timer::expired(timer.as_fd()) > 0 {
            print_stats(container)?;
        }
    }
}
