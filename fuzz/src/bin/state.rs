#![no_main]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| drift_fuzz::run("state", bytes));
