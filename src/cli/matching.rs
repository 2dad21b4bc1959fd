//! What `kill --regex` and `delete --regex` share: the same for every container whose name matches.

use anyhow::Result;

use super::{ExitCode, Global};
use crate::error::InputError;
use crate::state::Container;
use crate::sys::regex::Regex;

/// Does `act` to each container whose name some part of `expression` matches, by its name. One that fails is told, and
/// the others get their turn; the exit status is 1 then.
pub fn each(
    expression: &str,
    verb: &str,
    global: &Global,
    mut act: impl FnMut(&str) -> Result<()>,
) -> Result<ExitCode> {
    let regex = Regex::new(expression).map_err(|reason| {
        InputError::new("--regex", format!("{expression:?}: {reason}")).hint("a POSIX extended regular expression")
    })?;
    let containers = Container::list(&global.root, |text| global.log.warning(&format!("{verb}: {text}")))?;
    let mut code = ExitCode::SUCCESS;
    for id in containers.iter().map(|container| &container.record.id).filter(|id| regex.matches(id)) {
        if let Err(error) = act(id) {
            global.log.error(&format!("{verb} {id}: {error:#}"));
            code = ExitCode::FAILURE;
        }
    }
    Ok(code)
}
