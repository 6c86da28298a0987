use super::*;
use proptest::prelude::*;

fn text(path: &LayerPath) -> String {
    String::from_utf8_lossy(path.as_bytes()).into_owned()
}

fn lower(options: &str) -> Vec<String> {
    OverlayLayers::parse(options.as_bytes()).expect("good options").lower.iter().map(text).collect()
}

fn data(options: &str) -> Vec<String> {
    OverlayLayers::parse(options.as_bytes()).expect("good options").data_only.iter().map(text).collect()
}

/// What Linux 6.18.44 printed in mountinfo for real overlays over directories with these names.
#[test]
fn layers_as_linux_6_18_prints_them() {
    let cases: [(&str, &[&str]); 13] = [
        // mount(2), plain.
        ("rw,lowerdir=/m/a:/m/b,upperdir=/m/u,workdir=/m/w,uuid=on", &["/m/a", "/m/b"]),
        // mount(2) from inside /m.
        ("rw,lowerdir=l/ABC:l/DEF,upperdir=u,workdir=w", &["l/ABC", "l/DEF"]),
        // mount(2), directory `co:lon`, given as `co\:lon`.
        (r"ro,lowerdir=/m/co\134:lon:/m/b,redirect_dir=on", &["/m/co:lon", "/m/b"]),
        // mount(2), directory `com,ma`, given as `com\,ma`.
        (r"ro,lowerdir=/m/com\134\054ma:/m/b,redirect_dir=on", &["/m/com,ma", "/m/b"]),
        // mount(2), directory `sp ace`.
        (r"ro,lowerdir=/m/sp\040ace:/m/b,redirect_dir=on", &["/m/sp ace", "/m/b"]),
        // mount(2), names with a newline and a tab.
        (r"ro,lowerdir=/m/new\012line:/m/tab\011,redirect_dir=on", &["/m/new\nline", "/m/tab\t"]),
        // mount(2), directory `back\slash`, given as `back\\slash`.
        (r"ro,lowerdir=/m/back\134\134slash:/m/b,redirect_dir=on", &["/m/back\\slash", "/m/b"]),
        // mount(2), bytes that are not escaped in a value.
        (
            "ro,lowerdir=/m/eq=ual:/m/ha#sh:/m/qu\"ote,redirect_dir=on",
            &["/m/eq=ual", "/m/ha#sh", "/m/qu\"ote"],
        ),
        // fsconfig(2) "lowerdir", directory `co:lon`, given as `co\:lon`.
        (r"ro,lowerdir=/m/co\134:lon:/m/b,redirect_dir=on", &["/m/co:lon", "/m/b"]),
        // fsconfig(2) "lowerdir+" for each: the names are literal, down to `c\:d`.
        (
            r"ro,lowerdir+=/m/co:lon,lowerdir+=/m/b,lowerdir+=/m/com\054ma,lowerdir+=/m/sp\040ace,lowerdir+=/m/back\134slash,lowerdir+=/m/new\012line,lowerdir+=/m/eq=ual,lowerdir+=/m/ha#sh,lowerdir+=/m/c\134:d,redirect_dir=on",
            &[
                "/m/co:lon",
                "/m/b",
                "/m/com,ma",
                "/m/sp ace",
                "/m/back\\slash",
                "/m/new\nline",
                "/m/eq=ual",
                "/m/ha#sh",
                "/m/c\\:d",
            ],
        ),
        // fsconfig(2) FSCONFIG_SET_FD "lowerdir+".
        ("ro,lowerdir+=/m/a,lowerdir+=/m/co:lon,redirect_dir=on", &["/m/a", "/m/co:lon"]),
        // mount(2), `a:b::d1::d\:2`.
        (r"ro,lowerdir=/m/a:/m/b::/m/d1::/m/d\134:2,redirect_dir=on,metacopy=on", &["/m/a", "/m/b"]),
        // fsconfig(2), two "lowerdir+" and two "datadir+".
        (
            "ro,lowerdir+=/m/a,lowerdir+=/m/b,datadir+=/m/d1,datadir+=/m/d:2,redirect_dir=on,metacopy=on",
            &["/m/a", "/m/b"],
        ),
    ];
    for (options, want) in cases {
        assert_eq!(lower(options), want, "{options}");
    }
}

