//! Hashing and comparing files, as the background does, against `sha256sum` and `cmp` on the same files in
//! turn. The files are in the page cache for both. The rivals start a process each, which is part of their
//! numbers (about a millisecond).

#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing, clippy::print_stdout)]

mod common;

use common::report::{median, quick, spread, target, Report};
use drift_core::verdict::compare::{same_content, sha256, Comparison};
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

fn timed(work: impl FnOnce()) -> f64 {
    let start = Instant::now();
    work();
    start.elapsed().as_secs_f64()
}

fn rival(program: &str, files: &[&Path]) -> f64 {
    timed(|| {
        let status = Command::new(program).args(files).stdout(Stdio::null()).status();
        assert!(status.unwrap().success(), "{program} failed");
    })
}

/// Content that does not compress and is the same each time.
fn fill(path: &Path, bytes: usize) {
    let mut out = std::io::BufWriter::new(File::create(path).unwrap());
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    for _ in 0..bytes / 8 {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        out.write_all(&state.to_ne_bytes()).unwrap();
    }
    out.flush().unwrap();
}

fn main() {
    let (bytes, rounds) = if quick() { (1 << 20, 2) } else { (256 << 20, 9) };
    let work = tempfile::Builder::new().prefix("drift-bench-").tempdir_in(target()).unwrap();
    let (a, b) = (work.path().join("a"), work.path().join("b"));
    fill(&a, bytes);
    fill(&b, bytes);
    let mut report = Report::default();
    let mut measure = |what: &str, ours: &dyn Fn(), theirs: &dyn Fn() -> f64| {
        ours();
        theirs();
        let pairs: Vec<(f64, f64)> = (0..rounds).map(|_| (timed(ours), theirs())).collect();
        let ratios: Vec<f64> = pairs.iter().map(|(o, t)| o / t).collect();
        let speed = |time: f64| bytes as f64 / time / f64::from(1 << 20);
        let name = format!("verification/{what}");
        let of = |pick: fn(&(f64, f64)) -> f64| median(&pairs.iter().map(pick).collect::<Vec<_>>());
        report.add(&format!("{name}/rival"), speed(of(|p| p.1)), "MiB/s", None);
        report.add(&name, speed(of(|p| p.0)), "MiB/s", Some(median(&ratios)));
        report.add(&format!("{name}/time, highest ratio"), spread(&ratios).1, "x", None);
    };
    measure(
        "hash, against sha256sum",
        &|| assert!(sha256(&mut File::open(&a).unwrap(), u64::MAX, || true).unwrap().is_some()),
        &|| rival("sha256sum", &[&a]),
    );
    measure(
        "compare, against cmp",
        &|| {
            let same =
                same_content(&mut File::open(&a).unwrap(), &mut File::open(&b).unwrap(), || true).unwrap();
            assert_eq!(same, Comparison::Same);
        },
        &|| rival("cmp", &[&a, &b]),
    );
    report.write();
}
