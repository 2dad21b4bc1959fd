//! D-Bus messages as bytes (D-Bus Specification, "Message Protocol"): method calls out, anything in. Pure. Not for what
//! is never sent here: descriptors, dictionaries, the byte order of another machine.

use anyhow::{Context, Result, bail, ensure};

use crate::plan::cgroup::gvariant::Value;

/// Message types.
pub const RETURN: u8 = 2;
pub const ERROR: u8 = 3;
pub const SIGNAL: u8 = 4;

const CALL: u8 = 1;
const VERSION: u8 = 1;
const LITTLE_ENDIAN: u8 = b'l';

/// The specification's bound; nothing that systemd answers comes near it.
const MAX_MESSAGE: usize = 128 << 20;
/// The part before the header's fields: byte order to their length.
const FIXED: usize = 16;

/// Codes of header fields.
const PATH: u8 = 1;
const INTERFACE: u8 = 2;
const MEMBER: u8 = 3;
const ERROR_NAME: u8 = 4;
const REPLY_SERIAL: u8 = 5;
const DESTINATION: u8 = 6;
const SIGNATURE: u8 = 8;

/// A method call.
#[derive(Debug, Clone, Copy)]
pub struct Call<'a> {
    pub destination: &'a str,
    pub path: &'a str,
    pub interface: &'a str,
    pub member: &'a str,
    pub arguments: &'a [Value],
}

impl Call<'_> {
    pub fn encode(&self, serial: u32) -> Vec<u8> {
        let mut body = Writer::default();
        self.arguments.iter().for_each(|argument| body.value(argument));
        let signature: String = self.arguments.iter().map(Value::signature).collect();
        let mut out = Writer::default();
        out.0.extend([LITTLE_ENDIAN, CALL, 0, VERSION]);
        out.u32(body.0.len() as u32);
        out.u32(serial);
        out.array(8, |out| {
            for (code, kind, text) in [
                (PATH, "o", self.path),
                (INTERFACE, "s", self.interface),
                (MEMBER, "s", self.member),
                (DESTINATION, "s", self.destination),
            ] {
                out.align(8);
                out.0.push(code);
                out.signature(kind);
                out.text(text);
            }
            if !signature.is_empty() {
                out.align(8);
                out.0.push(SIGNATURE);
                out.signature("g");
                out.signature(&signature);
            }
        });
        out.align(8);
        out.0.extend(body.0);
        out.0
    }
}

/// Marshals; alignment counts from the start of the message, and of its body, which is the same.
#[derive(Default)]
struct Writer(Vec<u8>);

impl Writer {
    fn align(&mut self, to: usize) {
        self.0.resize(self.0.len().next_multiple_of(to), 0);
    }

    fn number<const N: usize>(&mut self, bytes: [u8; N]) {
        self.align(N);
        self.0.extend(bytes);
    }

    fn u32(&mut self, n: u32) {
        self.number(n.to_le_bytes());
    }

    fn text(&mut self, text: &str) {
        self.u32(text.len() as u32);
        self.0.extend(text.as_bytes());
        self.0.push(0);
    }

    fn signature(&mut self, text: &str) {
        self.0.push(text.len() as u8);
        self.0.extend(text.as_bytes());
        self.0.push(0);
    }

    /// The length does not count the padding before the first item, which is there even without one.
    fn array(&mut self, alignment: usize, items: impl FnOnce(&mut Self)) {
        self.u32(0);
        let length = self.0.len() - 4;
        self.align(alignment);
        let start = self.0.len();
        items(self);
        let bytes = (self.0.len() - start) as u32;
        self.0[length..length + 4].copy_from_slice(&bytes.to_le_bytes());
    }

    fn value(&mut self, value: &Value) {
        match value {
            Value::Bool(b) => self.u32((*b).into()),
            Value::Byte(n) => self.0.push(*n),
            Value::Int16(n) => self.number(n.to_le_bytes()),
            Value::Uint16(n) => self.number(n.to_le_bytes()),
            Value::Int32(n) => self.number(n.to_le_bytes()),
            Value::Uint32(n) => self.u32(*n),
            Value::Int64(n) => self.number(n.to_le_bytes()),
            Value::Uint64(n) => self.number(n.to_le_bytes()),
            Value::Text(text) => self.text(text),
            Value::Array(of, items) => {
                self.array(alignment(of), |out| items.iter().for_each(|item| out.value(item)));
            }
            Value::Struct(fields) => {
                self.align(8);
                fields.iter().for_each(|field| self.value(field));
            }
            Value::Variant(value) => {
                self.signature(&value.signature());
                self.value(value);
            }
        }
    }
}

