//! What the kernel and the engine hand over: mount tables, control groups, events, command lines.

use super::parts;
use drift::event::exec::ExecFacts;
use drift::event::file::{changes_unnamed, opened_descriptor, FileCall};
use drift::event::library::LibraryCall;
use drift::event::open::opening;
use drift::event::raw::SyscallEvent;
use drift::event::socket;
use drift_core::command::interpreter::{is_interpreter, script_argument};
use drift_core::container::id::{may_be_cut, IdRules};
use drift_core::container::volume::Volumes;
use drift_formats::mountinfo::MountTable;
use drift_formats::overlay_options::OverlayLayers;

/// Container ids in control group paths, a path a line.
pub fn cgroup(bytes: &[u8]) {
    let entries = bytes.split(|b| *b == 0 || *b == b'\n');
    let _ = may_be_cut(entries.clone());
    if let Some(id) = IdRules::default().find(entries) {
        assert!(!id.id.is_empty() && !id.id.contains('/'), "{id:?}");
    }
}

/// A mount table, and a path in it.
pub fn mountinfo(bytes: &[u8]) {
    let [table, path] = parts(bytes);
    let table = MountTable::parse(table);
    let _ = (table.root(), table.covering(path));
    let volumes = Volumes::new(&table, Some(&table));
    for mount in table.iter() {
        if let Ok(layers) = OverlayLayers::parse(&mount.super_options) {
            let _ = layers.has_relative_layer();
        }
        let _ = volumes.kind(mount);
    }
}

/// One event of any bytes.
pub fn event(bytes: &[u8]) {
    let Some(event) = SyscallEvent::from_bytes(bytes) else { return };
    let _ = event.async_payload();
    if let Some(exec) = ExecFacts::from_event(&event) {
        let _ = (exec.argv().count(), exec.cgroups().count());
    }
    let _ = (opening(&event), changes_unnamed(&event), opened_descriptor(&event));
    let _ = (FileCall::from_event(&event), LibraryCall::from_event(&event));
    let _ = (socket::claim(&event), socket::contact(&event), socket::answer_of_nameserver(&event));
}

/// Which script a command line names: the interpreter, then its arguments, a line each.
pub fn interpreter(bytes: &[u8]) {
    let mut lines = bytes.split(|b| *b == b'\n');
    let exe = lines.next().unwrap_or_default();
    let argv: Vec<&[u8]> = lines.collect();
    let _ = is_interpreter(exe);
    if let Some(script) = script_argument(exe, &argv) {
        assert!(argv.iter().any(|a| a.ends_with(script)), "{script:?} is in no argument");
    }
}
