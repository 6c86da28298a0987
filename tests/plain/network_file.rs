//! The file of what was learned of the network is whole, whenever its writer is killed.

use drift_core::network::baseline::Peer;
use drift_core::network::learned::{Learned, LearnedPeer, MAX_PEERS};
use drift_core::network::store;
use drift_core::network::Direction;
use drift_formats::ports::Protocol;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

/// Set for the process that writes and is killed: the file's path.
const WRITER: &str = "DRIFT_TEST_WRITER";

fn learned(peers: u32) -> Learned {
    let mut learned = Learned::new(3600);
    for n in 0..peers {
        let address = std::net::Ipv4Addr::from(0x0a00_0000 + n).into();
        let peer =
            Peer { direction: Direction::Outbound, address, name: None, port: 443, protocol: Protocol::Tcp };
        learned.add("registry.example/app:1", LearnedPeer::of(&peer));
    }
    learned
}

/// Not a test of its own: the process that the test below kills.
#[test]
fn writes_until_it_is_killed() {
    let Ok(path) = std::env::var(WRITER) else { return };
    let both = [learned(MAX_PEERS as u32), learned(MAX_PEERS as u32 / 2)];
    for round in 0.. {
        store::save(Path::new(&path), &both[round % 2]).unwrap();
    }
}

/// Another one for each file that is put in place.
fn inode(path: &Path) -> Option<u64> {
    std::fs::metadata(path).ok().map(|file| file.ino())
}

#[test]
fn a_killed_writer_leaves_the_old_file_or_the_new_one() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("learned.yaml");
    let mut seen = [0; 2];
    for round in 0u64.. {
        let before = inode(&path);
        let mut writer = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "network_file::writes_until_it_is_killed"])
            .env(WRITER, &path)
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        // At work from here on: its first file has been put in place, and the next is being written.
        while inode(&path) == before {
            assert!(writer.try_wait().unwrap().is_none(), "the writer has ended");
            std::thread::sleep(Duration::from_millis(1));
        }
        std::thread::sleep(Duration::from_micros(round % 25 * 1_700));
        writer.kill().unwrap();
        writer.wait().unwrap();
        let whole = store::load_learned(&path, 3600).unwrap();
        match whole.peers() {
            MAX_PEERS => seen[0] += 1,
            n if n == MAX_PEERS / 2 => seen[1] += 1,
            n => panic!("{n} peers: neither the old nor the new file"),
        }
        if round >= 25 && seen[0] > 0 && seen[1] > 0 {
            return;
        }
        assert!(round < 500, "the writer was never killed at work: {seen:?}");
    }
}
