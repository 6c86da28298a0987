//! Indexing image layers against `find -printf '%p %y\n'` on the same trees in the same run: wall time, CPU
//! time, and bytes of memory a file, owning packages included. Directory caches are warm for both. `find`
//! also starts a process for each layer, which is part of its numbers (about a millisecond each). `--large`
//! adds trees of 1.5 million files.

#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing, clippy::print_stdout)]
// wait4 waits for the children.
#![allow(clippy::zombie_processes)]

mod common;

use common::report::{median, quick, spread, target, Report};
use drift_core::image::cache::LayerCache;
use drift_core::image::disk::{index_dir, LayerDir, WalkLimits, XattrSpace};
use drift_core::image::layer::PathOwners;
use drift_core::packages::owners::Owners;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

/// Files of a directory, and directories of a package.
const SHAPE: (usize, usize) = (12, 10);

/// Makes `layers` directories that hold `files` paths together, shaped as Debian's /usr: a dozen files a
/// directory, three to six levels deep, one path in ten a link. Each package lies in one layer, and four of
/// five are in that layer's database of dpkg.
fn trees(root: &Path, files: usize, layers: usize) -> Vec<PathBuf> {
    let mut made = 0;
    let dirs: Vec<PathBuf> = (0..layers).map(|l| root.join(format!("layer{l}"))).collect();
    for package in 0.. {
        let layer = &dirs[package % layers];
        made += self::package(layer, package, files - made);
        if made >= files {
            break;
        }
    }
    dirs
}

/// Makes one package of at most `most` paths; how many it has.
fn package(layer: &Path, package: usize, most: usize) -> usize {
    let (mut made, mut list) = (0, String::from("/.\n/usr\n/usr/share\n"));
    'all: for n in 0..SHAPE.1 {
        let dir = format!("usr/share/group-{:03}/package-{package:05}/part{n}", package / 100);
        fs::create_dir_all(layer.join(&dir)).unwrap();
        list += &format!("/{dir}\n");
        made += 1;
        for f in 0..SHAPE.0 {
            if made >= most {
                break 'all;
            }
            let path = format!("{dir}/file-name-{f:02}.dat");
            match f % 10 {
                9 => symlink("file-name-00.dat", layer.join(&path)).unwrap(),
                _ => drop(fs::File::create(layer.join(&path)).unwrap()),
            }
            list += &format!("/{path}\n");
            made += 1;
        }
    }
    if package % 5 != 4 {
        let info = layer.join("var/lib/dpkg/info");
        fs::create_dir_all(&info).unwrap();
        fs::write(info.join(format!("package-{package:05}.list")), list).unwrap();
    }
    made
}

fn seconds(usage: &libc::rusage) -> f64 {
    let one = |t: libc::timeval| t.tv_sec as f64 + t.tv_usec as f64 / 1e6;
    one(usage.ru_utime) + one(usage.ru_stime)
}

fn own_cpu() -> f64 {
    // SAFETY: a plain C struct, filled by the kernel. Not getrusage, which counts the current slice at its
    // end only.
    let time = unsafe {
        let mut time = std::mem::zeroed::<libc::timespec>();
        assert_eq!(libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time), 0);
        time
    };
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

/// What indexing took and gave.
#[derive(Default)]
struct Indexed {
    wall: f64,
    cpu: f64,
    files: usize,
    bytes: usize,
}

fn timed(work: impl FnOnce(&mut Indexed)) -> Indexed {
    let (start, cpu, mut done) = (Instant::now(), own_cpu(), Indexed::default());
    work(&mut done);
    (done.wall, done.cpu) = (start.elapsed().as_secs_f64(), own_cpu() - cpu);
    done
}

fn index(layers: &[PathBuf]) -> Indexed {
    timed(|done| {
        for layer in layers {
            let dir = LayerDir::open(layer, XattrSpace::Trusted).unwrap();
            let index = index_dir(&dir, WalkLimits::default(), || true).unwrap();
            assert_eq!(index.partial(), None);
            done.files += index.len();
            done.bytes += index.bytes();
        }
    })
}

/// The databases of packages.
fn owners(layers: &[PathBuf]) -> Indexed {
    timed(|done| {
        for layer in layers {
            let dir = LayerDir::open(layer, XattrSpace::Trusted).unwrap();
            let owners = Owners::read(&dir, || true).unwrap();
            assert!(!owners.is_partial());
            done.bytes += owners.bytes();
        }
    })
}

/// As the indexer's thread does it: layers that are indexed already cost nothing.
fn image(cache: &LayerCache, layers: &[PathBuf]) -> Indexed {
    let before = cache.totals();
    let mut done = timed(|_| {
        for layer in layers {
            let layer = cache.layer(layer, XattrSpace::Trusted);
            layer.build_index(WalkLimits::default(), || true).unwrap();
            drift_core::packages::owners::build(&layer, || true);
        }
    });
    let after = cache.totals();
    (done.files, done.bytes) = ((after.files - before.files) as usize, (after.bytes - before.bytes) as usize);
    done
}

