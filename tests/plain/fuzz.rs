//! The fuzz targets with the stable compiler: all inputs that are kept in the archives of `fuzz/corpus/`, and
//! mutations of them. `cargo fuzz` looks for new ones (docs/security.md).

#[allow(dead_code)]
#[path = "../../fuzz/src/lib.rs"]
mod targets;

use std::io::Read;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use targets::{Target, TARGETS};
use testkit::random::Random;

/// How long each target's mutations go on: half a second, or what DRIFT_FUZZ_SECONDS says.
fn time() -> Duration {
    let seconds = std::env::var("DRIFT_FUZZ_SECONDS").ok().map(|s| s.parse().expect("a number of seconds"));
    Duration::from_secs_f64(seconds.unwrap_or(0.5))
}

/// The kept inputs of a target, by name.
fn corpus(target: &str) -> Vec<(String, Vec<u8>)> {
    let path = fuzz().join("corpus").join(target).with_extension("tar");
    let file = std::fs::File::open(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let mut archive = tar::Archive::new(std::io::BufReader::new(file));
    let inputs = archive.entries().unwrap().map(|entry| {
        let mut entry = entry.unwrap();
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).unwrap();
        (entry.path().unwrap().display().to_string(), bytes)
    });
    let inputs: Vec<_> = inputs.collect();
    assert!(!inputs.is_empty(), "no corpus for {target}");
    inputs
}

fn fuzz() -> PathBuf {
    testkit::workspace_dir().join("fuzz")
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
        for (name, bytes) in corpus(target.name) {
            run(target, &bytes, &name);
        }
    }
}

#[test]
fn every_target_survives_mutations() {
    let threads: Vec<_> = TARGETS
        .iter()
        .map(|target| {
            std::thread::spawn(move || {
                let kept: Vec<_> = corpus(target.name).into_iter().map(|(_, b)| b).collect();
                let mut random = Random(0x5eed);
                let end = Instant::now() + time();
                let mut rounds = 0u64;
                while rounds < 50 || Instant::now() < end {
                    let bytes = mutated(&kept, &mut random);
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
fn archives_and_programs_are_the_tables() {
    let mut names: Vec<&str> = TARGETS.iter().map(|t| t.name).collect();
    names.sort_unstable();
    let listed = |dir: &str| {
        let mut found: Vec<String> = std::fs::read_dir(fuzz().join(dir))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.is_file())
            .map(|path| path.file_stem().unwrap().to_string_lossy().into_owned())
            .collect();
        found.sort();
        found
    };
    assert_eq!(listed("corpus"), names);
    assert_eq!(listed("src/bin"), names);
}

/// An input of the corpus with some of it changed: bytes, lengths as numbers, cuts, repetitions, parts of
/// another input.
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
