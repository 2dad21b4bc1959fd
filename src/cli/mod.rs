//! The command line: runc's flags, habits and exit codes. One file per verb; here, what they share.

mod check;
mod completion;
mod create;
mod delete;
mod doctor;
mod duration;
mod events;
mod exec;
mod features;
mod kill;
mod list;
mod making;
mod matching;
mod mounts;
mod pause;
mod plan;
mod ps;
mod resume;
mod run;
mod signal;
mod spec;
mod start;
mod state;
mod update;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{ArgAction, CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::error::InputError;
use crate::host::Facts;
use crate::log::{Destination, Format, Level, Log};
use crate::plan::cgroup::Manager;
use crate::safe::seal;
use crate::{bundle, host};

/// An OCI container runtime
#[derive(Debug, Parser)]
#[command(name = "oarlock", disable_version_flag = true)]
struct Cli {
    #[command(flatten)]
    flags: Flags,
    #[command(subcommand)]
    verb: Verb,
}

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

#[derive(Debug, Subcommand)]
enum Verb {
    Check(check::Check),
    Completion(completion::Completion),
    Create(create::Create),
    Delete(delete::Delete),
    Doctor(doctor::Doctor),
    Events(events::Events),
    Exec(exec::Exec),
    Features(features::Features),
    Kill(kill::Kill),
    List(list::List),
    Mounts(mounts::Mounts),
    Pause(pause::Pause),
    Plan(plan::Plan),
    Ps(ps::Ps),
    Resume(resume::Resume),
    Run(run::Run),
    Spec(spec::Spec),
    Start(start::Start),
    State(state::State),
    Update(update::Update),
}

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
    let arguments: Vec<OsString> = normalise(std::env::args_os());
    // Any argument will do: a false alarm costs half a millisecond, a miss would endanger the host.
    let enters = arguments.iter().skip(1).any(|word| ENTERING.iter().any(|verb| word == verb));
    if enters && let Err(error) = seal::ensure() {
        Log::stderr().error(&format!("{error:#}"));
        return ExitCode::FAILURE;
    }
    if asks_for_version(&arguments) {
        print!("{}", version());
        return ExitCode::SUCCESS;
    }
    let cli = match Cli::command().try_get_matches_from(arguments).and_then(|found| Cli::from_arg_matches(&found)) {
        Ok(cli) => cli,
        Err(error) => return usage(&error),
    };
    let destination = cli.flags.log.as_deref().map(Destination::from);
    let log = match Log::open(destination.as_ref(), cli.flags.log_format, cli.flags.level()) {
        Ok(log) => log,
        Err(error) => {
            Log::stderr().error(&format!("{error:#}"));
            return ExitCode::FAILURE;
        }
    };
    let global = match Global::new(&cli.flags, log) {
        Ok(global) => global,
        Err(error) => {
            Log::stderr().error(&format!("{error:#}"));
            return ExitCode::FAILURE;
        }
    };
    match cli.verb.run(&global) {
        Ok(code) => code,
        Err(error) => {
            global.log.error(&format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

impl Verb {
    fn run(self, global: &Global) -> Result<ExitCode> {
        match self {
            Self::Check(args) => check::run(args, global),
            Self::Completion(args) => completion::run(args, global),
            Self::Create(args) => create::run(args, global),
            Self::Delete(args) => delete::run(args, global),
            Self::Doctor(args) => doctor::run(args, global),
            Self::Events(args) => events::run(args, global),
            Self::Exec(args) => exec::run(args, global),
            Self::Features(args) => features::run(args, global),
            Self::Kill(args) => kill::run(args, global),
            Self::List(args) => list::run(args, global),
            Self::Mounts(args) => mounts::run(args, global),
            Self::Pause(args) => pause::run(args, global),
            Self::Plan(args) => plan::run(args, global),
            Self::Ps(args) => ps::run(args, global),
            Self::Resume(args) => resume::run(args, global),
            Self::Run(args) => run::run(args, global),
            Self::Spec(args) => spec::run(args, global),
            Self::Start(args) => start::run(args, global),
            Self::State(args) => state::run(args, global),
            Self::Update(args) => update::run(args, global),
        }
    }
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
    fn new(flags: &Flags, log: Log) -> Result<Self> {
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
        Ok(Self { root, sticky_root, rootless, cgroup_manager: flags.cgroup_manager()?, log })
    }

    /// The host's facts, for the verbs that compile a Plan.
    fn facts(&self) -> Result<Facts> {
        host::probe(self.cgroup_manager)
    }
}

/// Flags as Go programs take them: one dash does for a long one (go-runc writes `-no-subreaper`), and what follows the
/// container of a verb that takes somebody else's arguments (a program's, ps's) is not for us, whatever it looks like.
fn normalise(arguments: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let root = Cli::command();
    let mut verb: Option<&clap::Command> = None;
    let mut words = arguments.skip(1);
    // By our own name, not the one that a sealed copy is started under.
    let mut line = vec![OsString::from("oarlock")];
    while let Some(word) = words.next() {
        let Some(flag) = word.to_str().and_then(|text| text.strip_prefix('-')).filter(|flag| !flag.is_empty()) else {
            let positionals: Vec<_> = verb.into_iter().flat_map(clap::Command::get_positionals).collect();
            if verb.is_none() {
                verb = root.get_subcommands().find(|verb| word == verb.get_name());
            }
            line.push(word);
            if positionals.last().is_some_and(|last| last.is_trailing_var_arg_set()) {
                let mut rest = words.peekable();
                if positionals.len() > 1 {
                    // One that the caller has put there says the same (crun's users do).
                    rest.next_if(|word| word == "--");
                    line.push("--".into());
                }
                line.extend(rest);
                return line;
            }
            continue;
        };
        if flag == "-" {
            line.push(word);
            line.extend(words);
            return line;
        }
        let (flag, alone) = match flag.split_once('=') {
            Some((flag, _)) => (flag, false),
            None => (flag, true),
        };
        let bare = flag.trim_start_matches('-');
        let known = || verb.into_iter().chain([&root]).flat_map(clap::Command::get_arguments);
        let long = known().find(|argument| argument.get_long() == Some(bare));
        let short = || {
            let mut letters = flag.chars();
            let letter = letters.next();
            known().find(|argument| argument.get_short() == letter).filter(|_| letters.next().is_none())
        };
        let single = long.is_some() || bare == "help";
        let takes_value = alone && long.or_else(short).is_some_and(|argument| argument.get_action().takes_values());
        line.push(match word.to_str() {
            Some(text) if single && !text.starts_with("--") => format!("-{text}").into(),
            _ => word,
        });
        if takes_value {
            line.extend(words.next());
        }
    }
    line
}

/// `--version`, which needs no verb and stands before one. Nothing else of the line is looked at, not even a bad `--root`.
fn asks_for_version(arguments: &[OsString]) -> bool {
    let verbs: Vec<String> = Cli::command().get_subcommands().map(|command| command.get_name().to_owned()).collect();
    arguments
        .iter()
        .skip(1)
        .take_while(|word| !verbs.iter().any(|verb| *word == verb.as_str()))
        .any(|word| word == "--version" || word == "-v")
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
    let text = error.to_string();
    let text = text.trim_start_matches("error: ");
    let reason: Vec<&str> = text
        .lines()
        .take_while(|line| !line.starts_with("Usage:") && !line.starts_with("For more information"))
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect();
    Log::stderr().error(&format!("Incorrect Usage: {} (hint: see oarlock --help)", reason.join(" ")));
    ExitCode::FAILURE
}

#[cfg(test)]
mod tests {
    use super::{Cli, asks_for_version, normalise};
    use clap::CommandFactory;
    use std::ffi::OsString;

    fn words(line: &str) -> Vec<OsString> {
        line.split(' ').map(OsString::from).collect()
    }

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn one_dash_does_for_a_long_flag() {
        let line = words("oarlock -root=/x run -no-subreaper -d -b dir id");
        assert_eq!(normalise(line.into_iter()), words("oarlock --root=/x run --no-subreaper -d -b dir id"));
        let line = words("oarlock kill id -9");
        assert_eq!(normalise(line.clone().into_iter()), line);
    }

    #[test]
    fn what_follows_the_container_of_exec_is_the_programs() {
        for (given, taken) in [
            ("runc exec -tty -user 1 id sh -tty -c x", "oarlock exec --tty --user 1 id -- sh -tty -c x"),
            ("runc -root exec exec -e A=1 id -- ls --root", "oarlock --root exec exec -e A=1 id -- ls --root"),
            ("runc exec -u -1 --cwd=/ id true", "oarlock exec -u -1 --cwd=/ id -- true"),
            ("runc exec -- id true -- x", "oarlock exec -- id true -- x"),
            ("runc exec -p file id", "oarlock exec -p file id --"),
        ] {
            assert_eq!(normalise(words(given).into_iter()), words(taken));
        }
    }

    #[test]
    fn version_is_asked_before_the_verb_only() {
        assert!(asks_for_version(&words("runc --version")));
        assert!(asks_for_version(&words("runc --root /nowhere -v")));
        assert!(!asks_for_version(&words("runc state -v")));
    }
}
