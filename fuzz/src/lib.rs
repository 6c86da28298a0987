//! What fuzzing calls: one function for each family of parsers, and one for the C interface.
//!
//! cargo-fuzz runs them under a sanitizer (`bin/`), `cargo test --test plain fuzz::` replays what it has
//! found with the stable compiler. Each takes any bytes, and fails by a panic.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

pub mod declared;
pub mod files;
pub mod interface;
pub mod network;
pub mod packages;
pub mod tables;

/// One target.
pub struct Target {
    /// Its name: of the archive in `corpus/`, and of the program in `bin/`.
    pub name: &'static str,
    /// What it runs.
    pub run: fn(&[u8]),
}

/// All of them.
pub const TARGETS: &[Target] = &[
    Target { name: "approved", run: declared::approved },
    Target { name: "baselines", run: network::baselines },
    Target { name: "cgroup", run: tables::cgroup },
    Target { name: "command_line", run: packages::command_line },
    Target { name: "config", run: declared::config },
    Target { name: "database", run: declared::database },
    Target { name: "dns", run: network::dns },
    Target { name: "elf", run: files::elf },
    Target { name: "environment", run: declared::environment },
    Target { name: "event", run: tables::event },
    Target { name: "image", run: files::image },
    Target { name: "interface", run: interface::interface },
    Target { name: "interpreter", run: tables::interpreter },
    Target { name: "language_packages", run: packages::languages },
    Target { name: "mountinfo", run: tables::mountinfo },
    Target { name: "mtree", run: files::mtree },
    Target { name: "packages", run: packages::system },
    Target { name: "rpm", run: packages::rpm },
    Target { name: "state", run: declared::state },
    Target { name: "tar", run: files::tar },
];

/// Runs the target of that name.
pub fn run(name: &str, bytes: &[u8]) {
    let target = TARGETS.iter().find(|target| target.name == name);
    (target.expect("is in the list").run)(bytes);
}

/// The parts of an input that has several: they are separated by an empty line, and missing ones are empty.
fn parts<const N: usize>(bytes: &[u8]) -> [&[u8]; N] {
    let mut out = [&b""[..]; N];
    let mut rest = bytes;
    for (i, part) in out.iter_mut().enumerate() {
        match rest.windows(2).position(|w| w == b"\n\n").filter(|_| i + 1 < N) {
            Some(at) => (*part, rest) = (&rest[..at], &rest[at + 2..]),
            None => (*part, rest) = (rest, b""),
        }
    }
    out
}
