//! `oarlock kill ID [SIGNAL]`: send a signal to the container's init.

use anyhow::{Context, Result, anyhow};

use super::{ExitCode, Global, matching, signal};
use crate::state::Container;

/// Send a signal to a container's init
#[derive(Debug, clap::Args)]
pub struct Kill {
    /// Send it to every process of the container
    #[arg(short, long)]
    all: bool,
    /// Take the name as a regular expression: every container that it matches
    #[arg(short, long)]
    regex: bool,
    /// Name of the container
    #[arg(value_name = "CONTAINER-ID")]
    id: String,
    /// Name or number of the signal
    #[arg(default_value = "SIGTERM", allow_hyphen_values = true)]
    signal: String,
}

pub fn run(args: Kill, global: &Global) -> Result<ExitCode> {
    let kill = |id: &str| {
        let signal = signal::parse(&args.signal)?;
        let container = Container::load(&global.root, id)?;
        // Without a pid namespace of its own the container's processes can outlive init; SIGKILL still reaches those.
        let reaches_others = args.all || (signal == libc::SIGKILL && !container.record.own_pid_namespace);
        if reaches_others && container.init()?.is_none() && !has_survivors(&container)? {
            // All of nothing, which is success, as in runc: clients call it to make sure.
            return if args.all { Ok(()) } else { Err(anyhow!("container not running")) };
        }
        container.kill(signal, args.all)
    };
    if args.regex {
        signal::parse(&args.signal).context("kill")?;
        return matching::each(&args.id, "kill", global, kill).context("kill");
    }
    kill(&args.id).with_context(|| format!("kill {}", args.id))?;
    Ok(ExitCode::SUCCESS)
}

fn has_survivors(container: &Container) -> Result<bool> {
    Ok(!container.record.own_pid_namespace && !container.pids()?.is_empty())
}
