//! What an answer costs through the plugin's C interface, field by field, against a field of a bare SDK
//! plugin that reads one string from the threads table.
//!
//! First answers: a process that was not asked about before, whose executable has no verdict yet. `layers`
//! look-ups go to the layers' directories (the index is not built yet), `indexed` ones to memory; `unlisted`
//! ones are of executables on a mount that was made after the container was looked at, so that tables of
//! mounts are read. Cached answers: the same event again, a later event of the same thread, later events of
//! thousands of threads in turn. Absent: a thread of the host. Every call is timed by itself; the clock's own
//! cost is in every number, and reported.

#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing, clippy::print_stdout)]

mod common;

use common::abi::{drift, thread, Engine, Functions, Question};
use common::event::{exec, openat, openat_to_read, openat_to_write, Inode};
use common::image::{cgroup, Hosts, CONTAINER};
use common::report::{quick, Report};
use falco_plugin::base::Plugin;
use falco_plugin::event::events::RawEvent;
use falco_plugin::extract::{field, ExtractFieldInfo, ExtractPlugin, ExtractRequest};
use falco_plugin::static_plugin;
use falco_plugin::tables::import::{Entry, Field, Table, TableMetadata};
use falco_plugin::tables::TablesInput;
use std::ffi::{CStr, CString};
use std::sync::Arc;
use std::time::{Duration, Instant};

const LAYERS: usize = 20;

/// The rival: what the SDK's documentation shows, one field that reads one string.
struct Bare {
    threads: ThreadTable,
}

type ThreadTable = Table<i64, ThreadEntry>;
type ThreadEntry = Entry<Arc<ThreadMetadata>>;

#[derive(TableMetadata)]
#[entry_type(ThreadEntry)]
struct ThreadMetadata {
    exe_path: Field<CStr, ThreadEntry>,
}

impl Plugin for Bare {
    const NAME: &'static CStr = c"bare";
    const PLUGIN_VERSION: &'static CStr = c"0.0.0";
    const DESCRIPTION: &'static CStr = c"one field";
    const CONTACT: &'static CStr = c"benchmarks";
    type ConfigType = ();

    fn new(input: Option<&TablesInput>, (): ()) -> Result<Self, anyhow::Error> {
        let input = input.ok_or_else(|| anyhow::anyhow!("no tables"))?;
        Ok(Self { threads: input.get_table(c"threads")? })
    }
}

impl Bare {
    fn path(&mut self, request: ExtractRequest<'_, '_, '_, '_, Self>) -> Result<CString, anyhow::Error> {
        let tid = request.event.event()?.metadata.tid;
        let entry = self.threads.get_entry(request.table_reader, &tid)?;
        Ok(entry.get_exe_path(request.table_reader)?.to_owned())
    }
}

impl ExtractPlugin for Bare {
    type Event<'a> = RawEvent<'a>;
    type ExtractContext = ();
    const EXTRACT_FIELDS: &'static [ExtractFieldInfo<Self>] = &[field("bare.path", &Self::path)];
}

static_plugin!(BARE = Bare);

fn bare() -> Functions {
    Functions {
        init: BARE.init.unwrap(),
        destroy: BARE.destroy.unwrap(),
        last_error: BARE.get_last_error.unwrap(),
        extract: BARE.__bindgen_anon_2.extract_fields.unwrap(),
        parse: None,
        set_async: None,
    }
}

fn time(call: impl FnOnce()) -> u64 {
    let start = Instant::now();
    call();
    start.elapsed().as_nanos() as u64
}

/// The host that first answers are asked on: see the top.
fn hosts(how: &str) -> Hosts {
    let host = Hosts::new(LAYERS);
    if how == "unlisted" {
        host.on_unlisted_mount()
    } else {
        host
    }
}

fn config(host: &Hosts) -> String {
    serde_json::json!({ "host_root": host.root(), "indexer": { "cpu_percent": 100 } }).to_string()
}

/// The fields, and the argument that each is asked with.
fn questions() -> Vec<(String, &'static str, u32, Option<&'static str>)> {
    let defs = drift::extract::FIELDS.iter().zip(0u32..);
    let mut all: Vec<_> = defs
        .map(|(def, id)| (def.name.trim_start_matches("drift.").into(), def.field_type.as_str(), id, None))
        .collect();
    if let Some((_, kind, id, _)) = all.iter().find(|(name, ..)| name == "image_has_file").cloned() {
        all.push(("image_has_file[/usr/bin/x0]".into(), kind, id, Some("/usr/bin/x0")));
    }
    all
}

