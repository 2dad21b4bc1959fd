//! The command line: runc's flags, habits and exit codes. One file per verb; here, what they share.

mod check;
mod completion;
mod create;
mod delete;
mod doctor;
pub mod duration;
mod events;
mod exec;
mod features;
mod kill;
pub mod line;
mod list;
mod making;
mod matching;
mod mounts;
mod pause;
mod plan;
mod ps;
mod resume;
mod run;
pub mod signal;
mod spec;
mod start;
mod state;
mod timings;
mod update;

use std::ffi::OsString;
use std::io::Write;
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::error::ErrorKind;
use clap::{ArgAction, ArgMatches, Args, Command, FromArgMatches};

use crate::error::InputError;
use crate::host::Facts;
use crate::log::{Destination, Format, Level, Log};
use crate::plan::cgroup::Manager;
use crate::safe::seal;
use crate::{bundle, host};
use line::Line;

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Global options")]
struct Flags {
    /// Directory for the state of containers (default: /run/oarlock, or $XDG_RUNTIME_DIR/oarlock without root)
    #[arg(long, value_name = "DIR", global = true)]
    root: Option<PathBuf>,
    /// Where errors and warnings go: a file to append to, or the host's log by journald:ID or syslog:ID
    #[arg(long, value_name = "[file:]FILE|journald:ID|syslog:ID", global = true)]
    log: Option<OsString>,
    /// Form of the log
    #[arg(long, value_name = "FORMAT", default_value = "text", global = true)]
    log_format: Format,
    /// Log what is being done, too
    #[arg(long, global = true)]
    debug: bool,
    /// The least important messages to log
    #[arg(long, value_name = "LEVEL", global = true)]
    log_level: Option<Level>,
    /// Make cgroups through systemd
    #[arg(long, global = true)]
    systemd_cgroup: bool,
    /// How cgroups are made: systemd is --systemd-cgroup, disabled makes none (default: cgroupfs)
    #[arg(long, value_name = "MANAGER", global = true)]
    cgroup_manager: Option<Manager>,
    /// Tolerate what cannot be done without privileges over the host
    #[arg(long, value_name = "true|false|auto", default_value = "auto", value_parser = rootless)]
    rootless: Rootless,
    /// Where criu is, which go-runc says to runc; no verb of ours needs it
    #[arg(long, value_name = "PATH", global = true, hide = true)]
    criu: Option<PathBuf>,
    /// Print the version
    #[arg(short = 'v', long, action = ArgAction::SetTrue)]
    version: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rootless {
    True,
    False,
    Auto,
}

/// As runc takes it: Go's words for a truth value (strconv.ParseBool), or `auto` in whatever case.
fn rootless(text: &str) -> Result<Rootless, String> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(Rootless::True),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(Rootless::False),
        "" => Ok(Rootless::Auto),
        auto if auto.eq_ignore_ascii_case("auto") => Ok(Rootless::Auto),
        _ => Err("it is none of true, false and auto".to_owned()),
    }
}

/// How the program ends: 0 is success. The standard library's type does not tell its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExitCode(u8);

impl ExitCode {
    pub const SUCCESS: Self = Self(0);
    pub const FAILURE: Self = Self(1);
}

impl From<u8> for ExitCode {
    fn from(code: u8) -> Self {
        Self(code)
    }
}

impl From<ExitCode> for std::ffi::c_int {
    fn from(code: ExitCode) -> Self {
        code.0.into()
    }
}

/// A verb: its name, what it takes, and what it does.
struct Verb {
    name: &'static str,
    arguments: fn(Command) -> Command,
    read: fn(&ArgMatches) -> Result<Work, clap::Error>,
}

/// A verb with its arguments, ready to run.
type Work = Box<dyn FnOnce(&Global) -> Result<ExitCode>>;

macro_rules! verbs {
    ($($module:ident::$Arguments:ident),* $(,)?) => {
        &[$(Verb {
            name: stringify!($module),
            arguments: $module::$Arguments::augment_args,
            read: |found| {
                let arguments = $module::$Arguments::from_arg_matches(found)?;
                Ok(Box::new(|global| $module::run(arguments, global)))
            },
        }),*]
    };
}

const VERBS: &[Verb] = verbs![
    check::Check,
    completion::Completion,
    create::Create,
    delete::Delete,
    doctor::Doctor,
    events::Events,
    exec::Exec,
    features::Features,
    kill::Kill,
    list::List,
    mounts::Mounts,
    pause::Pause,
    plan::Plan,
    ps::Ps,
    resume::Resume,
    run::Run,
    spec::Spec,
    start::Start,
    state::State,
    update::Update,
];

/// The verbs whose processes enter a container, and so run from a sealed copy of the program.
const ENTERING: &[&str] = &["create", "exec", "mounts", "run"];

/// What the global flags come to.
pub struct Global {
    /// The state root.
    pub root: PathBuf,
    /// The root is a default below $XDG_RUNTIME_DIR, to be marked sticky.
    pub sticky_root: bool,
    pub rootless: bool,
    pub cgroup_manager: Manager,
    pub log: Log,
}

