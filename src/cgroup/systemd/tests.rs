use super::*;
use message::{Message, SIGNAL};

fn call(arguments: &[Value]) -> Vec<u8> {
    let call = Call { destination: "a.b", path: "/a", interface: "a.c", member: "JobRemoved", arguments };
    call.encode(7)
}

/// What systemd says of a job: a call's bytes do for a signal's.
fn job_removed() -> Vec<u8> {
    let mut bytes = call(&[Value::Uint32(5), text("/job/5"), text("x.scope"), text("done")]);
    bytes[1] = SIGNAL;
    bytes
}

#[test]
fn a_call_is_laid_out_as_the_specification_says() {
    // Every alignment: a text of two bytes, then 8; an empty array that is padded all the same; a struct; a variant.
    let pair = Value::Struct(vec![text("n"), Value::Variant(Box::new(Value::Uint64(1)))]);
    let bytes = call(&[
        text("ab"),
        Value::Array("(sv)".into(), vec![pair]),
        Value::Array("t".into(), Vec::new()),
        Value::Bool(true),
    ]);
    let length = Message::length(&bytes).unwrap().unwrap();
    assert_eq!(length, bytes.len());
    let body = 4 + 3 + 1 + 4 + 4 + (4 + 2 + 3 + 7 + 8) + 4 + 4 + 4;
    assert_eq!(u32::from_le_bytes(bytes[4..8].try_into().unwrap()), body as u32);
    let tail = &bytes[bytes.len() - body..];
    let expect = [
        &[2, 0, 0, 0][..],
        b"ab\0\0",
        &[24, 0, 0, 0],
        &[0; 4],
        &[1, 0, 0, 0],
        b"n\0",
        b"\x01t\0",
        &[0; 7],
        &[1, 0, 0, 0, 0, 0, 0, 0],
        &[0; 4],
        &[0; 4],
        &[1, 0, 0, 0],
    ];
    assert_eq!(tail, expect.concat());
}

#[test]
fn the_end_of_a_job_is_read_off_its_signal() {
    let bytes = job_removed();
    assert_eq!(Message::length(&bytes[..15]).unwrap(), None);
    let mut message = Message::parse(&bytes).unwrap();
    assert_eq!(removed(&message), Some(("/job/5".into(), "done".into())));
    message.member = "JobNew".into();
    assert_eq!(removed(&message), None);
}

#[test]
fn no_bytes_make_the_reader_panic() {
    let bytes = job_removed();
    for cut in 0..bytes.len() {
        let _ = Message::parse(&bytes[..cut]).map(|message| message.texts().map(|texts| texts.len()));
    }
    for at in 0..bytes.len() {
        for value in [0, 1, 0x7f, 0x80, 0xff] {
            let mut bytes = bytes.clone();
            bytes[at] = value;
            let _ = Message::length(&bytes);
            let _ = Message::parse(&bytes).map(|message| removed(&message));
        }
    }
    assert!(Message::length(&[0xff; 16]).is_err());
}

#[test]
fn a_property_that_systemd_does_not_know_is_found_by_its_words() {
    let property =
        |name: &str, optional| Property { name: name.into(), value: Value::Bool(true), json: String::new(), optional };
    let (cpus, slice) = (property("AllowedCPUs", true), property("Slice", false));
    let all = [&slice, &cpus];
    let refused = |text: &str| unknown(&Refused { name: String::new(), text: text.into() }, &all);
    assert_eq!(refused("Cannot set property AllowedCPUs, or unknown property."), Some(1));
    assert_eq!(refused("Cannot set property Slice, or unknown property."), None);
    assert_eq!(refused("Cannot set property AllowedCPUsX, or unknown property."), None);
}
