use super::*;
use proptest::prelude::*;
use std::collections::HashMap;

fn table(text: &str) -> MountTable {
    MountTable::parse(text.as_bytes())
}

#[test]
fn reads_the_line_of_the_manual() {
    // The example of proc_pid_mountinfo(5).
    let t = table("36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue\n");
    let m = t.by_id(36).expect("the line is good");
    assert_eq!((m.id, m.parent, m.dev), (36, 35, (98, 0)));
    assert_eq!((m.root.as_slice(), m.mount_point.as_slice()), (&b"/mnt1"[..], &b"/mnt2"[..]));
    assert_eq!((m.fstype.as_slice(), m.source.as_slice()), (&b"ext3"[..], &b"/dev/root"[..]));
    assert_eq!(m.super_options, b"rw,errors=continue");
    assert!(!m.read_only && !m.super_read_only);
    assert_eq!((t.len(), t.bad_lines(), t.is_cut()), (1, 0, false));
}

#[test]
fn read_only_of_the_mount_and_of_the_file_system_are_apart() {
    let cases = [
        ("ro,nosuid", "rw", true, false),
        ("rw", "ro,seclabel", false, true),
        ("nosuid,ro", "rw,errors=remount-ro", true, false),
        ("relatime", "rw,ro_compat", false, false),
    ];
    for (mount, fs, want_mount, want_fs) in cases {
        let t = table(&format!("1 0 0:1 / / {mount} - ext4 /dev/a {fs}\n"));
        let m = t.root().expect("root");
        assert_eq!((m.read_only, m.super_read_only), (want_mount, want_fs), "{mount} {fs}");
    }
}

#[test]
fn optional_fields_may_be_none_or_many() {
    for optional in ["", "shared:1 ", "shared:1 master:2 propagate_from:3 ", "unbindable "] {
        let t = table(&format!("5 1 0:1 / /x rw {optional}- tmpfs tmpfs rw\n"));
        assert_eq!(t.by_id(5).map(|m| m.fstype.clone()), Some(b"tmpfs".to_vec()), "{optional}");
    }
}

#[test]
fn an_empty_source_is_two_spaces() {
    // Printed by Linux 6.18 for `mount -t tmpfs "" /mnt/x`.
    let t = table("67 66 0:42 / /mnt/x rw,relatime - tmpfs  rw\n");
    let m = t.by_id(67).expect("the line is good");
    assert_eq!((m.source.as_slice(), m.super_options.as_slice()), (&b""[..], &b"rw"[..]));
}

#[test]
fn escapes_are_decoded_once() {
    let cases: [(&[u8], &[u8]); 9] = [
        (b"/a\\040b", b"/a b"),
        (b"/a\\011b\\012c", b"/a\tb\nc"),
        (b"/a\\134b", b"/a\\b"),
        (b"/a\\043b", b"/a#b"),
        (b"/a\\134040", b"/a\\040"),
        (b"/a\\04", b"/a\\04"),
        (b"/a\\", b"/a\\"),
        (b"/a\\400", b"/a\\400"),
        (b"/\\303\\251", b"/\xc3\xa9"),
    ];
    for (raw, want) in cases {
        assert_eq!(unescape_octal(raw), want, "{}", String::from_utf8_lossy(raw));
    }
}

#[test]
fn escapes_are_decoded_in_paths_type_and_source_but_not_in_the_options() {
    let t = table("1 0 0:1 /r\\040 /m\\011 rw - fuse.a\\043 s\\134 rw,lowerdir=/a\\054b\n");
    let m = t.by_id(1).expect("the line is good");
    assert_eq!(m.root, b"/r ");
    assert_eq!(m.mount_point, b"/m\t");
    assert_eq!(m.fstype, b"fuse.a#");
    assert_eq!(m.source, b"s\\");
    assert_eq!(m.super_options, b"rw,lowerdir=/a\\054b");
}

