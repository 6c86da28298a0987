//! Package records of languages, and which database a path belongs to.
#![no_main]
use drift::manifest::entry::ImagePath;
use drift::packages::inventory::database_of;
use drift::packages::{conda, gem, npm, pip};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let cut = bytes.iter().position(|b| *b == b'\n').unwrap_or(bytes.len());
    let (name, rest) = bytes.split_at(cut);
    if let Ok(package) = pip::parse_metadata(bytes) {
        assert!(!package.name.contains('/'));
        let _ = pip::normalised(&package.name);
    }
    let _ = (pip::by_record_name(name), pip::parse_record(bytes).count());
    if let Ok(gem) = gem::parse_gemspec(name, rest) {
        assert!(!gem.name.contains('/'));
    }
    let _ = (npm::parse_hidden_lock(bytes), npm::parse_package_json(bytes));
    let _ = (conda::parse_record(bytes), conda::parse_files(bytes));
    if let Ok(path) = ImagePath::from_archive(name) {
        if let Some(database) = database_of(&path) {
            assert!(path.is_within(database.dir.as_bytes()));
        }
    }
});
