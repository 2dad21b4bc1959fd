//! The words of the command line, from what clients write to what clap reads; and of clap's commands only the one that is
//! asked for: building them all takes as long as everything else that `state` does.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use clap::{Arg as Argument, ArgMatches, Args, Command, FromArgMatches};

use super::{Flags, VERBS, Verb, Work};

/// A command line with the verb that was found in it.
pub struct Line {
    words: Vec<OsString>,
    flags: Command,
    verb: Option<(&'static Verb, Command)>,
    /// Where the verb stands in `words`.
    at: usize,
}

impl Line {
    /// Flags as Go programs take them: one dash does for a long one (go-runc writes `-no-subreaper`), the beginning of one as
    /// crun takes it; and what follows the container of a verb that takes somebody else's arguments (a program's, ps's) is not for us, whatever it looks like.
    pub fn read(arguments: impl Iterator<Item = OsString>) -> Self {
        let flags = root();
        let mut verb: Option<(&'static Verb, Command)> = None;
        let mut at = usize::MAX;
        let mut words = arguments.skip(1);
        // By our own name, not the one that a sealed copy is started under.
        let mut line = vec![OsString::from("oarlock")];
        while let Some(word) = words.next() {
            let Some(flag) = word.to_str().and_then(|text| text.strip_prefix('-')).filter(|flag| !flag.is_empty())
            else {
                let positionals: Vec<_> = verb.iter().flat_map(|(_, verb)| verb.get_positionals()).collect();
                let foreign = positionals.last().is_some_and(|last| last.is_trailing_var_arg_set());
                let has_own = positionals.len() > 1;
                if verb.is_none() {
                    let found = VERBS.iter().find(|verb| word == verb.name);
                    verb = found.map(|found| (found, (found.arguments)(Command::new(found.name))));
                    at = line.len();
                }
                line.push(word);
                if foreign {
                    let mut rest = words.peekable();
                    if has_own {
                        // One that the caller has put there says the same (crun's users do).
                        rest.next_if(|word| word == "--");
                        line.push("--".into());
                    }
                    line.extend(rest);
                    break;
                }
                continue;
            };
            if flag == "-" {
                line.push(word);
                line.extend(words);
                break;
            }
            let (flag, alone) = match flag.split_once('=') {
                Some((flag, _)) => (flag, false),
                None => (flag, true),
            };
            let known = || verb.iter().map(|(_, verb)| verb).chain([&flags]).flat_map(Command::get_arguments);
            let long = long(known, flag);
            let short = || {
                let mut letters = flag.chars();
                let letter = letters.next();
                known().find(|argument| argument.get_short() == letter).filter(|_| letters.next().is_none())
            };
            let argument = known().find(|argument| long.is_some() && argument.get_long() == long).or_else(short);
            let takes_value = alone && argument.is_some_and(|argument| argument.get_action().takes_values());
            line.push(match (word.to_str(), long) {
                (Some(text), Some(long)) => format!("--{long}{}", &text[text.find('=').unwrap_or(text.len())..]).into(),
                _ => word,
            });
            if takes_value {
                line.extend(words.next());
            }
        }
        Self { words: line, flags, verb, at }
    }

    /// `--version`, which needs no verb and stands before one. Nothing else of the line is looked at, not even a bad
    /// `--root`.
    pub fn asks_for_version(&self) -> bool {
        self.words.iter().take(self.at).skip(1).any(|word| word == "--version" || word == "-v")
    }

    /// The last value of a flag with one, wherever it stands before `--`: for a line that [`Line::parse`] refuses.
    pub fn value_of(&self, flag: &str) -> Option<OsString> {
        let ours = || self.words.iter().take_while(|word| *word != "--");
        let separate = ours().zip(ours().skip(1)).map(|(word, next)| (word == flag).then(|| next.clone()));
        let joined = ours().map(|word| {
            let value = word.as_bytes().strip_prefix(flag.as_bytes())?.strip_prefix(b"=")?;
            Some(OsStr::from_bytes(value).to_owned())
        });
        joined.zip(separate.chain([None])).filter_map(|(joined, separate)| joined.or(separate)).last()
    }

    /// The global flags, and the verb with its own.
    ///
    /// # Errors
    /// Clap's: mistakes, and help, which is asked for in the same way.
    pub(super) fn parse(self) -> Result<(Flags, Work), clap::Error> {
        let Some((verb, command)) = self.verb else {
            // Help, or a word that is no verb: clap shall know all of them.
            let error = everything().try_get_matches_from(self.words).err();
            let missing = || everything().error(clap::error::ErrorKind::MissingSubcommand, "a command is missing");
            return Err(error.unwrap_or_else(missing));
        };
        let mut found = self.flags.subcommand(command).try_get_matches_from(self.words)?;
        let own = found.remove_subcommand().map_or_else(ArgMatches::default, |(_, own)| own);
        Ok((Flags::from_arg_matches(&found)?, (verb.read)(&own)?))
    }

    /// Whether it can be read: for fuzzing, which runs no verb.
    #[cfg(any(test, fuzzing))]
    pub fn check(self) -> Result<(), clap::Error> {
        self.parse().map(drop)
    }
}

/// The name of the long flag that is meant by `flag`, which lacks its first dash: the same, or after two dashes one that
/// begins so, if there is no other.
fn long<'a, I: Iterator<Item = &'a Argument>>(known: impl Fn() -> I, flag: &str) -> Option<&'a str> {
    let bare = flag.trim_start_matches('-');
    if bare == "help" {
        return Some("help");
    }
    let exact = known().filter_map(Argument::get_long).find(|long| *long == bare);
    exact.or_else(|| {
        let mut begun = known().filter_map(Argument::get_long).filter(|long| long.starts_with(bare));
        begun.next().filter(|_| flag.starts_with('-') && begun.next().is_none())
    })
}

/// The program with its global flags.
fn root() -> Command {
    let root = Command::new("oarlock").about("An OCI container runtime").disable_version_flag(true);
    Flags::augment_args(root.subcommand_required(true).arg_required_else_help(true))
}

/// What `--help` prints.
pub fn help() -> String {
    everything().render_help().to_string()
}

fn everything() -> Command {
    root().subcommands(VERBS.iter().map(|verb| (verb.arguments)(Command::new(verb.name))))
}

#[cfg(test)]
mod tests {
    use super::{Line, everything};
    use std::ffi::OsString;

