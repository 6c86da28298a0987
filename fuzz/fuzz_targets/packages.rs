//! Package databases.
#![no_main]
use drift::packages::{apk, dpkg};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    for package in dpkg::parse_status(bytes).value {
        assert!(package.info_names().iter().all(|n| !n.contains(char::from(47))));
    }
    let _ = (dpkg::parse_list(bytes).count(), dpkg::parse_md5sums(bytes).count());
    let _ = (dpkg::parse_diversions(bytes), apk::parse_installed(bytes));
});