struct Bench {
    report: Report,
    rounds: usize,
    firsts: usize,
}

impl Bench {
    /// The rival's median for a thread that is there, and for many threads in turn.
    fn rivals(&mut self) -> (f64, f64) {
        let mut engine = Engine::new(bare(), "");
        let many = 4096;
        for tid in 100..100 + many {
            engine.threads.put(tid, thread(tid, &cgroup(CONTAINER), "/usr/bin/x0", Inode::default()));
        }
        let mut question = Question::new(0, None);
        let event = openat(100);
        let mut times: Vec<u64> = (0..self.rounds).map(|_| time(|| {})).collect();
        self.report.times("extraction/clock", &mut times, None);
        let mut ask = |number| time(|| engine.ask(&mut question, &event, number));
        (0..self.rounds as u64 / 10).for_each(|n| _ = ask(n));
        let mut times: Vec<u64> = (0..self.rounds as u64).map(&mut ask).collect();
        let one = self.report.times("extraction/rival: bare SDK field", &mut times, None);
        let events: Vec<_> = (100..100 + many).map(openat).collect();
        let mut ask = |n: usize| time(|| engine.ask(&mut question, &events[n % many as usize], n as u64));
        let mut times: Vec<u64> = (0..self.rounds).map(&mut ask).collect();
        let turn =
            self.report.times("extraction/rival: bare SDK field, 4096 threads in turn", &mut times, None);
        (one, turn)
    }

    /// First answers: each of `firsts` new processes is asked one field. Each runs an executable of its own
    /// name.
    fn first(&mut self, how: &str, rival: f64) {
        let indexed = how != "layers";
        let questions = questions();
        let host = hosts(how);
        let inode = host.executables(self.firsts * questions.len());
        let mut engine = Engine::new(drift(), &config(&host));
        host.process(10, CONTAINER, 0);
        let warm = exec(10, &cgroup(CONTAINER), "/usr/bin/x0", &[], inode);
        if indexed {
            engine.background(true);
        }
        let start = Instant::now();
        engine.parse(&warm, 1);
        self.report.add(
            &format!("extraction/new container's exec, {LAYERS} layers, {how}"),
            start.elapsed().as_nanos() as f64 / 1000.0,
            "us",
            None,
        );
        if indexed {
            self.wait_until_ready(&engine, &warm);
        }
        for (i, (name, _, id, argument)) in questions.iter().enumerate() {
            let mut question = Question::new(*id, *argument);
            let mut times = Vec::new();
            for n in i * self.firsts..(i + 1) * self.firsts {
                let pid = 1000 + n as i64;
                host.process(pid, CONTAINER, n);
                let event = exec(pid, &cgroup(CONTAINER), &format!("/usr/bin/x{n}"), &[], inode);
                engine.parse(&event, pid as u64);
                times.push(time(|| engine.ask(&mut question, &event, pid as u64)));
            }
            self.report.times(&format!("extraction/first, {how}/{name}"), &mut times, Some(rival));
        }
        // A thread whose exec was not seen: everything comes from the table.
        for field in ["container_id", "binary_origin"] {
            let (_, _, id, _) = questions.iter().find(|(name, ..)| name == field).unwrap();
            let mut question = Question::new(*id, None);
            let mut times = Vec::new();
            for n in 0..self.firsts {
                let tid = 1_000_000 + (*id as usize * self.firsts + n) as i64;
                engine.threads.put(tid, thread(tid, &cgroup(CONTAINER), "/usr/bin/x0", inode));
                let event = openat(tid);
                times.push(time(|| engine.ask(&mut question, &event, tid as u64)));
            }
            self.report.times(
                &format!("extraction/first, thread from the table, {how}/{field}"),
                &mut times,
                Some(rival),
            );
        }
        engine.background(false);
    }

