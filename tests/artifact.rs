//! The library as a file: what it exports, and what it needs where it is loaded.
//!
//! The library that `make dist` published is looked at where there is one: named by DRIFT_DIST_SO, or in `dist` of the
//! target directory.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod host;

use goblin::elf::Elf;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// What glibc consists of; since 2.34 most of these are empty.
const GLIBC: &[&str] = &[
    "libc.so.6",
    "libm.so.6",
    "libdl.so.2",
    "libpthread.so.0",
    "librt.so.1",
    "libutil.so.1",
    "ld-linux-x86-64.so.2",
    "ld-linux-aarch64.so.1",
];

/// Falco is built for this glibc, and so are the images it ships in.
const OLDEST_GLIBC: (u32, u32) = (2, 17);

/// Functions of plugin_api.h that an engine looks up for a plugin with a source, extraction, parsing and async events.
const EXPORTS: &[&str] = &[
    "plugin_close",
    "plugin_destroy",
    "plugin_dump_state",
    "plugin_event_to_string",
    "plugin_extract_fields",
    "plugin_get_async_event_sources",
    "plugin_get_async_events",
    "plugin_get_contact",
    "plugin_get_description",
    "plugin_get_event_source",
    "plugin_get_extract_event_sources",
    "plugin_get_extract_event_types",
    "plugin_get_fields",
    "plugin_get_id",
    "plugin_get_init_schema",
    "plugin_get_last_error",
    "plugin_get_metrics",
    "plugin_get_name",
    "plugin_get_parse_event_sources",
    "plugin_get_parse_event_types",
    "plugin_get_required_api_version",
    // Since libs 0.22; the SDK does not have it.
    "plugin_get_required_event_schema_version",
    "plugin_get_version",
    "plugin_init",
    "plugin_next_batch",
    "plugin_open",
    "plugin_parse_event",
    "plugin_set_async_event_handler",
    "plugin_set_config",
];

/// Asserts what holds for each build of the library.
fn check(path: &Path) {
    let bytes = std::fs::read(path).unwrap();
    let elf = Elf::parse(&bytes).unwrap();
    assert!(elf.is_lib, "{}", path.display());

    let exported: BTreeSet<&str> = elf
        .dynsyms
        .iter()
        .filter(|s| s.st_shndx != 0 && !s.is_import())
        .filter_map(|s| elf.dynstrtab.get_at(s.st_name))
        .collect();
    assert_eq!(exported, EXPORTS.iter().copied().collect(), "exports of {}", path.display());

    for library in &elf.libraries {
        assert!(GLIBC.contains(library), "{} needs {library}, which is no part of glibc", path.display());
    }
    assert!(elf.rpaths.is_empty() && elf.runpaths.is_empty(), "searches of its own");
}

/// The versions of glibc whose symbols a library needs.
fn glibc_versions(elf: &Elf<'_>) -> Vec<(String, (u32, u32))> {
    let mut versions = Vec::new();
    for need in elf.verneed.iter().flat_map(|v| v.iter()) {
        let file = elf.dynstrtab.get_at(need.vn_file).unwrap();
        assert!(GLIBC.contains(&file), "versions of {file}");
        for version in need.iter() {
            let name = elf.dynstrtab.get_at(version.vna_name).unwrap();
            let numbers = name.strip_prefix("GLIBC_").unwrap_or_else(|| panic!("{name} of {file}"));
            let mut numbers = numbers.split('.').map(|n| n.parse::<u32>().unwrap());
            let number = (numbers.next().unwrap(), numbers.next().unwrap_or(0));
            versions.push((format!("{name} of {file}"), number));
        }
    }
    versions
}

/// Published libraries at hand.
fn published() -> Vec<PathBuf> {
    if let Some(path) = std::env::var_os("DRIFT_DIST_SO") {
        return vec![path.into()];
    }
    // <target>/<profile>/deps/<this test>
    let exe = std::env::current_exe().unwrap();
    let dist = exe.ancestors().nth(3).unwrap().join("dist");
    let Ok(entries) = std::fs::read_dir(dist) else { return Vec::new() };
    entries.map(|e| e.unwrap().path().join("libdrift.so")).filter(|p| p.is_file()).collect()
}

#[test]
fn the_library_exports_the_interface_and_needs_only_glibc() {
    check(&host::library::path());
}

#[test]
fn versions_are_found_where_there_are_some() {
    let bytes = std::fs::read(host::library::path()).unwrap();
    let versions = glibc_versions(&Elf::parse(&bytes).unwrap());
    // Rust's standard library itself needs glibc 2.17, or 2.12 by its oldest symbols.
    assert!(versions.iter().any(|(_, v)| *v >= (2, 12)), "{versions:?}");
}

#[test]
fn the_published_library_runs_with_falcos_glibc() {
    let published = published();
    if published.is_empty() {
        let why = "`make dist` has not been run, and DRIFT_DIST_SO is not set";
        testkit::skip::skip_optional("the_published_library_runs_with_falcos_glibc", why);
    }
    for path in published {
        check(&path);
        let bytes = std::fs::read(&path).unwrap();
        let elf = Elf::parse(&bytes).unwrap();
        let versions = glibc_versions(&elf);
        assert!(!versions.is_empty(), "{}", path.display());
        for (name, version) in versions {
            assert!(version <= OLDEST_GLIBC, "{} needs {name}", path.display());
        }
        assert!(elf.syms.is_empty(), "{} is not stripped", path.display());
        for word in ["/home/", "/root/", env!("CARGO_MANIFEST_DIR")] {
            let found = bytes.windows(word.len()).any(|w| w == word.as_bytes());
            assert!(!found, "{} has a path of the machine that built it: {word}", path.display());
        }
    }
}
