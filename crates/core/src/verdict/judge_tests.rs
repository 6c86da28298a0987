//! The floor: whatever is known of the image, no answer is weaker than what the kernel's flags say by
//! themselves.

use super::*;
use crate::image::index::IndexBuilder;
use crate::image::layer::Layer;
use drift_formats::entry::{Entry, LayerSink};
use std::sync::Arc;

const UPPER: ExeFlags = ExeFlags { upper: true, lower: false, memfd: false };
const LOWER: ExeFlags = ExeFlags { upper: false, lower: true, memfd: false };
const NEITHER: ExeFlags = ExeFlags { upper: false, lower: false, memfd: false };
const MEMFD: ExeFlags = ExeFlags { upper: false, lower: false, memfd: true };

/// A container that is not on this host, or gone.
fn container(image: Result<Image, String>) -> Container {
    Container {
        id: "c".into(),
        live: None,
        image,
        from_manifest: false,
        drifts: Arc::default(),
        installed: Arc::default(),
        declaration: Arc::default(),
    }
}

/// An image with one program.
fn image() -> Image {
    let mut layer = IndexBuilder::new(10);
    let path = ImagePath::from_archive(b"/usr/bin/tool").unwrap();
    let entry = Entry { kind: FileKind::Regular, mode: 0o755, size: 1, link: None, sha256: None };
    layer.entry(&path, entry).unwrap();
    Image::new(vec![Arc::new(Layer::indexed(None, layer.build()))])
}

fn judge(container: &Container, path: &str, flags: ExeFlags, flags_given: bool) -> Origin {
    let judge = Judge::new(Host::new(std::path::Path::new("/nowhere")), 1 << 20);
    let program = Program {
        pid: i64::from(i32::MAX),
        path: path.as_bytes(),
        flags,
        flags_given,
        inode: InodeId::default(),
        held: None,
    };
    judge.judge_program(container, program).0.origin
}

#[test]
fn the_kernels_flags_are_the_least_that_is_said() {
    use Origin::{Added, AddedOrModified, Image, ImageUnverified, Memfd, Unknown, Volume};
    let (tool, other) = ("/usr/bin/tool", "/tmp/x");
    // State of the image, path, flags, whether the kernel is known to give them.
    let rows: &[(&str, &str, ExeFlags, bool, Origin)] = &[
        ("known", tool, UPPER, true, ImageUnverified),
        ("known", tool, UPPER, false, ImageUnverified),
        ("known", tool, LOWER, true, Image),
        ("known", tool, NEITHER, true, Unknown),
        ("known", tool, NEITHER, false, Unknown),
        ("known", other, UPPER, true, Added),
        ("known", other, LOWER, true, Unknown),
        ("known", other, NEITHER, true, Unknown),
        ("known", other, NEITHER, false, Unknown),
        ("known", other, MEMFD, true, Memfd),
        ("unavailable", tool, UPPER, true, AddedOrModified),
        ("unavailable", tool, UPPER, false, AddedOrModified),
        ("unavailable", tool, LOWER, true, Image),
        ("unavailable", tool, NEITHER, true, Volume),
        ("unavailable", tool, NEITHER, false, Unknown),
        ("unavailable", "/usr/sbin/runc", NEITHER, true, Unknown),
        ("unavailable", "/usr/sbin/runc", UPPER, true, AddedOrModified),
        ("unavailable", "", UPPER, true, AddedOrModified),
        ("unavailable", "", NEITHER, true, Volume),
        ("unavailable", other, MEMFD, true, Memfd),
    ];
    for (state, path, flags, given, want) in rows {
        let container = container(match *state {
            "known" => Ok(image()),
            _ => Err("why".to_owned()),
        });
        let got = judge(&container, path, *flags, *given);
        assert_eq!(got, *want, "{state} {path:?} {flags:?} given: {given}");
        // What stock Falco's rule would alert on is drift, or open with a rule of its own.
        assert!(!flags.upper || got.is_drift() || got == ImageUnverified);
    }
}
