//! Databases that another process writes: whatever they hold, an answer or an error.
#![no_main]
use drift::container::declared::{bolt, containerd, libpod};

const ID: &str = "b0f8dbbd7d5b6d0f5b4ef5a3b9d5d4dcbd18f7f7c4fd4f3fb1dbf2a4b40f5a11";

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let _ = bolt::ask(&bytes, |bolt| bolt.get(&[b"v1", b"default", b"containers", ID.as_bytes(), b"spec"]));
    let _ = (containerd::record(&bytes, "k8s.io", ID), libpod::ports(&bytes, ID));
});
