//! Files: those of the image, and those that a call is about.

use super::{group, start, ID, TID};
use testkit::host;
use testkit::host::event::{Exec, OPENAT_2_X, UPPER};
use testkit::host::threads::{self, Thread};

#[test]
fn whether_the_image_has_a_path() {
    let (mut host, _dir) = start("0123*");
    let event = host.feed(Exec::new(TID, &group(ID), "/tmp/evil", UPPER, &["evil"]).bytes());
    for (path, want) in [
        ("/usr/bin/bash", Some("true")),
        ("/bin/bash", Some("true")),
        ("/usr/bin/../bin/./bash", Some("true")),
        ("/app", Some("true")),
        ("/usr/bin/perl", Some("false")),
        ("/../../etc/passwd", Some("false")),
        ("usr/bin/bash", Some("true")),
    ] {
        assert_eq!(host.text(&event, &format!("image_has_file[{path}]")).as_deref(), want, "{path}");
    }
}

#[test]
fn a_call_that_changes_a_file_names_it() {
    let (mut host, _dir) = start("0123*");
    let mut thread = Thread::new(TID, &group(ID), "/usr/bin/python3", &["python3"]);
    (thread.lower, thread.cwd, thread.fds) = (true, "/etc", vec![(9, "/opt/dir")]);
    threads::set(TID, thread);
    let (fd, dir, cwd) = (3i64.to_ne_bytes(), 9i64.to_ne_bytes(), (-100i64).to_ne_bytes());
    let (ok, failed) = (0i64.to_ne_bytes(), (-13i64).to_ne_bytes());
    // PPM_O_WRONLY, with PPM_O_CREAT and PPM_O_F_CREATED; PPM_O_RDONLY.
    let (write, made, read) = (2u32.to_ne_bytes(), 0x4006u32.to_ne_bytes(), 1u32.to_ne_bytes());
    type Row<'a> = (u16, Vec<&'a [u8]>, Option<(&'a str, &'a str, Option<&'a str>)>);
    let rows: Vec<Row<'_>> = vec![
        (OPENAT_2_X, vec![&fd, &cwd, b"../app/./x\0", &write], Some(("/app/x", "opened", None))),
        (OPENAT_2_X, vec![&fd, &dir, b"new\0", &made], Some(("/opt/dir/new", "created", None))),
        (OPENAT_2_X, vec![&fd, &cwd, b"/app/x\0", &read], None),
        (OPENAT_2_X, vec![&failed, &cwd, b"/app/x\0", &write], None),
        (OPENAT_2_X, vec![&fd, &cwd, b"/proc/self/x\0", &write], None),
        // unlink, rename, fchmod.
        (301, vec![&ok, b"passwd\0"], Some(("/etc/passwd", "deleted", None))),
        (175, vec![&ok, b"/a\0", b"b\0"], Some(("/a", "renamed", Some("/etc/b")))),
        (317, vec![&ok, &dir, &write], Some(("/opt/dir", "metadata", None))),
    ];
    for (code, params, want) in rows {
        let event = host.feed(host::event::event(code, TID, &params));
        for _ in 0..2 {
            let mut answer = |field| host.text(&event, field);
            let got = (answer("file_path"), answer("file_change"), answer("file_new_path"));
            let want =
                want.map(|(path, change, to)| (path.to_owned(), change.to_owned(), to.map(str::to_owned)));
            assert_eq!(
                got.0.zip(got.1).map(|(path, change)| (path, change, got.2)),
                want,
                "{code} {params:?}"
            );
        }
    }
    assert_eq!(host.metric("panics_caught"), 0);
}
