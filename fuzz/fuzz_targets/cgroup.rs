//! Container ids in control group paths.
#![no_main]
use drift::container::id::{may_be_cut, IdRules};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let entries = bytes.split(|b| *b == 0 || *b == 10);
    let _ = may_be_cut(entries.clone());
    if let Some(id) = IdRules::default().find(entries) {
        assert!(!id.id.is_empty() && !id.id.contains(char::from(47)));
    }
});
