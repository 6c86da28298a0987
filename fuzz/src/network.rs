//! What is configured and seen of the network: baselines, what was learned, answers of nameservers.

use drift_core::network::baseline::Baselines;
use drift_core::network::learned::Learned;
use drift_core::network::nameservers;
use drift_formats::dns;

/// A file of baselines. One that drift may have written is read again as it is written.
pub fn baselines(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let _ = Baselines::parse(text);
    if let Ok(learned) = Learned::parse(text, 60) {
        let yaml = learned.to_yaml();
        assert_eq!(Learned::parse(&yaml, 60).map(|again| again.to_yaml()), Ok(yaml));
    }
}

/// An answer of a nameserver, and a container's file of nameservers.
pub fn dns(bytes: &[u8]) {
    if let Some(answer) = dns::parse(bytes) {
        assert!(answer.name.len() <= 253 && answer.addresses.len() <= 32);
        assert!(answer.name.bytes().all(|b| b.is_ascii_graphic() && !b.is_ascii_uppercase()));
    }
    assert!(nameservers::parse(bytes).len() <= 3);
}
