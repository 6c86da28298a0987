//! A container that has made itself a root before drift looks at it: an overlay whose layers are named as
//! directories of the host are. Drift must look at the container as its runtime made it.

use super::{alone, ask, marker, opened, prepare, race_seconds, start, Host, Outside, Watch};
use testkit::live::{self, Facts, Runtime};

#[test]
fn the_first_process_seen_has_a_root_of_its_own() {
    const TEST: &str = "hostile: a root of its own";
    let _alone = alone();
    // Before the container, so that drift knows nothing of it, and is told of one process only.
    let mut host = Host::start(&serde_json::json!({}));
    let Some(container) = start(TEST, Runtime::Containerd) else { return };
    let outside = Outside::new();
    let script = prepare(&container);
    let watch = Watch::start();
    let command = format!("sh {script} {} {}", race_seconds(), outside.dir().display());
    let mut answer = None;
    live::trace(&container, &command, Facts::default(), &mut |event| {
        if marker(event).as_deref() == Some("hst-35") {
            answer = Some(ask(&mut host, event));
        }
        Ok(())
    })
    .unwrap();
    let opens = watch.stop();
    let answer = answer.expect("the exec was seen");
    assert_eq!(answer.binary.as_deref(), Some("volume"), "{answer:?}");
    let wrong = opened::not_allowed(&opens, &super::allowed(&container));
    assert!(wrong.is_empty(), "{wrong:#?}");
}
