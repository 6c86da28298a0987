//! Which script a command line names.
#![no_main]
use drift::verdict::interpreter::script_argument;

libfuzzer_sys::fuzz_target!(|input: (&[u8], Vec<&[u8]>)| {
    let (exe, argv) = input;
    if let Some(script) = script_argument(exe, &argv) {
        assert!(argv.iter().any(|a| a.ends_with(script)));
    }
});