/// Runs the program; its exit status.
pub fn main() -> ExitCode {
    // Any argument will do: a false alarm costs half a millisecond, a miss would endanger the host.
    let enters = std::env::args_os().skip(1).any(|word| ENTERING.iter().any(|verb| word == *verb));
    if enters && let Err(error) = seal::ensure() {
        log_of_line().error(&format!("{error:#}"));
        return ExitCode::FAILURE;
    }
    let line = Line::read(std::env::args_os());
    if line.asks_for_version() {
        print!("{}", version());
        // There is no runtime of the language that would do it at the end.
        let _ = std::io::stdout().flush();
        return ExitCode::SUCCESS;
    }
    let (flags, work) = match line.parse() {
        Ok(parsed) => parsed,
        Err(error) => return usage(&error),
    };
    let destination = flags.log.as_deref().map(Destination::from);
    let log = match Log::open(destination.as_ref(), flags.log_format, flags.level()) {
        Ok(log) => log,
        Err(error) => {
            Log::stderr().error(&format!("{error:#}"));
            return ExitCode::FAILURE;
        }
    };
    let global = match Global::new(&flags) {
        Ok(global) => Global { log, ..global },
        Err(error) => {
            log.error(&format!("{error:#}"));
            return ExitCode::FAILURE;
        }
    };
    let code = work(&global).unwrap_or_else(|error| {
        global.log.error(&format!("{error:#}"));
        ExitCode::FAILURE
    });
    let _ = std::io::stdout().flush();
    code
}

impl Flags {
    fn level(&self) -> Level {
        match self.log_level {
            Some(level) => level,
            None if self.debug => Level::Debug,
            None => Level::Info,
        }
    }

    fn cgroup_manager(&self) -> Result<Manager> {
        match (self.systemd_cgroup, self.cgroup_manager) {
            (true, None | Some(Manager::Systemd)) => Ok(Manager::Systemd),
            (true, Some(_)) => Err(InputError::new("--cgroup-manager", "contradicts --systemd-cgroup").into()),
            (false, manager) => Ok(manager.unwrap_or(Manager::Cgroupfs)),
        }
    }
}

impl Global {
    /// All but the log.
    fn new(flags: &Flags) -> Result<Self> {
        let rootless = match flags.rootless {
            Rootless::True => true,
            Rootless::False => false,
            Rootless::Auto => host::is_rootless()?,
        };
        let (root, sticky_root) = match (&flags.root, std::env::var_os("XDG_RUNTIME_DIR")) {
            (Some(root), _) => (std::path::absolute(root).context("--root")?, false),
            (None, Some(directory)) if rootless && !directory.is_empty() => {
                (PathBuf::from(directory).join("oarlock"), true)
            }
            (None, _) => (PathBuf::from("/run/oarlock"), false),
        };
        Ok(Self { root, sticky_root, rootless, cgroup_manager: flags.cgroup_manager()?, log: Log::stderr() })
    }

    /// The host's facts, for the verbs that compile a Plan.
    fn facts(&self) -> Result<Facts> {
        host::probe(self.cgroup_manager)
    }
}

/// The first three lines are for go-runc, which knows no other name; Docker takes the last line with the word "version".
fn version() -> String {
    let (major, minor, micro) = crate::seccomp::names::library_version();
    format!(
        "runc version {version}\ncommit: {commit}\nspec: {spec}\nlibseccomp: {major}.{minor}.{micro}\noarlock version {version}\n",
        version = env!("CARGO_PKG_VERSION"),
        commit = option_env!("OARLOCK_COMMIT").unwrap_or("unknown"),
        spec = bundle::OCI_VERSION,
    )
}

/// Help goes to stdout and is no failure. A mistake is one line, and exit status 1 as runc's (clap's would be 2).
fn usage(error: &clap::Error) -> ExitCode {
    if !error.use_stderr() {
        let _ = error.print();
        return ExitCode::SUCCESS;
    }
    if matches!(error.kind(), ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand | ErrorKind::MissingSubcommand) {
        // Without a command runc tells which there are.
        print!("{}", line::help());
        let _ = std::io::stdout().flush();
        return ExitCode::SUCCESS;
    }
    let text = error.to_string();
    let text = text.trim_start_matches("error: ");
    let reason: Vec<&str> = text
        .lines()
        .take_while(|line| !line.starts_with("Usage:") && !line.starts_with("For more information"))
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect();
    log_of_line().error(&format!("Incorrect Usage: {} (hint: see oarlock --help)", reason.join(" ")));
    ExitCode::FAILURE
}

/// The log that the command line asks for, though nobody has understood the rest of it: containerd reads errors there.
fn log_of_line() -> Log {
    let line = Line::read(std::env::args_os());
    let format = line.value_of("--log-format").filter(|format| format == "json").map_or(Format::Text, |_| Format::Json);
    let destination = line.value_of("--log").map(|log| Destination::from(log.as_os_str()));
    Log::open(destination.as_ref(), format, Level::Warning).unwrap_or_else(|_| Log::stderr())
}