    fn words(line: &str) -> Vec<OsString> {
        line.split(' ').map(OsString::from).collect()
    }

    fn read(line: &str) -> Line {
        Line::read(words(line).into_iter())
    }

    #[test]
    fn the_command_line_is_well_formed() {
        everything().debug_assert();
    }

    #[test]
    fn one_dash_does_for_a_long_flag() {
        let line = read("oarlock -root=/x run -no-subreaper -d -b dir id");
        assert_eq!(line.words, words("oarlock --root=/x run --no-subreaper -d -b dir id"));
        assert_eq!(read("oarlock kill id -9").words, words("oarlock kill id -9"));
    }

    #[test]
    fn the_beginning_of_a_long_flag_does_where_there_is_only_one() {
        for (given, taken) in [
            ("crun --systemd run --bund dir --no-p id", "oarlock --systemd-cgroup run --bundle dir --no-pivot id"),
            (
                "crun --debu --log-f json create --bundle=dir id",
                "oarlock --debug --log-format json create --bundle=dir id",
            ),
            // Of several none, nor of a flag with one dash: that may be short ones in a row.
            ("crun create --pid f id", "oarlock create --pid f id"),
            ("runc kill -al id", "oarlock kill -al id"),
            ("crun exec --us 1 id sh --us", "oarlock exec --user 1 id -- sh --us"),
        ] {
            assert_eq!(read(given).words, words(taken));
        }
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
            assert_eq!(read(given).words, words(taken));
        }
    }

    #[test]
    fn a_value_is_found_in_a_line_that_is_wrong() {
        for (given, log) in [
            ("runc --log a create --nope id", Some("a")),
            ("runc -log=a create --nope id", Some("a")),
            ("runc --log=a --log b nonesuch", Some("b")),
            ("runc --log-format json create", None),
            ("runc exec id sh --log x", None),
            ("runc --log", None),
        ] {
            assert_eq!(read(given).value_of("--log"), log.map(OsString::from), "{given}");
        }
    }

    #[test]
    fn version_is_asked_before_the_verb_only() {
        assert!(read("runc --version").asks_for_version());
        assert!(read("runc --root /nowhere -v").asks_for_version());
        assert!(!read("runc state -v").asks_for_version());
    }
}