#[test]
fn bad_lines_are_left_out_and_counted() {
    let bad = [
        "garbage",
        "x 0 0:1 / / rw - ext4 a rw",
        "-1 0 0:1 / / rw - ext4 a rw",
        "+1 0 0:1 / / rw - ext4 a rw",
        "1 0 0 / / rw - ext4 a rw",
        "1 0 0:4294967296 / / rw - ext4 a rw",
        "1 0 0:1 / / rw shared:1 ext4 a rw",
        "1 0 0:1 / / rw - ext4",
        "1 0 0:1 / relative rw - ext4 a rw",
        "99999999999999999999 0 0:1 / / rw - ext4 a rw",
    ];
    for line in bad {
        let t = table(&format!("{line}\n7 1 0:1 / /ok rw - ext4 a rw\n"));
        assert_eq!((t.len(), t.bad_lines()), (1, 1), "{line}");
        assert!(t.by_id(7).is_some());
    }
    let twice = table("7 1 0:1 / /a rw - ext4 a rw\n7 1 0:1 / /b rw - ext4 a rw\n");
    assert_eq!((twice.len(), twice.bad_lines()), (1, 1));
}

#[test]
fn an_empty_table_has_nothing() {
    let t = table("");
    assert!(t.is_empty() && t.root().is_none() && t.covering(b"/").is_none());
}

const CONTAINER: &str = "\
600 500 0:52 / / rw,relatime - overlay overlay rw,lowerdir=/l,upperdir=/u,workdir=/w
601 600 0:55 / /proc rw - proc proc rw
602 600 0:56 / /dev rw - tmpfs tmpfs rw
603 602 0:57 / /dev/pts rw - devpts devpts rw
604 600 8:1 /var/vol /data rw - ext4 /dev/sda1 rw
605 604 0:58 / /data/cache rw - tmpfs tmpfs rw
606 600 8:1 /etc/h /etc/hosts rw - ext4 /dev/sda1 rw
";

#[test]
fn a_path_lies_on_the_mount_it_is_at_or_below() {
    let t = table(CONTAINER);
    let cases: [(&[u8], u64); 12] = [
        (b"/", 600),
        (b"/usr/bin/sh", 600),
        (b"/proc/1/exe", 601),
        (b"/dev/pts/0", 603),
        (b"/dev/ptsx", 602),
        (b"/data", 604),
        (b"/data/x", 604),
        (b"/database", 600),
        (b"/data/cache", 605),
        (b"/data/cache2", 604),
        (b"/etc/hosts", 606),
        (b"/etc/hosts.allow", 600),
    ];
    for (path, id) in cases {
        assert_eq!(t.covering(path).map(|m| m.id), Some(id), "{}", String::from_utf8_lossy(path));
    }
    assert!(t.covering(b"relative").is_none() && t.covering(b"").is_none());
}

#[test]
fn the_order_of_the_lines_does_not_matter() {
    let mut lines: Vec<&str> = CONTAINER.lines().collect();
    lines.reverse();
    let t = table(&lines.join("\n"));
    assert_eq!(t.root().map(|m| m.id), Some(600));
    assert_eq!(t.covering(b"/data/cache/x").map(|m| m.id), Some(605));
}

#[test]
fn what_is_mounted_over_a_directory_hides_the_mounts_below_it() {
    // Printed by Linux 6.18: tmpfs `a` on x/y, then `b` and then `c` on x. Ids are given out again, so they
    // do not tell which is newer.
    let t = table(
        "43 42 254:0 / / rw - ext4 /dev/vda rw\n63 43 0:39 / /p/x/y rw - tmpfs a rw\n\
         64 43 0:40 / /p/x rw - tmpfs b rw\n65 64 0:41 / /p/x rw - tmpfs c rw\n",
    );
    assert_eq!(t.covering(b"/p/x/y/f").map(|m| m.source.clone()), Some(b"c".to_vec()));
    assert_eq!(t.covering(b"/p/x").map(|m| m.source.clone()), Some(b"c".to_vec()));
    assert_eq!(t.covering(b"/p").map(|m| m.id), Some(43));
}

#[test]
fn a_mount_over_the_root_directory_does_not_become_the_root() {
    // Printed by Linux 6.18 for `mount -t tmpfs over /`; `stat -c %d /` still gave 254:0, `/..` gave 0:39.
    let t = table(
        "43 42 254:0 / / rw,relatime - ext4 /dev/vda rw\n63 43 0:39 / / rw,relatime - tmpfs over rw\n\
         64 43 0:40 / /proc rw - proc proc rw\n",
    );
    assert_eq!(t.root().map(|m| m.id), Some(43));
    assert_eq!(t.covering(b"/usr").map(|m| m.id), Some(43));
    assert_eq!(t.covering(b"/proc/1").map(|m| m.id), Some(64));
}

