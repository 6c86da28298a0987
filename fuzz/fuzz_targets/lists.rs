//! Lists that people write: approved images and baselines of the network. What drift writes itself it reads again.
#![no_main]
use drift::container::approved::Approved;
use drift::network::baseline::Baselines;
use drift::network::learned::Learned;

libfuzzer_sys::fuzz_target!(|text: &str| {
    let _ = (Approved::parse(text, true), Approved::parse(text, false), Baselines::parse(text));
    if let Ok(learned) = Learned::parse(text, 60) {
        let yaml = learned.to_yaml();
        assert_eq!(Learned::parse(&yaml, 60).map(|again| again.to_yaml()), Ok(yaml));
    }
});
