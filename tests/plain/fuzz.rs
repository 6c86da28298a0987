//! The fuzz targets with the stable compiler: all inputs that are kept in `fuzz/corpus/` and `fuzz/regressions/`, and
//! mutations of them. `cargo fuzz` looks for new ones (docs/security.md).

#[allow(dead_code)]
#[path = "../../fuzz/src/lib.rs"]
mod targets;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use targets::{Target, TARGETS};
use testkit::random::Random;

/// How long each target's mutations go on: half a second, or what DRIFT_FUZZ_SECONDS says.
fn time() -> Duration {
    let seconds = std::env::var("DRIFT_FUZZ_SECONDS").ok().map(|s| s.parse().expect("a number of seconds"));
    Duration::from_secs_f64(seconds.unwrap_or(0.5))
}

fn folder(kind: &str, target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz").join(kind).join(target)
}

fn inputs(kind: &str, target: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let Ok(entries) = std::fs::read_dir(folder(kind, target)) else { return Vec::new() };
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.into_iter().map(|path| (path.clone(), std::fs::read(path).unwrap())).collect()
}

/// Runs one input; what it fails with names the file that holds it.
fn run(target: &Target, bytes: &[u8], name: &str) {
    let outcome = std::panic::catch_unwind(|| (target.run)(bytes));
    if let Err(why) = outcome {
        let kept = std::env::temp_dir().join(format!("drift-fuzz-{}-crash", target.name));
        std::fs::write(&kept, bytes).unwrap();
        eprintln!("{} failed on {name}; the input is in {}", target.name, kept.display());
        std::panic::resume_unwind(why);
    }
}

#[test]
fn every_target_survives_what_was_found_for_it() {
    for target in TARGETS {
        let kept = inputs("corpus", target.name);
        assert!(!kept.is_empty(), "no corpus for {}", target.name);
        for (path, bytes) in kept.iter().chain(&inputs("regressions", target.name)) {
            run(target, bytes, &path.display().to_string());
        }
    }
}

#[test]
fn every_target_survives_mutations() {
    let threads: Vec<_> = TARGETS
        .iter()
        .map(|target| {
            std::thread::spawn(move || {
                let corpus: Vec<_> = inputs("corpus", target.name).into_iter().map(|(_, b)| b).collect();
                let mut random = Random(0x5eed);
                let end = Instant::now() + time();
                let mut rounds = 0u64;
                while rounds < 50 || Instant::now() < end {
                    let bytes = mutated(&corpus, &mut random);
                    run(target, &bytes, &format!("mutation {rounds}"));
                    rounds += 1;
                }
                (target.name, rounds)
            })
        })
        .collect();
    for thread in threads {
        let (name, rounds) = thread.join().unwrap_or_else(|why| std::panic::resume_unwind(why));
        println!("{name}: {rounds} mutations");
    }
}

#[test]
fn folders_and_programs_are_the_tables() {
    let mut names: Vec<&str> = TARGETS.iter().map(|t| t.name).collect();
    names.sort_unstable();
    let listed = |dir: PathBuf| {
        let mut found: Vec<String> = std::fs::read_dir(dir)
            .unwrap()
            .map(|e| e.unwrap().path().file_stem().unwrap().to_string_lossy().into_owned())
            .collect();
        found.sort();
        found
    };
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    assert_eq!(listed(fuzz.join("corpus")), names);
    assert_eq!(listed(fuzz.join("fuzz_targets")), names);
    let manifest = std::fs::read_to_string(fuzz.join("Cargo.toml")).unwrap();
    for name in names {
        assert!(manifest.contains(&format!("name = \"{name}\"\n")), "{name} is not in fuzz/Cargo.toml");
    }
}

/// An input of the corpus with some of it changed: bytes, lengths as numbers, cuts, repetitions, parts of another input.
fn mutated(corpus: &[Vec<u8>], random: &mut Random) -> Vec<u8> {
    const NUMBERS: [u64; 8] = [0, 1, 0x7f, 0xff, 0x7fff_ffff, 0xffff_ffff, 1 << 62, u64::MAX];
    let mut bytes = corpus[random.index(corpus.len())].clone();
    for _ in 0..=random.index(6) {
        let at = random.index(bytes.len());
        match random.index(7) {
            0 if !bytes.is_empty() => bytes[at] ^= 1 << random.index(8),
            1 if !bytes.is_empty() => bytes[at] = random.number() as u8,
            2 => {
                let number = NUMBERS[random.index(8)];
                let width = [1, 2, 4, 8][random.index(4)];
                let number = if random.index(2) == 0 { number.to_le_bytes() } else { number.to_be_bytes() };
                let number = if random.index(2) == 0 { &number[..width] } else { &number[8 - width..] };
                let end = (at + width).min(bytes.len());
                bytes.splice(at..end, number.iter().copied());
            }
            3 => bytes.truncate(at),
            4 => {
                let end = at + random.index(64).min(bytes.len() - at);
                let part = bytes[at..end].to_vec();
                bytes.splice(at..at, part);
            }
            5 => {
                let other = &corpus[random.index(corpus.len())];
                let from = random.index(other.len());
                let to = from + random.index(256).min(other.len() - from);
                bytes.splice(at..at, other[from..to].iter().copied());
            }
            _ => {
                let end = at + random.index(32).min(bytes.len() - at);
                bytes.drain(at..end);
            }
        }
    }
    bytes
}
