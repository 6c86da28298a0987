//! What drift costs inside the real engine: CPU time of libsinsp replaying `busy.scap`, many times over, with
//! no drift field, with rules on the engine's own fields, and with drift's.
//!
//! Runs are interleaved, so that whatever else the machine does falls on all of them alike; ratios are made
//! run by run within one round, and their median and spread reported. `net` times have the start taken off
//! (the same run on a capture of ten events: loading the plugin and the image's manifest).

#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing, clippy::print_stdout)]
// wait4 waits for the children.
#![allow(clippy::zombie_processes)]

mod common;

use common::report::{median, quick, spread, target, Report};
use drift::plugin::Drift;
use falco_plugin::async_event::AsyncEventPlugin;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use testkit::engine::Engine;

/// libscap's block type of an event (`scap_savefile.h`, `EV_BLOCK_TYPE_V2`).
const EVENT_V2: u32 = 0x216;

/// Writes the capture's head, and its first events (at most so many) so many times; each pass is later than
/// the one before. Nothing is kept in memory: a child's peak memory as the kernel counts it begins with its
/// parent's.
fn scaled(capture: &Path, most: usize, times: u64, to: &Path) -> usize {
    let mut out = std::io::BufWriter::new(std::fs::File::create(to).unwrap());
    let (mut first, mut last, mut events) = (u64::MAX, 0, 0);
    for pass in 0..times {
        let file = std::fs::File::open(capture).unwrap();
        let mut input = std::io::BufReader::new(flate2::read::MultiGzDecoder::new(file));
        // What the passes before took: the first one tells.
        let shift = pass * (last.max(first.wrapping_add(1)).wrapping_sub(first) + 1_000_000);
        let mut left = most;
        let mut block = vec![0u8; 8];
        while left > 0 && input.read_exact(&mut block[..8]).is_ok() {
            let number = |at: usize| u32::from_le_bytes(block[at..at + 4].try_into().unwrap());
            // Block: type, length, body, length; an event's body: cpu (2 bytes), then its header, the time
            // first.
            let (kind, len) = (number(0), number(4) as usize);
            block.resize(len.max(8), 0);
            input.read_exact(&mut block[8..len]).unwrap();
            if kind == EVENT_V2 {
                let time = u64::from_le_bytes(block[10..18].try_into().unwrap());
                if pass == 0 {
                    (first, last) = (first.min(time), last.max(time));
                }
                block[10..18].copy_from_slice(&(time + shift).to_le_bytes());
                (events, left) = (events + 1, left - 1);
            }
            if kind == EVENT_V2 || pass == 0 {
                out.write_all(&block[..len]).unwrap();
            }
        }
    }
    out.flush().unwrap();
    events
}

/// User and system CPU time in seconds and peak memory in KiB of one replay.
fn run(engine: &Engine, config: Option<&Path>, capture: &Path, filter: &str) -> (f64, f64) {
    let command = engine.command();
    let mut child = Command::new(&command[0]);
    child.args(&command[1..]);
    if let Some(config) = config {
        child.arg("--plugin-config-file").arg(config);
    }
    // -d: the filter comes after parsing, as Falco's rules do.
    child.arg("-r").arg(capture).args(["-d", "-p", "%evt.num", filter]);
    child.env_remove("LD_LIBRARY_PATH").stdout(Stdio::null()).stderr(Stdio::null());
    let child = child.spawn().unwrap();
    // SAFETY: plain C structs, filled by the kernel; the child is ours and not waited for by anybody else.
    let (status, usage) = unsafe {
        let (mut status, mut usage) = (0, std::mem::zeroed::<libc::rusage>());
        assert_eq!(libc::wait4(child.id() as i32, &mut status, 0, &mut usage), child.id() as i32);
        (status, usage)
    };
    assert_eq!(status, 0, "replay with {filter:?} failed");
    let seconds = |t: libc::timeval| t.tv_sec as f64 + t.tv_usec as f64 / 1e6;
    (seconds(usage.ru_utime) + seconds(usage.ru_stime), usage.ru_maxrss as f64)
}

