//! `oarlock plan BUNDLE`: print what would be done, without doing any of it.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::{ExitCode, Global, making, timings};
use crate::init::PHASES;
use crate::plan::cgroup::Property;
use crate::plan::{self, Options};

/// Print what create would do with a bundle
#[derive(Debug, clap::Args)]
pub struct Plan {
    /// Configuration to use in place of the bundle's config.json
    #[arg(short = 'f', long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Form of the output
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    format: Format,
    /// Show the times in a file that --trace has written, in place of a bundle's plan
    #[arg(long, value_name = "FILE", conflicts_with = "bundle")]
    timings: Option<PathBuf>,
    /// Directory of the bundle
    #[arg(value_name = "BUNDLE", required_unless_present = "timings")]
    bundle: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    Text,
    Json,
}

pub fn run(args: Plan, global: &Global) -> Result<ExitCode> {
    if let Some(file) = &args.timings {
        let text = timings::of(file).context("plan")?;
        std::io::stdout().write_all(text.as_bytes()).context("stdout")?;
        return Ok(ExitCode::SUCCESS);
    }
    let bundle = args.bundle.context("internal error: no bundle")?;
    let plan =
        compile(&bundle, args.config.as_deref(), global).with_context(|| format!("plan {}", bundle.display()))?;
    let text = match args.format {
        Format::Json => serde_json::to_string_pretty(&plan).context("plan")? + "\n",
        Format::Text => text(&plan),
    };
    std::io::stdout().write_all(text.as_bytes()).context("stdout")?;
    Ok(ExitCode::SUCCESS)
}

/// The Plan for a container that nobody makes, named after its bundle.
pub(super) fn compile(bundle: &Path, config: Option<&Path>, global: &Global) -> Result<plan::Plan> {
    making::compile(global, bundle, config, |bundle| {
        let name = bundle.file_name().unwrap_or("container".as_ref()).to_string_lossy().into_owned();
        Options {
            state_dir: global.root.join(&name),
            id: name,
            bundle,
            no_pivot: false,
            no_new_keyring: false,
            rootless: global.rootless,
            cgroup_manager: global.cgroup_manager,
            listen_fds: 0,
            listen_fd_names: None,
            notify_socket: None,
        }
    })
}

/// The parent's steps, then the phases that init walks.
fn text(plan: &plan::Plan) -> String {
    let mut text = format!("{} from {}\n", plan.id, plan.bundle.display());
    for obstacle in &plan.obstacles {
        let _ = writeln!(text, "create would refuse: {obstacle}");
    }
    section(&mut text, "cgroup", &cgroup(plan));
    for phase in PHASES {
        section(&mut text, phase.name, &(phase.steps)(plan));
    }
    let after = plan.hooks.poststart.iter().chain(&plan.hooks.poststop);
    let after: Vec<String> = after.map(|hook| format!("run {} ({})", hook.path.display(), hook.at)).collect();
    section(&mut text, "after", &after);
    text
}

fn cgroup(plan: &plan::Plan) -> Vec<String> {
    let cgroup = &plan.cgroup;
    let places = cgroup.place.v1.iter().chain(&cgroup.place.v2).map(|dir| format!("make {}", dir.path().display()));
    let unit = cgroup.unit.iter().flat_map(|unit| {
        let property = |p: &Property| format!("property {} = {} ({})", p.name, p.value, p.json);
        let whose = if unit.id.user { "the user's systemd" } else { "systemd" };
        let start = format!("have {whose} start unit {} with init", unit.id.name);
        [start].into_iter().chain(unit.properties.iter().map(property))
    });
    let limits = &cgroup.limits;
    let writes = limits.writes.iter().chain(&limits.late);
    let writes = writes.map(|write| format!("{} = {} ({})", write.file, write.value, write.json));
    unit.chain(places).chain(writes).collect()
}

/// Nothing for a phase that has nothing to do.
fn section(text: &mut String, name: &str, steps: &[String]) {
    if steps.is_empty() {
        return;
    }
    let _ = writeln!(text, "{name}");
    for step in steps {
        let _ = writeln!(text, "  {step}");
    }
}
