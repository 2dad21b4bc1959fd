//! Running a program of the host to its end for what it prints.

use std::fs::File;
use std::io::{Read, Result, Seek};
use std::process::{Command, Output, Stdio};

use nix::sys::memfd::{MFdFlags, memfd_create};

/// As [`Command::output`], which panics where its pipes cannot be read.
pub fn output(command: &mut Command) -> Result<Output> {
    // Files take everything, so that there is nothing to do until the program has ended.
    let file = || -> Result<File> { Ok(File::from(memfd_create(c"output", MFdFlags::MFD_CLOEXEC)?)) };
    let (stdout, stderr) = (file()?, file()?);
    command.stdin(Stdio::null()).stdout(stdout.try_clone()?).stderr(stderr.try_clone()?);
    let status = command.status()?;
    let content = |mut file: File| {
        let mut text = Vec::new();
        file.rewind().and_then(|()| file.read_to_end(&mut text)).map(|_| text)
    };
    Ok(Output { status, stdout: content(stdout)?, stderr: content(stderr)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_streams_and_the_status_are_there() {
        let output = output(Command::new("sh").args(["-c", "echo out; echo err >&2; exit 3"])).unwrap();
        assert_eq!((output.stdout, output.stderr), (b"out\n".to_vec(), b"err\n".to_vec()));
        assert_eq!(output.status.code(), Some(3));
    }
}
