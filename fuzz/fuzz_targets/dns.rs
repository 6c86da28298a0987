//! Answers of nameservers, and a container's file of nameservers.
#![no_main]
use drift::network::{dns, nameservers};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Some(answer) = dns::parse(bytes) {
        assert!(answer.name.len() <= 253 && answer.addresses.len() <= 32);
        assert!(answer.name.bytes().all(|b| b.is_ascii_graphic() && !b.is_ascii_uppercase()));
    }
    assert!(nameservers::parse(bytes).len() <= 3);
});
