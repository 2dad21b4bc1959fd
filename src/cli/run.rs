//! `oarlock run ID`: create, start, wait, delete.

use std::os::fd::AsFd;

use anyhow::{Context, Result};

use super::making::{self, Making};
use super::{ExitCode, Global};
use crate::launch::notify::Notify;
use crate::launch::run::Foreground;
use crate::launch::terminal::Terminal;
use crate::launch::{Created, console, signals, start};
use crate::plan::Plan;
use crate::sys::process::set_subreaper;
use crate::trace;

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
    args.making.trace.begin("run").with_context(named)?;
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
    let pid = created.pid;
    let notify = match start_it(&created) {
        Ok(notify) => notify,
        Err(error) => return Err(give_up(created, error, global)),
    };
    if let Some(notify) = notify {
        notify.forward_ready(pid, created.pidfd.as_fd())?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Starts the program, with a notify socket to listen at if there is one.
fn start_it(created: &Created) -> Result<Option<Notify>> {
    let container = &created.container;
    let notify = Notify::listen(&container.dir, making::notify_socket().as_deref())?;
    start::waiting(container)?.start(container)?;
    start::poststart(container)?;
    // Not what the program does.
    trace::end();
    Ok(notify)
}

/// A container that could not be started is of no use to anyone: it goes.
fn give_up(created: Created, error: anyhow::Error, global: &Global) -> anyhow::Error {
    created.container.end(|text| global.log.warning(&text));
    error
}

fn foreground(args: &Run, plan: &Plan, global: &Global) -> Result<ExitCode> {
    let local = plan.wants_terminal().then(console::local).transpose()?;
    let (ours, theirs) = local.unzip();
    let created = args.making.create(plan, theirs, global)?;
    let prepare = || {
        let master = ours.map(|socket| console::receive_master(socket.as_fd())).transpose()?;
        // Blocked from here on, so that none is lost between the start and the wait; the container's own mask is empty.
        let signals = signals::all()?;
        let terminal = master.map(Terminal::new).transpose()?;
        Ok((signals, terminal, start_it(&created)?))
    };
    let (signals, terminal, notify) = match prepare() {
        Ok(ready) => ready,
        Err(error) => return Err(give_up(created, error, global)),
    };
    let Created { mut container, pid, pidfd } = created;
    container.dir.unlock()?;
    let code = Foreground { pid, pidfd, signals, terminal, notify }.wait(&|text| global.log.warning(&text))?;
    // Deleted by somebody else meanwhile, if the lock finds nothing.
    if !args.keep && container.dir.lock()? {
        container.end(|text| global.log.warning(&text));
    }
    Ok(ExitCode::from(code))
}