#[test]
fn data_only_layers_as_linux_6_18_prints_them() {
    let cases: [(&str, &[&str]); 3] = [
        (r"ro,lowerdir=/m/a:/m/b::/m/d1::/m/d\134:2,redirect_dir=on,metacopy=on", &["/m/d1", "/m/d:2"]),
        ("ro,lowerdir+=/m/a,lowerdir+=/m/b,datadir+=/m/d1,datadir+=/m/d:2,metacopy=on", &["/m/d1", "/m/d:2"]),
        (r"ro,lowerdir=/m/a:/m/back\134\134slash::/m/co\134:lon,redirect_dir=on", &["/m/co:lon"]),
    ];
    for (options, want) in cases {
        assert_eq!(data(options), want, "{options}");
    }
}

/// The same machine, for the upper directory: a backslash is undone whichever way it was mounted, even next
/// to `lowerdir+`.
#[test]
fn upper_as_linux_6_18_prints_it() {
    let cases = [
        ("rw,lowerdir=/m/a,upperdir=/m/u,workdir=/m/w", "/m/u", "/m/w"),
        // Directory `u,p:p er`, given to mount(2) as `u\,p:p er`, then as `u\,p\:p er`.
        (
            r"rw,lowerdir=/m/a,upperdir=/m/u\134\054p:p\040er,workdir=/m/w2,index=on,uuid=on",
            "/m/u,p:p er",
            "/m/w2",
        ),
        (r"rw,lowerdir=/m/a,upperdir=/m/u\134\054p\134:p\040er,workdir=/m/w2", "/m/u,p:p er", "/m/w2"),
        // The same directory, given to fsconfig(2) as it is.
        (r"rw,lowerdir+=/m/a,upperdir=/m/u\054p:p\040er,workdir=/m/w3,uuid=on", "/m/u,p:p er", "/m/w3"),
        // Directory `bs\up`, given to fsconfig(2) as `bs\\up` (as `bs\up` it was not found).
        (r"rw,lowerdir+=/m/a,upperdir=/m/bs\134\134up,workdir=/m/w4,uuid=on", "/m/bs\\up", "/m/w4"),
        // Directory `u:c`, given to fsconfig(2) as `u\:c`.
        (r"rw,lowerdir+=/m/a,upperdir=/m/u\134:c,workdir=/m/w5,uuid=on", "/m/u:c", "/m/w5"),
    ];
    for (options, upper, work) in cases {
        let layers = OverlayLayers::parse(options.as_bytes()).expect("good options");
        assert_eq!(layers.upper.as_ref().map(text).as_deref(), Some(upper), "{options}");
        assert_eq!(layers.work.as_ref().map(text).as_deref(), Some(work), "{options}");
    }
}

#[test]
fn switches() {
    let plain = OverlayLayers::parse(b"ro,lowerdir=/a").expect("good options");
    assert_eq!(
        (plain.xino, plain.metacopy, plain.redirect_dir),
        (Setting::Default, Setting::Default, Setting::Default)
    );
    assert!(!plain.userxattr && plain.upper.is_none() && plain.work.is_none() && plain.may_metacopy());

    let all =
        OverlayLayers::parse(b"rw,lowerdir=/a,xino=auto,metacopy=on,redirect_dir=follow,userxattr,volatile")
            .expect("good options");
    assert_eq!((all.xino, all.metacopy, all.redirect_dir), (Setting::Auto, Setting::On, Setting::Follow));
    assert!(all.userxattr);

    let off = OverlayLayers::parse(b"rw,lowerdir=/a,metacopy=off,redirect_dir=nofollow,xino=new")
        .expect("good options");
    assert_eq!((off.redirect_dir, off.xino), (Setting::NoFollow, Setting::Other));
    assert!(!off.may_metacopy());
}

#[test]
fn an_selinux_context_with_a_comma_in_quotes_is_passed_over() {
    // As podman mounts it on Fedora; security_sb_show_options prints it before the file system's own options.
    let options = r#"rw,context="system_u:object_r:container_file_t:s0:c100,c200",lowerdir=/l/A:/l/B,upperdir=/u,workdir=/w,metacopy=on"#;
    assert_eq!(lower(options), ["/l/A", "/l/B"]);
}

#[test]
fn what_is_no_overlay_is_refused() {
    let cases: [(&[u8], OverlayError); 8] = [
        (b"", OverlayError::NoLower),
        (b"rw,size=65536k,mode=755", OverlayError::NoLower),
        (b"rw,lowerdir=", OverlayError::BadLayer),
        (b"rw,lowerdir=/a:", OverlayError::BadLayer),
        (b"rw,lowerdir=:/a", OverlayError::BadLayer),
        (b"rw,lowerdir=/a::/d:/b", OverlayError::LayerAfterData),
        (b"rw,lowerdir=/a\\000b", OverlayError::BadLayer),
        (b"rw,lowerdir=/a,upperdir=", OverlayError::BadLayer),
    ];
    for (options, want) in cases {
        assert_eq!(OverlayLayers::parse(options), Err(want), "{}", String::from_utf8_lossy(options));
    }
    let many = |n: usize| format!("rw,lowerdir={}", vec!["/a"; n].join(":"));
    assert_eq!(lower(&many(500)).len(), 500);
    assert_eq!(OverlayLayers::parse(many(501).as_bytes()), Err(OverlayError::TooMany));
}