fn find(layers: &[PathBuf]) -> (f64, f64) {
    let start = Instant::now();
    let mut cpu = 0.0;
    for layer in layers {
        let mut command = Command::new("find");
        command.arg(layer).args(["-printf", "%p %y\\n"]).stdout(Stdio::null());
        let child = command.spawn().unwrap();
        // SAFETY: plain C structs, filled by the kernel; the child is ours and not waited for by anybody
        // else.
        unsafe {
            let (mut status, mut usage) = (0, std::mem::zeroed::<libc::rusage>());
            assert_eq!(libc::wait4(child.id() as i32, &mut status, 0, &mut usage), child.id() as i32);
            assert_eq!(status, 0);
            cpu += seconds(&usage);
        }
    }
    (start.elapsed().as_secs_f64(), cpu)
}

/// A second image that stands on all layers but the last of the first, and has as much of its own.
fn second_image(report: &mut Report, name: &str, dirs: &[PathBuf], files: usize) {
    let own = dirs[0].with_file_name("own");
    let mut made = 0;
    for n in 1_000_000.. {
        made += package(&own, n, files / dirs.len() - made);
        if made >= files / dirs.len() {
            break;
        }
    }
    let cache = LayerCache::new();
    image(&cache, dirs);
    let layers: Vec<PathBuf> = dirs[..dirs.len() - 1].iter().chain([&own]).cloned().collect();
    let second = image(&cache, &layers);
    let alone = image(&LayerCache::new(), &[own]);
    assert_eq!(
        (second.files, second.bytes),
        (alone.files, alone.bytes),
        "a second image costs its own layers"
    );
    let cpu = second.cpu * 1000.0;
    report.add(&format!("{name}/second image, CPU"), cpu, "ms", Some(second.cpu / alone.cpu));
    report.add(&format!("{name}/second image, memory"), second.bytes as f64 / 1024.0, "KiB", None);
}

fn main() {
    // A million and a half files are made and taken away three times for the largest.
    let large = std::env::args().any(|a| a == "--large");
    let sizes: &[usize] = match (quick(), large) {
        (true, _) => &[1_500],
        (false, false) => &[15_000, 150_000],
        (false, true) => &[15_000, 150_000, 1_500_000],
    };
    let mut report = Report::default();
    for layers in [1, 10, 60] {
        let mut smallest = 0.0;
        for files in sizes {
            // The largest takes its time, and varies less.
            let rounds = if quick() { 2 } else { 9.min(3 + 900_000 / files) };
            let work = tempfile::Builder::new().prefix("drift-bench-").tempdir_in(target()).unwrap();
            let dirs = trees(work.path(), *files, layers);
            find(&dirs);
            let (walked, owned) = (index(&dirs), owners(&dirs));
            let (mut ours, mut theirs) = (Vec::new(), Vec::new());
            for _ in 0..rounds {
                ours.push(index(&dirs));
                theirs.push(find(&dirs));
            }
            let name = format!("indexing/{files} files, {layers} layers");
            let walls: Vec<f64> = ours.iter().zip(&theirs).map(|(o, t)| o.wall / t.0).collect();
            let cpus: Vec<f64> = ours.iter().zip(&theirs).map(|(o, t)| o.cpu / t.1).collect();
            let cpu = median(&ours.iter().map(|o| o.cpu).collect::<Vec<_>>());
            let ms = |values: Vec<f64>| median(&values) * 1000.0;
            report.add(&format!("{name}/find, wall"), ms(theirs.iter().map(|t| t.0).collect()), "ms", None);
            let wall = ms(ours.iter().map(|o| o.wall).collect());
            report.add(&format!("{name}/wall"), wall, "ms", Some(median(&walls)));
            report.add(&format!("{name}/wall, highest ratio"), spread(&walls).1, "x", None);
            report.add(&format!("{name}/find, CPU"), ms(theirs.iter().map(|t| t.1).collect()), "ms", None);
            report.add(&format!("{name}/CPU"), cpu * 1000.0, "ms", Some(median(&cpus)));
            report.add(&format!("{name}/CPU, highest ratio"), spread(&cpus).1, "x", None);
            let each = walked.files as f64;
            if smallest == 0.0 {
                smallest = cpu / each;
            }
            report.add(&format!("{name}/CPU a file"), cpu / each * 1e9, "ns", Some(cpu / each / smallest));
            report.add(&format!("{name}/owners, CPU a file"), owned.cpu / each * 1e9, "ns", None);
            let bytes = walked.bytes + owned.bytes;
            report.add(&format!("{name}/memory a file, owners included"), bytes as f64 / each, "bytes", None);
            if layers > 1 {
                second_image(&mut report, &name, &dirs, *files);
            }
        }
    }
    report.write();
}