/// A condition with fields that every engine has in place of drift's, of the type that each is compared as.
fn with_core_fields(condition: &str) -> String {
    let mut parts = condition.split("drift.");
    let mut out = parts.next().unwrap().to_owned();
    for part in parts {
        let end = part
            .find(|c: char| !(c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_'))
            .unwrap_or(part.len());
        let rest = &part[end..];
        out.push_str(match () {
            () if rest.starts_with(" intersects") => "proc.aname",
            () if rest.starts_with(" = true") || rest.starts_with(" = false") => "proc.is_exe_upper_layer",
            () if rest.starts_with(" <") || rest.starts_with(" >") => "proc.duration",
            () => "proc.exepath",
        });
        out.push_str(rest);
    }
    // An engine without the plugin has not heard of its events.
    Drift::ASYNC_EVENTS.iter().fold(out, |text, event| text.replace(event, "container"))
}

struct Case {
    name: &'static str,
    plugin: bool,
    filter: String,
    cpu: Vec<f64>,
    memory: Vec<f64>,
    start: f64,
}

fn main() {
    let Some(captures) = testkit::shared_dir().map(|d| d.join("captures")) else {
        println!("engine: no captures beside the checkout (set DRIFT_SHARED); not measured");
        return;
    };
    let engine = Engine::sysdig().unwrap();
    let library = testkit::plugin_library().unwrap();
    let work = tempfile::Builder::new().prefix("drift-bench-").tempdir_in(target()).unwrap();
    let file = |name: &str| -> PathBuf { work.path().join(name) };
    std::fs::create_dir(file("nowhere")).unwrap();
    let manifest = captures.join("image.mtree.gz");
    let config = file("config.yaml");
    let text = format!(
        "plugins:\n  - name: drift\n    library_path: {}\n    init_config:\n      host_root: {}\n      \
         manifests:\n        \
         - path: {}\n          containers: [\"*\"]\nload_plugins: [drift]\n",
        library.display(),
        file("nowhere").display(),
        manifest.display()
    );
    std::fs::write(&config, text).unwrap();
    let rules = testkit::rules::load(&testkit::workspace_dir().join("rules/drift_rules.yaml")).unwrap();
    let pack: Vec<String> = rules
        .iter()
        .filter(|r| r.enabled && r.source == "syscall")
        .map(|r| format!("({})", r.filter))
        .collect();
    let spawned = "evt.type in (execve, execveat) and evt.rawres = 0";
    let plain = with_core_fields(&pack.join(" or "));
    let case = |name, plugin, filter: &str| Case {
        name,
        plugin,
        filter: filter.into(),
        cpu: Vec::new(),
        memory: Vec::new(),
        start: 0.0,
    };
    let mut cases = [
        case("a: no plugin", false, "evt.num = 0"),
        case("a2: plugin loaded, no drift field", true, "evt.num = 0"),
        case("b: plain rule on execs", false, &format!("{spawned} and proc.is_exe_upper_layer = true")),
        case("b2: core field on every event", false, "proc.name = nosuch and proc.is_exe_upper_layer = true"),
        case("b3: the rules pack with core fields for drift's", false, &plain),
        case("c: drift.container_id on every event", true, "drift.container_id = nosuch"),
        case("c2: drift.binary_origin on every event", true, "drift.binary_origin = nosuch"),
        case("d: the rules pack", true, &pack.join(" or ")),
    ];
    let (times, rounds) = if quick() { (1, 2) } else { (40, 9) };
    let (empty, busy) = (file("empty.scap"), file("busy.scap"));
    scaled(&captures.join("busy.scap"), 10, 1, &empty);
    let events = scaled(&captures.join("busy.scap"), usize::MAX, times, &busy);
    println!("# {}, {events} events, {rounds} rounds", engine.describe());
    for case in &mut cases {
        let starts: Vec<f64> =
            (0..3).map(|_| run(&engine, case.plugin.then_some(&*config), &empty, &case.filter).0).collect();
        case.start = median(&starts);
    }
    for round in 0..rounds {
        for i in 0..cases.len() {
            // Another order each round.
            let count = cases.len();
            let case = &mut cases[(i + round) % count];
            let (cpu, memory) = run(&engine, case.plugin.then_some(&*config), &busy, &case.filter);
            case.cpu.push(cpu);
            case.memory.push(memory);
        }
    }
    let mut report = Report::default();
    for case in &cases {
        let name = format!("engine/{}", case.name);
        let net: Vec<f64> = case.cpu.iter().map(|c| c - case.start).collect();
        let ratios: Vec<f64> =
            net.iter().zip(&cases[0].cpu).map(|(own, none)| own / (none - cases[0].start)).collect();
        let (low, high) = spread(&ratios);
        report.add(&format!("{name}/CPU"), median(&case.cpu), "s", None);
        report.add(&format!("{name}/CPU net of start"), median(&net), "s", Some(median(&ratios)));
        report.add(&format!("{name}/ratio, lowest"), low, "x", None);
        report.add(&format!("{name}/ratio, highest"), high, "x", None);
        let base = median(&cases[0].cpu) - cases[0].start;
        let each = (median(&net) - base) * 1e9 / events as f64;
        report.add(&format!("{name}/above a, each event"), each, "ns", None);
        report.add(&format!("{name}/peak memory"), median(&case.memory) / 1024.0, "MiB", None);
    }
    let net = |case: &Case| -> Vec<f64> { case.cpu.iter().map(|c| c - case.start).collect() };
    let find = |name: &str| cases.iter().find(|c| c.name.starts_with(name)).unwrap();
    let ratios: Vec<f64> = net(find("d:")).iter().zip(net(find("b3:"))).map(|(d, b)| d / b).collect();
    report.add("engine/the rules pack over the same with core fields", median(&ratios), "x", None);
    report.write();
}