#[test]
fn a_chroot_into_a_plain_directory_has_no_root_mount() {
    let t = table("70 43 0:9 / /proc rw - proc proc rw\n71 70 0:8 / /proc/sys/x rw - tmpfs t rw\n");
    assert!(t.root().is_none());
    assert!(t.covering(b"/bin/sh").is_none());
    assert_eq!(t.covering(b"/proc/1").map(|m| m.id), Some(70));
    assert_eq!(t.covering(b"/proc/sys/x").map(|m| m.id), Some(71));
}

/// A slow model of the kernel: mounts hang on (mount, place), and a walk goes one component at a time.
#[derive(Default)]
struct Model {
    at: HashMap<(u64, String), u64>,
    lines: Vec<String>,
    next: u64,
}

impl Model {
    fn new() -> Self {
        let mut m = Self { next: 10, ..Self::default() };
        m.add(1, "/");
        m
    }

    fn add(&mut self, parent: u64, place: &str) -> u64 {
        let id = self.next;
        self.next += 1;
        self.lines.push(format!("{id} {parent} 0:{id} / {place} rw - tmpfs t rw"));
        id
    }

    fn walk(&self, path: &str) -> u64 {
        let mut mount = 10;
        let mut here = String::new();
        for component in path.split('/').filter(|c| !c.is_empty()) {
            here = format!("{here}/{component}");
            while let Some(next) = self.at.get(&(mount, here.clone())) {
                mount = *next;
            }
        }
        mount
    }

    fn mount(&mut self, place: &str) {
        let parent = self.walk(place);
        let id = self.add(parent, place);
        self.at.insert((parent, place.to_owned()), id);
    }
}

fn place() -> impl Strategy<Value = String> {
    proptest::collection::vec(prop_oneof!["a", "b", "ab", "c"], 1..5)
        .prop_map(|c| format!("/{}", c.join("/")))
}

proptest! {
    #[test]
    fn covering_equals_the_model(
        places in proptest::collection::vec(place(), 0..25),
        over_root in any::<bool>(),
        rotate in 0usize..30,
        paths in proptest::collection::vec(place(), 1..20),
    ) {
        let mut model = Model::new();
        if over_root {
            model.add(10, "/");
        }
        for p in &places {
            model.mount(p);
        }
        let mut lines = model.lines.clone();
        let by = rotate % lines.len();
        lines.rotate_left(by);
        let t = table(&lines.join("\n"));
        prop_assert_eq!(t.bad_lines(), 0);
        for p in paths.iter().chain(&places).map(String::as_str).chain(["/"]) {
            prop_assert_eq!(t.covering(p.as_bytes()).map(|m| m.id), Some(model.walk(p)), "{}", p);
        }
    }

    #[test]
    fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..400), path in any::<Vec<u8>>()) {
        let t = MountTable::parse(&bytes);
        let _ = (t.root(), t.covering(&path));
    }

    #[test]
    fn any_parents_are_survived(links in proptest::collection::vec((0u64..6, 0u64..6, place()), 0..12), path in place()) {
        let text: String =
            links.iter().map(|(id, parent, at)| format!("{id} {parent} 0:1 / {at} rw - a b rw\n")).collect();
        let root = "1 2 0:1 / / rw - a b rw\n2 1 0:1 / / rw - a b rw\n";
        for text in [text.clone(), format!("{root}{text}"), format!("0 0 0:1 / / rw - a b rw\n{text}")] {
            let t = table(&text);
            let _ = (t.root(), t.covering(path.as_bytes()));
        }
    }

    #[test]
    fn an_escaped_name_comes_back(name in proptest::collection::vec(1u8..=255, 1..40)) {
        let escaped: Vec<u8> = name.iter().flat_map(|b| match b {
            b' ' | b'\t' | b'\n' | b'\\' | b'#' => format!("\\{b:03o}").into_bytes(),
            _ => vec![*b],
        }).collect();
        prop_assert_eq!(unescape_octal(&escaped), name);
    }
}
