//! `oarlock update ID`: change the limits of a container that exists.

use std::fs::File;
use std::io::{Read, stdin};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::{Arg, ArgMatches, Command, FromArgMatches};
use oci_spec::runtime::LinuxResources;

use super::{ExitCode, Global};
use crate::bundle;
use crate::cgroup::layout::Layout;
use crate::error::InputError;
use crate::plan::update::{FLAGS, Flag, Kind};
use crate::plan::{cgroup, update};
use crate::rdt;
use crate::state::{Container, Status};

/// Change the limits of a container
#[derive(Debug, clap::Args)]
pub struct Update {
    /// File with the limits to change, a JSON document like linux.resources; "-" is standard input
    #[arg(short, long, value_name = "FILE")]
    resources: Option<PathBuf>,
    #[command(flatten)]
    limits: Limits,
    /// Name of the container
    #[arg(value_name = "CONTAINER-ID")]
    id: String,
}

/// The flags that were given, with their values.
struct Limits(Vec<(&'static Flag, String)>);

impl std::fmt::Debug for Limits {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(flag, value)| (flag.name, value))).finish()
    }
}

impl FromArgMatches for Limits {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let value = |flag: &'static Flag| Some((flag, matches.get_one::<String>(flag.name)?.clone()));
        Ok(Self(FLAGS.iter().filter_map(value).collect()))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl clap::Args for Limits {
    fn augment_args(command: Command) -> Command {
        command.args(FLAGS.iter().map(|flag| {
            let value = match flag.kind {
                Kind::Bytes => "BYTES",
                Kind::Unsigned | Kind::Signed => "NUMBER",
                Kind::Text => "LIST",
                Kind::Schema(_) => "SCHEMA",
            };
            let arg = Arg::new(flag.name).long(flag.name).value_name(value).help(flag.help);
            arg.hide(flag.help.is_empty()).allow_hyphen_values(true).conflicts_with("resources")
        }))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

pub fn run(args: Update, global: &Global) -> Result<ExitCode> {
    let update = || {
        let change = match &args.resources {
            Some(path) => bundle::parse_resources(&read(path).context("--resources")?).context("--resources")?,
            None => bundle::resources(update::document(&args.limits.0)?).map_err(name_flag)?,
        };
        let mut container = Container::load_locked(&global.root, &args.id)?;
        if container.status()? == Status::Stopped {
            bail!("container not running");
        }
        container.needs_cgroup("a limit")?;
        let shares = update::schemata(&args.limits.0)?;
        let shares = shares.map(|(lines, without)| rdt::change(&mut container, &lines, without)).transpose()?;
        change_limits(&mut container, &change, args.resources.is_none(), global).inspect_err(|_| {
            // The failure to change the limits is the error to tell.
            if let Some(shares) = shares {
                shares.restore();
            }
        })
    };
    update().with_context(|| format!("update {}", args.id))?;
    Ok(ExitCode::SUCCESS)
}

/// What the flags were made into is none of the user's words.
fn name_flag(error: InputError) -> InputError {
    InputError { at: update::name_flag(error.at), ..error }
}

/// As one: the kernel's limits and the record of them change together, or neither does.
fn change_limits(container: &mut Container, change: &LinuxResources, by_flags: bool, global: &Global) -> Result<()> {
    let update = update::update(container.record.resources.as_ref(), change)?;
    let mut warnings = Vec::new();
    let mut limits = cgroup::compile_update(&update.apply, "", &Layout::probe()?, &mut warnings)
        .map_err(|error| if by_flags { name_flag(error) } else { error })?;
    if by_flags {
        limits.writes.iter_mut().for_each(|write| write.json = update::name_flag(std::mem::take(&mut write.json)));
    }
    warnings.iter().for_each(|text| global.log.warning(text));
    let before = container.record.cgroup().apply(&limits)?;
    container.record.resources = Some(update.merged);
    container.record.write(&container.dir).inspect_err(|_| {
        // The failure to write is the error to tell.
        before.restore();
    })
}

/// What clients send is a few hundred bytes; the bound keeps a wrong file from filling the memory.
fn read(path: &Path) -> Result<Vec<u8>> {
    const MAX_BYTES: u64 = 1 << 20;
    let mut bytes = Vec::new();
    let result = if path == Path::new("-") {
        stdin().take(MAX_BYTES).read_to_end(&mut bytes)
    } else {
        File::open(path).and_then(|file| file.take(MAX_BYTES).read_to_end(&mut bytes))
    };
    result.map_err(|error| InputError::new(path.display().to_string(), bundle::io_text(&error)))?;
    Ok(bytes)
}
