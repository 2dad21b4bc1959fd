//! `oarlock run ID`: create, start, wait, delete.

use std::os::fd::AsFd;
use std::process::ExitCode;

use anyhow::{Context, Result};

use super::Global;
use super::making::{self, Making};
use crate::launch::notify::Notify;
use crate::launch::run::Foreground;
use crate::launch::{Created, console, signals, start};
use crate::sys::process::set_subreaper;

/// Make a container and run its program
#[derive(Debug, clap::Args)]
pub struct Run {
    #[command(flatten)]
    making: Making,
    /// Return once the program runs
    #[arg(short, long)]
    detach: bool,
    /// Keep the container when its program has ended
    #[arg(long)]
    keep: bool,
    /// Leave orphans of the container to another subreaper
    #[arg(long)]
    no_subreaper: bool,
}

pub fn run(args: Run, global: &Global) -> Result<ExitCode> {
    let named = || format!("run {}", args.making.id);
    let plan = args.making.compile(global).with_context(named)?;
    let socket = args.making.console_socket.as_deref();
    if args.detach {
        let create = || {
            let console = console::connect(plan.wants_terminal(), socket, true)?;
            args.making.create(&plan, console, global)
        };
        let created = create().with_context(named)?;
        return detached(created, global).with_context(named);
    }
    console::connect(plan.wants_terminal(), socket, false).with_context(named)?;
    if !args.no_subreaper {
        set_subreaper()?;
    }
    foreground(&args, &plan, global).with_context(named)
}

fn detached(created: Created, global: &Global) -> Result<ExitCode> {
    let notify = Notify::listen(&created.container.dir, making::notify_socket().as_deref())?;
    let (created, pid) = started(created, global)?;
    if let Some(notify) = notify {
        notify.forward_ready(pid, created.pidfd.as_fd())?;
    }
    Ok(ExitCode::SUCCESS)
}

/// A container that could not be started is of no use to anyone: it goes.
fn started(created: Created, global: &Global) -> Result<(Created, i32)> {
    let pid = created.pid;
    if let Err(error) = start::start(&created.container) {
        destroy(created, global)?;
        return Err(error);
    }
    Ok((created, pid))
}

fn destroy(created: Created, global: &Global) -> Result<()> {
    created.container.kill_and_wait()?;
    created.container.destroy(|text| global.log.warning(&text))
}

fn foreground(args: &Run, plan: &crate::plan::Plan, global: &Global) -> Result<ExitCode> {
    let local = plan.wants_terminal().then(console::local).transpose()?;
    let (ours, theirs) = local.unzip();
    let created = args.making.create(plan, theirs, global)?;
    let master = ours.map(|socket| console::receive_master(socket.as_fd())).transpose()?;
    // Blocked from here on, so that none is lost between the start and the wait; the container's own mask is empty.
    let signals = signals::all()?;
    let notify = Notify::listen(&created.container.dir, making::notify_socket().as_deref())?;
    let terminal = master.map(crate::launch::terminal::Terminal::new).transpose()?;
    let (created, pid) = started(created, global)?;
    let Created { mut container, pidfd, .. } = created;
    container.dir.unlock()?;
    let code = Foreground { pid, pidfd, signals, terminal, notify }.wait()?;
    if args.keep {
        return Ok(ExitCode::from(code));
    }
    if !container.dir.lock()? {
        // Deleted by somebody else meanwhile.
        return Ok(ExitCode::from(code));
    }
    container.record.cgroup().kill(libc::SIGKILL)?;
    container.destroy(|text| global.log.warning(&text))?;
    Ok(ExitCode::from(code))
}
