//! Bytes from files and sockets: the state of a container, systemd's answers, the other half of the runtime, /proc.

use super::holds;
use crate::cgroup::layout;
use crate::cgroup::systemd::message::Message;
use crate::state::Record;
use crate::sync::{self, Channel};

/// A state.json.
pub fn state(data: &[u8]) {
    if let Ok(record) = serde_json::from_slice::<Record>(data) {
        holds::same_again(&record);
    }
}

/// What comes over systemd's socket: messages one after the other.
pub fn dbus(data: &[u8]) {
    let mut rest = data;
    // A message is longer than nothing, so this ends.
    while let Ok(Some(length)) = Message::length(rest) {
        assert!(length >= 16);
        let Some(bytes) = rest.get(..length) else { break };
        if let Ok(message) = Message::parse(bytes) {
            let _ = message.texts();
        }
        rest = &rest[length..];
    }
    // A message that is not all there must be an error, not a panic.
    if let Ok(message) = Message::parse(data) {
        let _ = message.texts();
    }
}

/// A packet from the other half of the runtime, through a real socket.
pub fn wire(data: &[u8]) {
    let (ours, theirs) = Channel::pair().expect("a socket pair");
    // One that is empty, or longer than a socket takes, is never sent.
    let data = &data[..data.len().min(4096)];
    let sent = nix::unistd::write(&theirs, data).is_ok() && !data.is_empty();
    drop(theirs);
    match ours.receive() {
        Ok(Some(packet)) => {
            assert!(sent && packet.body == data[1..] && packet.kind as u8 == data[0]);
            let (phase, text) = sync::parse_failure(&packet.body);
            let again = sync::parse_failure(&sync::failure(&phase, &text));
            assert!(again.0 == phase && text.starts_with(&again.1));
        }
        Ok(None) => assert!(!sent),
        Err(error) => holds::error(&error),
    }
    assert!(ours.receive().is_ok_and(|packet| packet.is_none()));
}

/// Controllers, a path and the text of /proc/self/mountinfo, in which the names of mount points are anybody's; and what
/// else is read of /proc.
pub fn proc(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let mut lines = text.splitn(3, '\n');
    let mut next = || lines.next().unwrap_or_default();
    let (controllers, path, info) = (next(), next(), next());
    let _ = layout::mounted(controllers, path, info);
    layout::line(info);
    crate::host::outside(info, 7);
    crate::host::device_names(info);
}