fn alignment(signature: &str) -> usize {
    match signature.as_bytes().first() {
        Some(b'y' | b'g' | b'v') => 1,
        Some(b'n' | b'q') => 2,
        Some(b'x' | b't' | b'(') => 8,
        _ => 4,
    }
}

/// A message that came in.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Message {
    pub kind: u8,
    /// Which call it answers; 0: none.
    pub reply_serial: u32,
    pub member: String,
    pub error: String,
    signature: String,
    body: Vec<u8>,
}

impl Message {
    /// How long the message is that begins so; `None`: too little is here to tell.
    ///
    /// # Errors
    /// It is none.
    pub fn length(bytes: &[u8]) -> Result<Option<usize>> {
        let Some(fixed) = bytes.get(..FIXED) else { return Ok(None) };
        ensure!(fixed[0] == LITTLE_ENDIAN && fixed[3] == VERSION, "what came is no message of D-Bus");
        let number = |at: usize| u32::from_le_bytes([fixed[at], fixed[at + 1], fixed[at + 2], fixed[at + 3]]) as usize;
        let length = (FIXED + number(12)).next_multiple_of(8) + number(4);
        ensure!(length <= MAX_MESSAGE, "a message of {length} bytes is longer than D-Bus allows");
        Ok(Some(length))
    }

    /// Reads one whole message.
    ///
    /// # Errors
    /// It is not as the specification says, or not of what systemd sends.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        let mut reader = Reader { bytes, at: 12 };
        let mut message = Self { kind: *bytes.get(1).context("a message is cut off")?, ..Self::default() };
        let end = reader.u32()? as usize + FIXED;
        while reader.at < end {
            reader.align(8)?;
            let code = reader.take(1)?[0];
            let kind = reader.signature()?;
            match (code, kind) {
                (MEMBER, "s") => message.member = reader.text()?.to_owned(),
                (ERROR_NAME, "s") => message.error = reader.text()?.to_owned(),
                (SIGNATURE, "g") => message.signature = reader.signature()?.to_owned(),
                (REPLY_SERIAL, "u") => message.reply_serial = reader.u32()?,
                (_, "s" | "o") => drop(reader.text()?),
                (_, "g") => drop(reader.signature()?),
                (_, "u") => drop(reader.u32()?),
                (_, other) => bail!("a message has a header field of type {other:?}"),
            }
        }
        reader.align(8)?;
        message.body = bytes.get(reader.at..).context("a message is cut off")?.to_vec();
        Ok(message)
    }

    /// The texts (and object paths) that the body begins with, after a number if it has one: an error's words, the path of
    /// a job, what is said of one.
    pub fn texts(&self) -> Result<Vec<&str>> {
        let mut reader = Reader { bytes: &self.body, at: 0 };
        let mut texts = Vec::new();
        for kind in self.signature.chars() {
            match kind {
                's' | 'o' => texts.push(reader.text()?),
                'u' => drop(reader.u32()?),
                _ => break,
            }
        }
        Ok(texts)
    }
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8]> {
        let taken = self.at.checked_add(count).and_then(|end| self.bytes.get(self.at..end));
        self.at += count;
        taken.context("a message is cut off")
    }

    fn align(&mut self, to: usize) -> Result<()> {
        self.take(self.at.next_multiple_of(to) - self.at).map(drop)
    }

    fn u32(&mut self) -> Result<u32> {
        self.align(4)?;
        let bytes = self.take(4)?;
        Ok(u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    }

    fn text(&mut self) -> Result<&'a str> {
        let length = self.u32()? as usize;
        self.terminated(length)
    }

    fn signature(&mut self) -> Result<&'a str> {
        let length = self.take(1)?[0].into();
        self.terminated(length)
    }

    fn terminated(&mut self, length: usize) -> Result<&'a str> {
        let text = std::str::from_utf8(self.take(length)?).context("a message has a text that is not UTF-8")?;
        ensure!(self.take(1)? == [0], "a message has a text without an end");
        Ok(text)
    }
}
