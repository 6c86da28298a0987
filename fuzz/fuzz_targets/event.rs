//! Events of any bytes.
#![no_main]
use drift::event::exec::ExecFacts;
use drift::event::raw::SyscallEvent;
use drift::event::socket::{answer_of_nameserver, claim, contact};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Some(event) = SyscallEvent::from_bytes(bytes) else { return };
    let _ = event.async_payload();
    let _ = (claim(&event), contact(&event), answer_of_nameserver(&event));
    if let Some(exec) = ExecFacts::from_event(&event) {
        let _ = (exec.argv().count(), exec.cgroups().count());
    }
});
