//! Events that no kernel sends: whatever their bytes, the library answers or declines, and nothing breaks.

use testkit::host;
use testkit::host::event::{raw, Exec, ASYNCEVENT_E, EXECVEAT_X, EXECVE_19_X, LOWER};
use testkit::host::threads::{self, Thread};
use testkit::host::Host;
use testkit::random::Random;

const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
const TID: i64 = 5_000_000;

/// Every field with every kind of argument it may have.
fn questions() -> Vec<String> {
    let schema = host::library::text(host::library::api().__bindgen_anon_2.get_fields);
    let schema: serde_json::Value = serde_json::from_str(&schema).unwrap();
    let mut questions = Vec::new();
    for field in schema.as_array().unwrap() {
        let name = field["name"].as_str().unwrap().strip_prefix("drift.").unwrap();
        if field["arg"]["isRequired"] != true {
            questions.push(name.to_owned());
        }
        if field["arg"]["isKey"] == true {
            let long = format!("/{}", "a/".repeat(5000));
            for argument in ["", "/", "..", "/../../../bin/bash", "//usr//bin/./bash", "\u{1}\u{fffd}", &long]
            {
                questions.push(format!("{name}[{argument}]"));
            }
        }
    }
    questions
}

/// Payloads for one code, with the number of parameters that the header claims.
fn payloads(code: u16, random: &mut Random) -> Vec<(u32, Vec<u8>)> {
    let width: usize = if code == ASYNCEVENT_E { 4 } else { 2 };
    let mut out = vec![
        (0, Vec::new()),
        (1, Vec::new()),
        (u32::MAX, random.bytes(64)),
        (u32::MAX / 4 + 1, random.bytes(64)),
        (random.number() as u32, random.bytes(600)),
        (random.below(40) as u32, random.bytes(600)),
        // Lengths that reach far beyond the end.
        (31, [vec![0xff; 31 * width], random.bytes(100)].concat()),
    ];
    // True lengths, and anything in the parameters; the first, a result, is sometimes success.
    for zero in [true, false] {
        let mut params: Vec<Vec<u8>> = (0..31).map(|_| random.bytes(40)).collect();
        params[0] = if zero { vec![0; 8] } else { random.bytes(9) };
        for wide in [3, 4, 5, 19, 23, 24, 25] {
            params[wide] = random.number().to_ne_bytes()[..if wide == 19 { 4 } else { 8 }].to_vec();
        }
        if code == ASYNCEVENT_E {
            params[1] = if zero { b"drift_binary\0".to_vec() } else { b"container\0".to_vec() };
        }
        let lengths = params.iter().flat_map(|p| (p.len() as u64).to_ne_bytes()[..width].to_vec());
        out.push((31, lengths.chain(params.concat()).collect()));
    }
    out
}

fn start() -> (Host, tempfile::TempDir) {
    let dir = host::no_host();
    let manifest = host::manifest(dir.path());
    let host = Host::start(&host::config(dir.path(), &manifest, "0123*"));
    for (tid, cgroup) in
        (TID..).zip([format!("/docker/{ID}"), format!("/docker/{}", "e".repeat(64)), "/".into()])
    {
        let mut thread = Thread::new(tid, &cgroup, "/usr/bin/python3", &["python3", "/app/run.py"]);
        thread.lower = true;
        threads::set(tid, thread);
    }
    (host, dir)
}

#[test]
fn any_bytes_under_any_code() {
    let (mut host, _dir) = start();
    let questions = questions();
    let mut random = Random(1);
    for code in 0..=450 {
        for (nparams, payload) in payloads(code, &mut random) {
            let tid = match random.below(5) {
                n @ 0..3 => TID + n as i64,
                3 => -1,
                _ => random.number() as i64,
            };
            let event = host.feed(raw(code, tid, nparams, &payload));
            // Keeps the time short: each code still sees every field, several times.
            let from = random.below(3) as usize;
            for question in questions.iter().skip(from).step_by(3) {
                let answer = host.ask(&event, question);
                assert_eq!(answer, host.ask(&event, question), "code {code}: {question} asked again");
            }
        }
    }
    assert_eq!(host.metric("panics_caught"), 0);
}

#[test]
fn exec_events_cut_anywhere() {
    let (mut host, _dir) = start();
    let questions = questions();
    let cgroup = format!("/docker/{ID}");
    let argv = ["python3", "/app/run.py", "x"];
    for code in [EXECVE_19_X, EXECVEAT_X] {
        let whole = Exec { code, ..Exec::new(TID, &cgroup, "/usr/bin/python3", LOWER, &argv) }.bytes();
        for len in 26..whole.len() {
            let mut cut = whole[..len].to_vec();
            cut[16..20].copy_from_slice(&(len as u32).to_ne_bytes());
            let event = host.feed(cut);
            for question in &questions {
                host.ask(&event, question);
            }
        }
        let mut flipped = Random(2);
        for _ in 0..500 {
            let mut bytes = whole.clone();
            let at = 22 + flipped.below(whole.len() as u64 - 22) as usize;
            bytes[at] ^= 1 << flipped.below(8);
            let event = host.feed(bytes);
            for question in &questions {
                host.ask(&event, question);
            }
        }
    }
    assert_eq!(host.metric("panics_caught"), 0);
}
