//! Small files that unpack to very much: an image or a manifest is refused at its bound, soon and without
//! taking memory. One test in a process of its own, because it measures the process's memory.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use drift_core::image::index::IndexBuilder;
use drift_core::image::oci;
use drift_formats::limits::Limits;
use drift_formats::{mtree, tar_layer};
use flate2::write::GzEncoder;
use flate2::Compression;
use sha2::{Digest, Sha256};
use std::io::{Read, Write};
use std::time::{Duration, Instant};

/// 64 MiB of one byte, packed: some hundred KiB.
fn packed(byte: u8) -> Vec<u8> {
    let mut out = GzEncoder::new(Vec::new(), Compression::fast());
    let piece = vec![byte; 1 << 20];
    (0..64).for_each(|_| out.write_all(&piece).unwrap());
    out.finish().unwrap()
}

fn peak_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:")).unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}

fn member(name: &str, content: &[u8]) -> Vec<u8> {
    let mut header = tar::Header::new_gnu();
    header.set_path(name).unwrap();
    header.set_size(content.len() as u64);
    header.set_mode(0o644);
    header.set_cksum();
    let mut out = header.as_bytes().to_vec();
    out.extend_from_slice(content);
    out.resize(out.len().next_multiple_of(512), 0);
    out
}

#[test]
fn what_unpacks_to_very_much_is_refused_at_its_bound() {
    let (lines, zeros) = (packed(b'a'), packed(0));
    assert!(lines.len() < 1 << 20 && zeros.len() < 1 << 20);
    let (before, started) = (peak_kib(), Instant::now());

    // A listing of one line without end.
    let refused = mtree::read(&lines[..], &Limits::default(), &mut IndexBuilder::new(1000));
    assert!(refused.unwrap_err().to_string().contains("line"));

    // An image whose layer is an empty archive with padding without end.
    let digest = |bytes: &[u8]| Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect::<String>();
    let config = serde_json::json!({
        "os": "linux", "architecture": oci::host_architecture(), "config": {},
        "rootfs": { "type": "layers", "diff_ids": [format!("sha256:{}", digest(b"x"))] },
    });
    let config = config.to_string();
    let manifest = serde_json::json!([{ "Config": "config.json", "RepoTags": [], "Layers": ["layer.tar"] }]);
    let mut archive = member("manifest.json", manifest.to_string().as_bytes());
    archive.extend(member("config.json", config.as_bytes()));
    archive.extend(member("layer.tar", &zeros));
    archive.extend([0; 1024]);
    let file = tempfile::NamedTempFile::new().unwrap();
    file.as_file().write_all(&archive).unwrap();
    let limits = Limits { max_unpacked: 4 << 20, ..Limits::default() };
    let image = oci::open(file.path(), &limits).unwrap();
    let refused = image.read_layer(0, &limits, &mut IndexBuilder::new(1000)).unwrap_err().to_string();
    assert!(refused.contains("unpacks to more than 4194304 bytes"), "{refused}");

    // A file in an archive that claims to be 8 EiB long: the largest number that a header can hold.
    let mut huge = member("huge", b"");
    huge[124..136].copy_from_slice(&[0x80, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]);
    let sum: u32 =
        huge[..148].iter().chain([b' '; 8].iter()).chain(&huge[156..512]).map(|b| u32::from(*b)).sum();
    huge[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    let endless = (&huge[..]).chain(std::io::repeat(0).take(1 << 20));
    assert!(tar_layer::read_tar(endless, &Limits::default(), &mut IndexBuilder::new(1000)).is_err());

    let (took, grown) = (started.elapsed(), peak_kib() - before);
    assert!(took < Duration::from_secs(30) && grown < 32 << 10, "{took:?}, {grown} KiB");
}
