//! The listener of a filter with SCMP_ACT_NOTIFY, on its way to the agent. From the moment that the filter is loaded until
//! the agent has the listener, a call that the filter asks about would wait for ever: a message to the parent too, or the
//! very call that sends a descriptor. So none is made:
//!
//! ```text
//!   child                                              parent
//!   makes a page that userfaultfd(2) watches
//!   Listener(number of its descriptor) + fd ─────────▶ may it take descriptors from the child?
//!   closes its own copy                ◀────────────── Done(yes)
//!   seccomp(NEW_LISTENER): gets that number again
//!   touches the page, stands still ──────────────────▶ takes the listener by pidfd_getfd(2), sends it to the agent
//!   goes on                        ◀────────────────── closes the page's descriptor
//!   closes the listener
//! ```
//!
//! Where there is no userfaultfd(2), or the parent may not take descriptors (it has no privileges over the host), the child
//! sends the listener by sendmsg(2), and the parent refuses filters that ask about that.

use std::os::fd::{AsFd, AsRawFd};

use anyhow::{Context, Result, bail};

use super::wire::Wire;
use crate::sync::Kind;
use crate::sys::seccomp::{self, FLAG_NEW_LISTENER};
use crate::sys::userfault::Bell;

/// Body of the parent's answer: it watches the page.
pub const RINGS: [u8; 1] = [1];

/// Loads the filter, and returns when the agent can answer.
pub fn load(bpf: &[u8], flags: u32, wire: &mut Wire) -> Result<()> {
    let bell = Bell::new().ok();
    let number = bell.as_ref().map_or(-1, |bell| bell.as_fd().as_raw_fd());
    let body = number.to_ne_bytes();
    let answer = match &bell {
        Some(bell) => wire.ask_about(Kind::Listener, &body, bell.as_fd(), Kind::Done)?,
        None => wire.ask(Kind::Listener, &body, Kind::Done)?,
    };
    // The lowest number that is free, as it was when the bell got it.
    let page = bell.map(Bell::close);
    let listener = seccomp::load(bpf, flags | FLAG_NEW_LISTENER).context("linux.seccomp")?;
    let listener = listener.context("internal error: no listener came of the filter")?;
    match page {
        Some(page) if answer.body == RINGS => {
            if listener.as_raw_fd() != number {
                bail!("internal error: the listener is descriptor {}, not {number}", listener.as_raw_fd());
            }
            page.touch();
        }
        _ => wire.give(Kind::Listener, listener.as_fd())?,
    }
    // Here by `drop`: while this process had it, the death of the agent would not end the calls that wait for an answer.
    Ok(())
}