    fn wait_until_ready(&self, engine: &Engine, event: &[u8]) {
        let (_, kind, id, _) = questions().into_iter().find(|(name, ..)| name == "manifest_state").unwrap();
        let mut question = Question::new(id, None);
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let state = engine.text(&mut question, kind, event, 2);
            if state.as_deref() != Some("building") {
                assert_eq!(state.as_deref(), Some("ready"), "nothing is measured without an image");
                return;
            }
            assert!(Instant::now() < deadline, "layers are not indexed after 20 s");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Answers from memory, and absent ones.
    fn cached(&mut self, rival: (f64, f64)) {
        let host = Hosts::new(LAYERS);
        let inode = host.executables(1);
        let mut engine = Engine::new(drift(), &config(&host));
        engine.background(true);
        host.process(10, CONTAINER, 0);
        let started = exec(10, &cgroup(CONTAINER), "/usr/bin/x0", &[], inode);
        engine.parse(&started, 1);
        self.wait_until_ready(&engine, &started);
        let later = openat(10);
        let many = 4096;
        for tid in 100..100 + many {
            engine.threads.put(tid, thread(10, &cgroup(CONTAINER), "/usr/bin/x0", inode));
        }
        engine.threads.put(99, thread(99, "/system.slice/sshd.service", "/usr/sbin/sshd", Inode::default()));
        let host_event = openat(99);
        let events: Vec<_> = (100..100 + many).map(openat).collect();
        for (name, kind, id, argument) in questions() {
            let mut question = Question::new(id, argument);
            let answer = engine.text(&mut question, kind, &started, 3);
            let rounds = self.rounds as u64;
            let cases: [(&str, &[u8], bool); 3] = [
                ("cached, same event", &started, false),
                ("cached, later event", &later, true),
                ("absent, host thread", &host_event, true),
            ];
            for (what, event, moving) in cases {
                let mut ask = |n: u64| {
                    let number = if moving { 100 + n } else { 5 };
                    time(|| engine.ask(&mut question, event, number))
                };
                (0..rounds / 10).for_each(|n| _ = ask(n));
                let mut times: Vec<u64> = (0..rounds).map(&mut ask).collect();
                self.report.times(&format!("extraction/{what}/{name}"), &mut times, Some(rival.0));
            }
            let mut ask = |n: usize| time(|| engine.ask(&mut question, &events[n % many as usize], n as u64));
            (0..many as usize).for_each(|n| _ = ask(n));
            let mut times: Vec<u64> = (0..self.rounds).map(&mut ask).collect();
            self.report.times(
                &format!("extraction/cached, 4096 threads in turn/{name}"),
                &mut times,
                Some(rival.1),
            );
            if name == "binary_origin" {
                assert_eq!(answer.as_deref(), Some("image"), "nothing is measured without an answer");
            }
            println!("# {name} = {}", answer.as_deref().unwrap_or("<NA>"));
        }
        engine.background(false);
    }

    /// What each file that is opened for writing costs the event thread: the path is found, the writer
    /// remembered, and the background told, while the event is parsed. Of one file again and again, and of a
    /// new one each time.
    fn writes(&mut self, rival: f64) {
        let host = Hosts::new(LAYERS);
        let inode = host.executables(1);
        let mut engine = Engine::new(drift(), &config(&host));
        engine.background(true);
        host.process(10, CONTAINER, 0);
        let started = exec(10, &cgroup(CONTAINER), "/usr/bin/x0", &[], inode);
        engine.parse(&started, 1);
        self.wait_until_ready(&engine, &started);
        engine.threads.put(10, thread(10, &cgroup(CONTAINER), "/usr/bin/x0", inode));
        let (_, kind, id, _) = questions().into_iter().find(|(name, ..)| name == "file_change").unwrap();
        let mut question = Question::new(id, None);
        let first = openat_to_write(10, "/srv/file", 1);
        let answer = engine.text(&mut question, kind, &first, 2);
        assert_eq!(answer.as_deref(), Some("opened"), "nothing is measured without an answer");
        for (what, files) in [("the same file", 1), ("another file each time", u64::MAX)] {
            // Twenty thousand a second, in bursts: an engine takes what has come from the kernel's buffer,
            // and then waits.
            let mut times = Vec::new();
            for n in 0..self.rounds.min(20_000) as u64 {
                let file = n % files;
                let mut event = openat_to_write(10, &format!("/srv/data/file-{file}"), 100 + file);
                // Its time: another event than the one before.
                event[..8].copy_from_slice(&(common::event::NOW + n * 100_000).to_ne_bytes());
                times.push(time(|| engine.parse(&event, 1000 + n)));
                if n % 200 == 199 {
                    std::thread::sleep(Duration::from_millis(10));
                }
            }
            self.report.times(&format!("extraction/write, {what}/parsed"), &mut times, Some(rival));
        }
        engine.background(false);
    }

    /// What each file that is opened to read costs the event thread: of the image, which is passed over, and
    /// of a container's own layer, which may be code: again and again by one thread, and another each time.
    fn reads(&mut self, rival: f64) {
        let host = Hosts::new(LAYERS);
        let inode = host.executables(1);
        let mut engine = Engine::new(drift(), &config(&host));
        engine.background(true);
        host.process(10, CONTAINER, 0);
        let started = exec(10, &cgroup(CONTAINER), "/usr/bin/x0", &[], inode);
        engine.parse(&started, 1);
        self.wait_until_ready(&engine, &started);
        engine.threads.put(10, thread(10, &cgroup(CONTAINER), "/usr/bin/x0", inode));
        for (what, is_upper, ending, files) in [
            ("of the image", false, "php", u64::MAX),
            ("changed code, again", true, "php", 1),
            ("changed data, another each time", true, "txt", u64::MAX),
            ("changed code, another each time", true, "php", u64::MAX),
        ] {
            let mut times = Vec::new();
            for n in 0..self.rounds.min(20_000) as u64 {
                let file = n % files;
                let path = format!("/srv/data/file-{file}.{ending}");
                let mut event = openat_to_read(10, &path, 900_000 + file, is_upper);
                event[..8].copy_from_slice(&(common::event::NOW + n * 100_000).to_ne_bytes());
                // The engine's number is never one of those that are let through whatever they are.
                times.push(time(|| engine.parse(&event, 1000 + n * 16 + 1)));
                if n % 200 == 199 {
                    std::thread::sleep(Duration::from_millis(10));
                }
            }
            self.report.times(&format!("extraction/read, {what}/parsed"), &mut times, Some(rival));
        }
        engine.background(false);
    }
}

/// Asks for `answers` first answers and ends: what strace counts.
fn answer_only(answers: usize, how: &str) {
    const PREPARED: usize = 100;
    let indexed = how != "layers";
    let host = hosts(how);
    let inode = host.executables(PREPARED + 1);
    let engine = Engine::new(drift(), &config(&host));
    host.process(10, CONTAINER, 0);
    let warm = exec(10, &cgroup(CONTAINER), "/usr/bin/x0", &[], inode);
    let bench = Bench { report: Report::default(), rounds: 0, firsts: 0 };
    if indexed {
        engine.background(true);
    }
    engine.parse(&warm, 1);
    if indexed {
        bench.wait_until_ready(&engine, &warm);
        engine.background(false);
    }
    let (_, _, id, _) = questions().into_iter().find(|(name, ..)| name == "binary_origin").unwrap();
    let mut question = Question::new(id, None);
    (1..=PREPARED).for_each(|n| host.process(1000 + n as i64, CONTAINER, n));
    for n in 1..=answers {
        let pid = 1000 + n as i64;
        let event = exec(pid, &cgroup(CONTAINER), &format!("/usr/bin/x{n}"), &[], inode);
        engine.parse(&event, pid as u64);
        engine.ask(&mut question, &event, pid as u64);
    }
}

/// System calls of a first answer: strace's count of a run with answers, less that of a run without.
fn syscalls(report: &mut Report) {
    let count = |answers: usize, how: &str| -> Option<f64> {
        let out = tempfile::NamedTempFile::new().ok()?;
        let mut command = std::process::Command::new("strace");
        // Only the event thread: the indexer's walk is not part of an answer.
        command.args(["-c", "-o"]).arg(out.path()).arg(std::env::current_exe().ok()?);
        command.args(["--answers", &answers.to_string(), how]).stdout(std::process::Stdio::null());
        command.status().ok().filter(|s| s.success())?;
        let text = std::fs::read_to_string(out.path()).ok()?;
        let calls = |name: &str| -> f64 {
            let line = text.lines().find(|l| l.split_whitespace().last() == Some(name));
            line.and_then(|l| l.split_whitespace().nth(3)?.parse().ok()).unwrap_or(0.0)
        };
        // The wait for the index sleeps and asks as often as it takes: only what looks at files counts.
        let names = [
            "openat2",
            "openat",
            "open",
            "statx",
            "close",
            "fgetxattr",
            "getxattr",
            "readlink",
            "read",
            "pread64",
            "fstat",
            "getdents64",
        ];
        Some(names.iter().map(|n| calls(n)).sum())
    };
    for how in ["layers", "indexed", "unlisted"] {
        match (count(0, how), count(100, how)) {
            (Some(without), Some(with)) => {
                let name = format!("extraction/first, {how}/binary_origin, system calls");
                report.add(&name, (with - without) / 100.0, "calls", None);
            }
            _ => println!("# no strace here: system calls are not counted"),
        }
    }
}

/// Asks `times` times for what `what` says, and ends: what callgrind counts. A field's name: for the same
/// answer again; `write`: for another file that is opened for writing each time, as it is parsed; `bare`: the
/// rival's field.
fn ask_only(times: u64, what: &str) {
    let host = Hosts::new(LAYERS);
    let inode = host.executables(1);
    let plugin = if what == "bare" { bare() } else { drift() };
    let mut engine = Engine::new(plugin, &if what == "bare" { String::new() } else { config(&host) });
    host.process(10, CONTAINER, 0);
    engine.threads.put(10, thread(10, &cgroup(CONTAINER), "/usr/bin/x0", inode));
    let started = exec(10, &cgroup(CONTAINER), "/usr/bin/x0", &[], inode);
    if what == "bare" {
        let mut question = Question::new(0, None);
        (0..times).for_each(|n| engine.ask(&mut question, &openat(10), n));
        return;
    }
    let is_write = what == "write";
    engine.background(is_write);
    engine.parse(&started, 1);
    let field = if is_write { "file_change" } else { what };
    let (_, _, id, argument) = questions().into_iter().find(|(name, ..)| name == field).unwrap();
    let mut question = Question::new(id, argument);
    for n in 0..times {
        match is_write {
            true => {
                let mut event = openat_to_write(10, &format!("/srv/data/file-{n}"), 100 + n);
                event[..8].copy_from_slice(&(common::event::NOW + n * 100_000).to_ne_bytes());
                engine.parse(&event, 1000 + n);
            }
            false => engine.ask(&mut question, &started, 5),
        }
    }
    if is_write {
        engine.background(false);
    }
}

/// Instructions of an answer: callgrind's count of a run with many, less that of a run with few.
fn instructions(report: &mut Report) {
    const FEW: u64 = 100;
    const MANY: u64 = 1100;
    let each = |what: &str| {
        let function = if what == "write" { "parse" } else { "ask" };
        let count = |times: u64| common::callgrind::within(function, &["--ask", &times.to_string(), what]);
        Some((count(MANY)? - count(FEW)?) / (MANY - FEW) as f64)
    };
    let Some(rival) = each("bare") else {
        return println!("# no valgrind here: instructions are not counted");
    };
    report.add("extraction/instructions/rival: bare SDK field", rival, "instructions", None);
    for what in ["container_id", "binary_origin", "script_origin", "binary_work", "write"] {
        if let Some(count) = each(what) {
            let name = match what {
                "write" => "extraction/instructions/write, another file each time/parsed".to_owned(),
                field => format!("extraction/instructions/cached/{field}"),
            };
            report.add(&name, count, "instructions", Some(count / rival));
        }
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if let Some(at) = arguments.iter().position(|a| a == "--ask") {
        return ask_only(arguments[at + 1].parse().unwrap(), &arguments[at + 2]);
    }
    if let Some(at) = arguments.iter().position(|a| a == "--answers") {
        answer_only(arguments[at + 1].parse().unwrap(), &arguments[at + 2]);
        return;
    }
    let (rounds, firsts) = if quick() { (1_000, 5) } else { (100_000, 300) };
    let mut bench = Bench { report: Report::default(), rounds, firsts };
    let rival = bench.rivals();
    bench.cached(rival);
    bench.writes(rival.0);
    bench.reads(rival.0);
    for how in ["layers", "indexed", "unlisted"] {
        bench.first(how, rival.0);
    }
    syscalls(&mut bench.report);
    if !quick() {
        instructions(&mut bench.report);
    }
    bench.report.write();
}
