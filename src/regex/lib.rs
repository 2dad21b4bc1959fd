//! Not a module of oarlock, but what its dependencies get as the crate `regex` (Cargo.toml, `[patch.crates-io]`): the same
//! authors' `regex-lite`, which has the same interface and neither Unicode tables nor several engines, a quarter of the
//! binary before. One pattern is ever matched, and all of it is ASCII.

pub use regex_lite::*;
