//! Traits of an executable from hostile bytes.
#![no_main]
use drift::verdict::elf;

libfuzzer_sys::fuzz_target!(|input: (u64, &[u8])| {
    let (size, bytes) = input;
    let found = elf::traits(bytes, size);
    let _ = found.names().count();
    if let Some(range) = elf::section_table(bytes, size) {
        assert!(range.end <= size, "{range:?} of {size}");
        let _ = elf::stripped(bytes, size, bytes);
    }
});
