//! Indexing image layers against `find -printf '%p %y\n'` on the same trees in the same run: wall time, CPU time,
//! and bytes of memory a file. Directory caches are warm for both. `find` also starts a process for each layer,
//! which is part of its numbers (about a millisecond each).

#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing, clippy::print_stdout)]
// wait4 waits for the children.
#![allow(clippy::zombie_processes)]

mod common;

use common::report::{median, quick, spread, target, Report};
use drift::manifest::disk::{index_dir, LayerDir, WalkLimits, XattrSpace};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

/// Makes `layers` directories that hold `files` paths together, shaped as Debian's /usr: a dozen files a directory,
/// three to six levels deep, one path in ten a link.
fn trees(root: &Path, files: usize, layers: usize) -> Vec<PathBuf> {
    let mut made = 0;
    let dirs: Vec<PathBuf> = (0..layers).map(|l| root.join(format!("layer{l}"))).collect();
    'all: for n in 0.. {
        let layer = &dirs[n % layers];
        let dir = layer.join(format!("usr/share/package-{:03}/component{:02}/part{n}", n / 100, n / 10 % 10));
        fs::create_dir_all(&dir).unwrap();
        made += 1;
        for f in 0..12 {
            if made >= files {
                break 'all;
            }
            let path = dir.join(format!("file-name-{f:02}.dat"));
            match f % 10 {
                9 => symlink("file-name-00.dat", path).unwrap(),
                _ => drop(fs::File::create(path).unwrap()),
            }
            made += 1;
        }
    }
    dirs
}

fn seconds(usage: &libc::rusage) -> f64 {
    let one = |t: libc::timeval| t.tv_sec as f64 + t.tv_usec as f64 / 1e6;
    one(usage.ru_utime) + one(usage.ru_stime)
}

fn own_cpu() -> f64 {
    // SAFETY: a plain C struct, filled by the kernel.
    unsafe {
        let mut usage = std::mem::zeroed::<libc::rusage>();
        assert_eq!(libc::getrusage(libc::RUSAGE_THREAD, &mut usage), 0);
        seconds(&usage)
    }
}

/// Wall and CPU seconds, files and bytes.
fn index(layers: &[PathBuf]) -> (f64, f64, usize, usize) {
    let (start, cpu) = (Instant::now(), own_cpu());
    let (mut files, mut bytes) = (0, 0);
    for layer in layers {
        let dir = LayerDir::open(layer, XattrSpace::Trusted).unwrap();
        let index = index_dir(&dir, WalkLimits::default(), || true).unwrap();
        assert_eq!(index.partial(), None);
        files += index.len();
        bytes += index.bytes();
    }
    (start.elapsed().as_secs_f64(), own_cpu() - cpu, files, bytes)
}

fn find(layers: &[PathBuf]) -> (f64, f64) {
    let start = Instant::now();
    let mut cpu = 0.0;
    for layer in layers {
        let mut command = Command::new("find");
        command.arg(layer).args(["-printf", "%p %y\\n"]).stdout(Stdio::null());
        let child = command.spawn().unwrap();
        // SAFETY: plain C structs, filled by the kernel; the child is ours and not waited for by anybody else.
        unsafe {
            let (mut status, mut usage) = (0, std::mem::zeroed::<libc::rusage>());
            assert_eq!(libc::wait4(child.id() as i32, &mut status, 0, &mut usage), child.id() as i32);
            assert_eq!(status, 0);
            cpu += seconds(&usage);
        }
    }
    (start.elapsed().as_secs_f64(), cpu)
}

fn main() {
    let sizes: &[usize] = if quick() { &[1_500] } else { &[15_000, 150_000, 1_500_000] };
    let mut report = Report::default();
    for files in sizes {
        // The largest takes its time, and varies less.
        let rounds = if quick() { 2 } else { 9.min(3 + 900_000 / files) };
        for layers in [1, 10, 60] {
            let work = tempfile::Builder::new().prefix("drift-bench-").tempdir_in(target()).unwrap();
            let dirs = trees(work.path(), *files, layers);
            find(&dirs);
            let (_, _, found, bytes) = index(&dirs);
            let (mut ours, mut theirs) = (Vec::new(), Vec::new());
            for _ in 0..rounds {
                ours.push(index(&dirs));
                theirs.push(find(&dirs));
            }
            let name = format!("indexing/{files} files, {layers} layers");
            let walls: Vec<f64> = ours.iter().zip(&theirs).map(|(o, t)| o.0 / t.0).collect();
            let cpus: Vec<f64> = ours.iter().zip(&theirs).map(|(o, t)| o.1 / t.1).collect();
            let ms = |values: Vec<f64>| median(&values) * 1000.0;
            report.add(&format!("{name}/find, wall"), ms(theirs.iter().map(|t| t.0).collect()), "ms", None);
            report.add(
                &format!("{name}/wall"),
                ms(ours.iter().map(|o| o.0).collect()),
                "ms",
                Some(median(&walls)),
            );
            report.add(&format!("{name}/wall, highest ratio"), spread(&walls).1, "x", None);
            report.add(&format!("{name}/find, CPU"), ms(theirs.iter().map(|t| t.1).collect()), "ms", None);
            report.add(
                &format!("{name}/CPU"),
                ms(ours.iter().map(|o| o.1).collect()),
                "ms",
                Some(median(&cpus)),
            );
            report.add(&format!("{name}/CPU, highest ratio"), spread(&cpus).1, "x", None);
            report.add(&format!("{name}/memory a file"), bytes as f64 / found as f64, "bytes", None);
        }
    }
    report.write();
}
