//! Signals by name or number, in the forms that clients send: `KILL`, `SIGKILL`, `sigkill`, `9`, `RTMIN+3`.

use crate::error::InputError;

const NAMES: &[(&str, i32)] = &[
    ("HUP", libc::SIGHUP),
    ("INT", libc::SIGINT),
    ("QUIT", libc::SIGQUIT),
    ("ILL", libc::SIGILL),
    ("TRAP", libc::SIGTRAP),
    ("ABRT", libc::SIGABRT),
    ("IOT", libc::SIGIOT),
    ("BUS", libc::SIGBUS),
    ("FPE", libc::SIGFPE),
    ("KILL", libc::SIGKILL),
    ("USR1", libc::SIGUSR1),
    ("SEGV", libc::SIGSEGV),
    ("USR2", libc::SIGUSR2),
    ("PIPE", libc::SIGPIPE),
    ("ALRM", libc::SIGALRM),
    ("TERM", libc::SIGTERM),
    ("STKFLT", libc::SIGSTKFLT),
    ("CHLD", libc::SIGCHLD),
    ("CLD", libc::SIGCHLD),
    ("CONT", libc::SIGCONT),
    ("STOP", libc::SIGSTOP),
    ("TSTP", libc::SIGTSTP),
    ("TTIN", libc::SIGTTIN),
    ("TTOU", libc::SIGTTOU),
    ("URG", libc::SIGURG),
    ("XCPU", libc::SIGXCPU),
    ("XFSZ", libc::SIGXFSZ),
    ("VTALRM", libc::SIGVTALRM),
    ("PROF", libc::SIGPROF),
    ("WINCH", libc::SIGWINCH),
    ("IO", libc::SIGIO),
    ("POLL", libc::SIGPOLL),
    ("PWR", libc::SIGPWR),
    ("SYS", libc::SIGSYS),
];

// signal(7): as programs see them; the kernel's first two belong to glibc.
const RTMIN: i32 = 34;
const RTMAX: i32 = 64;

/// The signal's number. 0 is one: it only asks whether there is a process.
///
/// # Errors
/// `unknown signal "X"`, runc's words.
pub fn parse(text: &str) -> Result<i32, InputError> {
    let unknown = || {
        InputError::new("signal", format!("unknown signal {text:?}"))
            .hint("use a name such as TERM or SIGTERM, a number from 0 to 64, or RTMIN+n")
    };
    if let Ok(number) = text.parse::<i32>() {
        return if (0..=RTMAX).contains(&number) { Ok(number) } else { Err(unknown()) };
    }
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    if let Some((_, number)) = NAMES.iter().find(|(known, _)| *known == name) {
        return Ok(*number);
    }
    let offset = |rest: &str, sign: char| match rest {
        "" => Some(0),
        rest => rest.strip_prefix(sign)?.parse::<i32>().ok().filter(|offset| (0..=RTMAX - RTMIN).contains(offset)),
    };
    let realtime = match (name.strip_prefix("RTMIN"), name.strip_prefix("RTMAX")) {
        (Some(rest), _) => offset(rest, '+').map(|offset| RTMIN + offset),
        (_, Some(rest)) => offset(rest, '-').map(|offset| RTMAX - offset),
        _ => None,
    };
    realtime.ok_or_else(unknown)
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn every_form_of_a_signal_is_known() {
        for (text, number) in [
            ("KILL", 9),
            ("SIGKILL", 9),
            ("sigkill", 9),
            ("9", 9),
            ("0", 0),
            ("RTMIN", 34),
            ("SIGRTMIN+3", 37),
            ("RTMAX-1", 63),
        ] {
            assert_eq!(parse(text), Ok(number), "{text}");
        }
    }

    #[test]
    fn anything_else_is_refused_by_name() {
        for text in ["", "SIG", "KILLX", "-1", "65", "RTMIN+31", "RTMIN-1", "RTMIN+", "9 "] {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.contains(&format!("unknown signal {text:?}")), "{error}");
        }
    }
}
