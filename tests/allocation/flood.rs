//! One container fills every table of the event thread; another's answers are as before, and the memory stays
//! within its bound.

use super::LIVE;
use crate::common::abi::{drift, thread, Engine, Question};
use crate::common::event::{openat_to_write, Inode};
use crate::common::image::Hosts;
use std::sync::atomic::Ordering;
use testkit::host::event::{event, Exec, ACCEPT4_6_X, OPENAT_2_X, UPPER};

/// The most that the tables of the event thread may take, bytes: docs/performance.md, "Memory".
const MOST: usize = 26 << 20;
/// More than any table has room for.
const FLOOD: i64 = 22_000;

const OTHER: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
const HOSTILE: &str = "fedcba9876543210fedcba9876543210fedcba9876543210fedcba9876543210";

fn group(container: &str) -> String {
    format!("/docker/{container}")
}

struct Asked(Engine, u64);

impl Asked {
    fn parse(&mut self, event: &[u8]) {
        self.1 += 1;
        self.0.parse(event, self.1);
    }

    fn ask(&mut self, name: &str, event: &[u8]) -> Option<String> {
        let full = format!("drift.{name}");
        let defs = (0u32..).zip(drift::extract::FIELDS);
        let (id, def) = defs.into_iter().find(|(_, def)| def.name == full).unwrap();
        let mut question = Question::new(id, None);
        self.0.text(&mut question, def.field_type.as_str(), event, self.1)
    }
}

fn accept(tid: i64, address: i64) -> Vec<u8> {
    let peer = u32::try_from(address).unwrap().to_be_bytes();
    let tuple = [&[2][..], &peer, &50_000u16.to_ne_bytes(), &[10, 0, 0, 2], &8080u16.to_ne_bytes()].concat();
    let none = 0u32.to_ne_bytes();
    event(ACCEPT4_6_X, tid, &[&5i64.to_ne_bytes(), &tuple, &[0], &none, &none, &none])
}

#[test]
fn one_container_that_fills_every_table_costs_no_others_answers() {
    let _alone = super::alone();
    let host = Hosts::new(3);
    host.executables(1);
    host.process(10, OTHER, 0);
    host.process(11, HOSTILE, 0);
    let config = serde_json::json!({ "host_root": host.root() });
    let mut engine = Asked(Engine::new(drift(), &config.to_string()), 0);
    let run = |tid, container: &str, path: &str, ino: i64| {
        let group = group(container);
        Exec { ino: ino as u64, ..Exec::new(tid, &group, path, UPPER, &["app", "--serve"]) }.bytes()
    };
    engine.0.threads.put(10, thread(10, &group(OTHER), "/srv/app", Inode::default()));
    engine.0.threads.put(11, thread(11, &group(HOSTILE), "/srv/app", Inode::default()));
    let started = run(10, OTHER, "/srv/app", 7);
    let opened = openat_to_write(10, "/srv/data", 8);
    let peer = accept(10, 0x0a01_0203);
    engine.parse(&started);
    assert_eq!(engine.ask("binary_runs", &started).as_deref(), Some("1"));
    engine.parse(&opened);
    assert_eq!(engine.ask("file_change", &opened).as_deref(), Some("opened"));
    engine.parse(&peer);
    assert_eq!(engine.ask("peer_new", &peer).as_deref(), Some("true"));

    let before = LIVE.load(Ordering::Relaxed);
    for n in 0..FLOOD {
        let tid = 100_000 + n;
        let exec = run(tid, HOSTILE, &format!("/tmp/{n:050}"), 100_000 + n);
        engine.parse(&exec);
        engine.ask("binary_runs", &exec);
        let write = openat_to_write(11, &format!("/srv/{n}"), (200_000 + n) as u64);
        engine.parse(&write);
        engine.ask("file_change", &write);
        let library = {
            let (fd, dir, zero) = (3i64.to_ne_bytes(), (-100i64).to_ne_bytes(), [0u8; 4]);
            let flags = (1u32 | 1 << 12).to_ne_bytes();
            let path = format!("/srv/{n}.so\0").into_bytes();
            let inode = (300_000 + n).to_ne_bytes();
            event(OPENAT_2_X, 11, &[&fd, &dir, &path, &flags, &zero, &zero, &inode])
        };
        engine.parse(&library);
        let peer = accept(11, 0x0b00_0000 + n);
        engine.parse(&peer);
        engine.ask("peer_new", &peer);
    }
    let grown = LIVE.load(Ordering::Relaxed).saturating_sub(before);
    println!("{:.1} MiB for {FLOOD} of each", grown as f64 / f64::from(1 << 20));
    assert!(grown <= MOST, "{grown} bytes");

    // The thread, its verdict and how often it ran; who wrote the file; its peer.
    engine.parse(&opened);
    assert_eq!(engine.ask("file_change", &opened).as_deref(), Some("opened"));
    let again = run(12, OTHER, "/srv/app", 7);
    engine.parse(&again);
    assert_eq!(engine.ask("binary_runs", &again).as_deref(), Some("2"), "the runs are counted on");
    assert_eq!(engine.ask("binary_origin", &again).as_deref(), Some("added"));
    let written = run(13, OTHER, "/srv/data", 8);
    engine.parse(&written);
    assert_eq!(engine.ask("binary_provenance", &written).as_deref(), Some("written"), "by whom is known");
    engine.parse(&peer);
    assert_eq!(engine.ask("peer_new", &peer).as_deref(), Some("false"), "the peer is known");
    // And the hostile one has its share still.
    let last = run(99, HOSTILE, &format!("/tmp/{:050}", FLOOD - 1), 100_000 + FLOOD - 1);
    engine.parse(&last);
    assert_eq!(engine.ask("binary_runs", &last).as_deref(), Some("2"));
}
