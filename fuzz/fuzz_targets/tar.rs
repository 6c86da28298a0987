//! Layers as tar archives.
#![no_main]
use drift::manifest::index::IndexBuilder;
use drift::manifest::limits::Limits;
use drift::manifest::tar_layer::read_tar;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let mut builder = IndexBuilder::new(10_000);
    let _ = read_tar(bytes, &Limits::default(), &mut builder);
});
