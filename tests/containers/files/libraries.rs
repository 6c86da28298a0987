//! Libraries that processes load: found out without any rule that asks about opens.

use super::{start, FIELDS, LIMIT, QUIET};
use crate::live::{run, Watch};
use testkit::live::{Container, Facts, Runtime};

/// Path and origin of each library that drift tells of while `script` runs, and how many alerts there are of
/// them.
fn loaded(container: &Container, script: &str) -> (Vec<String>, usize) {
    container.put("libraries.sh", format!("{script}\n").as_bytes()).unwrap();
    let watch = Watch { filter: "evt.type = drift_library", fields: FIELDS, quiet: QUIET, limit: LIMIT };
    let seen = watch.over(container, |session| {
        let facts = Facts { files: true, ..Facts::default() };
        run(container, "sh /corpus/libraries.sh", facts, &mut [session]);
    });
    let text = |line: &testkit::live::session::Line, field| line.text(field).unwrap_or("-").to_owned();
    let told = seen
        .lines
        .iter()
        .map(|line| format!("{} {}", text(line, "drift.file_origin"), text(line, "drift.file_path")));
    let alerts = seen.alerts.iter().filter(|alert| alert.rule == "Drift library loaded").count();
    (told.collect(), alerts)
}

/// What is done, and what drift has to tell of it. All of it in one go: each path stands for its row.
const ROWS: [(&str, Option<&str>); 6] = [
    // One of the image.
    ("LD_PRELOAD=LIBS/libm.so.6 /bin/true", None),
    // A copy of one, that is only read.
    ("cp LIBS/libm.so.6 /opt/opaque/read; cat /opt/opaque/read > /dev/null", None),
    // One that is only touched.
    ("touch LIBS/libm.so.6; LD_PRELOAD=LIBS/libm.so.6 /bin/true", None),
    // Whatever it is called.
    (
        "(cat LIBS/libm.so.6; echo) > /opt/opaque/notes; LD_PRELOAD=/opt/opaque/notes /bin/true",
        Some("added /opt/opaque/notes"),
    ),
    // Through a link, and again: once is enough.
    ("ln -s notes /opt/opaque/link; LD_PRELOAD=/opt/opaque/link /bin/true", None),
    // In place of one of the image.
    (
        "cat LIBS/libm.so.6 > LIBS/librt.so.1; LD_PRELOAD=LIBS/librt.so.1 /bin/true",
        Some("image_modified LIBS/librt.so.1"),
    ),
];

#[test]
fn libraries_that_the_image_did_not_ship() {
    let _turn = crate::turns::take(module_path!());
    let libraries = format!("/usr/lib/{}-linux-gnu", std::env::consts::ARCH);
    let script: String = ROWS.iter().map(|(script, _)| format!("{script}\n")).collect();
    let want: Vec<String> =
        ROWS.iter().filter_map(|(_, want)| Some(want.as_ref()?.replace("LIBS", &libraries))).collect();
    for runtime in [Runtime::Podman, Runtime::Containerd] {
        let Some(container) = start("live files: libraries", runtime) else { continue };
        let (mut told, alerts) = loaded(&container, &script.replace("LIBS", &libraries));
        told.sort();
        assert_eq!(told, want, "{runtime:?}");
        assert_eq!(alerts, want.len(), "{runtime:?}");
    }
}