#[test]
fn relative_layers_are_joined_to_a_base() {
    let layers =
        OverlayLayers::parse(b"rw,lowerdir=l/A:/abs/B,upperdir=7/diff,workdir=7/work").expect("good options");
    assert!(layers.has_relative_layer());
    let joined = layers.joined_to(b"/var/lib/docker/overlay2");
    assert_eq!(joined.lower.iter().map(text).collect::<Vec<_>>(), ["/var/lib/docker/overlay2/l/A", "/abs/B"]);
    assert_eq!(joined.upper.as_ref().map(text).as_deref(), Some("/var/lib/docker/overlay2/7/diff"));
    assert!(!joined.has_relative_layer());
    assert_eq!(text(&LayerPath::new(b"x".to_vec()).joined_to(b"/y/")), "/y/x");
}

#[test]
fn bases_come_from_the_upper_directory_then_from_the_storage_roots() {
    let roots: [&[u8]; 2] = [b"/var/lib/docker/overlay2", b"/var/lib/containers/storage/overlay/"];
    let base = |options: &str| -> Vec<String> {
        let layers = OverlayLayers::parse(options.as_bytes()).expect("good options");
        layers.resolve_base(&roots).iter().map(|b| String::from_utf8_lossy(b).into_owned()).collect()
    };
    // Docker: relative lower directories, absolute upper.
    assert_eq!(
        base("rw,lowerdir=l/A:l/B,upperdir=/data/docker/overlay2/7f/diff,workdir=/data/docker/overlay2/7f/work"),
        ["/data/docker/overlay2", "/data/docker", "/var/lib/docker/overlay2", "/var/lib/containers/storage/overlay"]
    );
    // All relative: only the roots.
    assert_eq!(
        base("rw,lowerdir=l/A,upperdir=7/diff,workdir=7/work"),
        ["/var/lib/docker/overlay2", "/var/lib/containers/storage/overlay"]
    );
    // Near the top of the tree nothing above `/` is given.
    assert_eq!(base("rw,lowerdir=A,upperdir=/u,workdir=/w").len(), 2);
}

proptest! {
    #[test]
    fn any_bytes_are_survived(bytes in any::<Vec<u8>>()) {
        let mut options = b"lowerdir=".to_vec();
        options.extend(&bytes);
        for options in [bytes, options] {
            if let Ok(layers) = OverlayLayers::parse(&options) {
                let _ = layers.joined_to(b"/b").resolve_base(&[b"/r"]);
            }
        }
    }

    /// Names survive the way to the kernel and back: escaped as mount(2) needs them, then as mountinfo prints
    /// them.
    #[test]
    fn names_come_back(
        names in proptest::collection::vec(proptest::collection::vec(1u8..=255, 1..12), 1..6),
        upper in proptest::collection::vec(1u8..=255, 1..12),
    ) {
        let backslashed = |name: &[u8]| -> Vec<u8> {
            name.iter().flat_map(|b| if b":\\,".contains(b) { vec![b'\\', *b] } else { vec![*b] }).collect()
        };
        let printed = |value: &[u8]| -> Vec<u8> {
            value.iter().flat_map(|b| {
                if b", \t\n\\".contains(b) { format!("\\{b:03o}").into_bytes() } else { vec![*b] }
            }).collect()
        };
        let want: Vec<LayerPath> = names.iter().cloned().map(LayerPath::new).collect();

        let joined = names.iter().map(|n| backslashed(n)).collect::<Vec<_>>().join(&b':');
        let mut options = b"rw,lowerdir=".to_vec();
        options.extend(printed(&joined));
        options.extend(b",upperdir=");
        options.extend(printed(&backslashed(&upper)));
        let layers = OverlayLayers::parse(&options).expect("good options");
        prop_assert_eq!(&layers.lower, &want);
        prop_assert_eq!(layers.upper, Some(LayerPath::new(upper)));

        let mut options = b"rw".to_vec();
        for name in &names {
            options.extend(b",lowerdir+=");
            options.extend(printed(name));
        }
        prop_assert_eq!(OverlayLayers::parse(&options).expect("good options").lower, want);
    }
}
