//! Mount tables, and the options of overlay mounts in them.
#![no_main]
use drift::container::mountinfo::MountTable;
use drift::container::overlay::OverlayLayers;
use drift::container::volume::Volumes;

libfuzzer_sys::fuzz_target!(|input: (&[u8], &[u8])| {
    let (table, path) = input;
    let table = MountTable::parse(table);
    let _ = (table.root(), table.covering(path));
    let volumes = Volumes::new(&table, Some(&table));
    for mount in table.iter() {
        let _ = OverlayLayers::parse(&mount.super_options);
        let _ = volumes.kind(mount);
    }
});
