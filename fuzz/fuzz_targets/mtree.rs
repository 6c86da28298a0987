//! mtree manifests, plain and gzip.
#![no_main]
use drift::manifest::index::IndexBuilder;
use drift::manifest::limits::Limits;
use drift::manifest::mtree;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let mut builder = IndexBuilder::new(10_000);
    if mtree::read(bytes, &Limits::default(), &mut builder).is_ok() {
        let _ = builder.build();
    }
});
