//! Where the program begins: before libc, see src/sys/early.rs, and how libc does, see src/sys/libc_start.rs. And what lies
//! side by side in it.

use std::path::{Path, PathBuf};
use std::process::Command;

/// How a glibc names itself whose beginning src/sys/libc_start.rs can take the place of.
const KNOWN_LIBC: &[u8] = b"stable release version 2.36.\n";

/// Names of functions, one a line: hack/order.
const SYMBOLS: &str = "hack/order.d/symbols";

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-check-cfg=cfg(known_libc)");
    let is = |variable: &str, value: &str| std::env::var(variable).is_ok_and(|found| found == value);
    let fuzzing = std::env::var_os("CARGO_CFG_FUZZING").is_some();
    if is("CARGO_CFG_TARGET_ARCH", "x86_64") && !fuzzing {
        println!("cargo::rustc-link-arg-bins=-Wl,--entry=oarlock_start");
        if is("PROFILE", "release") {
            order();
        }
        // What is looked at below is what the host's compiler links.
        let native = std::env::var("HOST") == std::env::var("TARGET");
        // Whoever wants the program at fixed addresses says so, and it has to be relocated in another way then.
        let fixed = std::env::var("CARGO_ENCODED_RUSTFLAGS").is_ok_and(|flags| flags.contains("relocation-model"));
        if native && !fixed && is("CARGO_CFG_TARGET_ENV", "gnu") && known_libc() {
            println!("cargo::rustc-cfg=known_libc");
        }
    }
}

/// Has the linker put what the verbs execute side by side, if it can be told to: rustc's own, LLVM's, can.
fn order() {
    println!("cargo::rerun-if-changed={SYMBOLS}");
    let flag = format!(
        "-Wl,--symbol-ordering-file={},--no-warn-symbol-ordering",
        Path::new(SYMBOLS).canonicalize().unwrap().display()
    );
    if linker_takes(&flag) {
        println!("cargo::rustc-link-arg-bins={flag}");
    }
}

/// Links a program that does nothing as the real one will be, but for `flag`. Linkers refuse what they do not know.
fn linker_takes(flag: &str) -> bool {
    let variable = |name| std::env::var(name).unwrap_or_default();
    let directory = PathBuf::from(variable("OUT_DIR"));
    let source = directory.join("nothing.rs");
    let mut rustc = Command::new(variable("RUSTC"));
    rustc.args(["--target", &variable("TARGET"), "-C", &format!("link-arg={flag}"), "-o"]);
    rustc.arg(directory.join("nothing")).arg(&source);
    rustc.args(variable("CARGO_ENCODED_RUSTFLAGS").split('\x1f').filter(|flag| !flag.is_empty()));
    if let Ok(linker) = std::env::var("RUSTC_LINKER") {
        rustc.args(["-C", &format!("linker={linker}")]);
    }
    std::fs::write(&source, "fn main() {}\n").is_ok() && rustc.output().is_ok_and(|linked| linked.status.success())
}

/// Whether the libc.a that will be linked is the one that is known. If it cannot be told, it is not.
fn known_libc() -> bool {
    let Ok(printed) = Command::new("cc").arg("-print-file-name=libc.a").output() else { return false };
    let path = PathBuf::from(String::from_utf8_lossy(&printed.stdout).trim());
    println!("cargo::rerun-if-changed={}", path.display());
    std::fs::read(&path).is_ok_and(|archive| archive.windows(KNOWN_LIBC.len()).any(|bytes| bytes == KNOWN_LIBC))
}
